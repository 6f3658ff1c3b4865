//! JSON of an answer, looked at and never changed: the named members of an object, as spans of the text that holds them. A
//! request, of which everything counts, is read by `schemas::json`.
//!
//! Keys are compared decoded, so `"mod\u0065l"` is `model`. Values are not interpreted here; the text around them is only
//! checked to be JSON. Nothing is copied. Numbers are read by [`number`] without floating point.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(crate) mod number;

/// The members of an object that were asked for.
#[derive(Debug)]
pub(crate) struct Members<'a, const N: usize> {
    /// The value of each name, in the order asked; the last one where a name stands twice. `null` is a value.
    values: [Option<&'a RawValue>; N],
    /// Whether a member that was not asked for has a value other than `null`.
    pub(crate) others: bool,
}

impl<'a, const N: usize> Members<'a, N> {
    /// The text of a member's value, `null` included.
    pub(crate) fn span(&self, place: usize) -> Option<&'a str> {
        self.values.get(place).copied().flatten().map(RawValue::get)
    }

    /// The text of a member's value; nothing for `null`.
    pub(crate) fn value(&self, place: usize) -> Option<&'a str> {
        self.span(place).filter(|value| *value != "null")
    }

    /// A member that is text.
    pub(crate) fn text(&self, place: usize) -> Option<String> {
        self.value(place).and_then(|value| serde_json::from_str(value).ok())
    }
}

/// Reads the members called `names` of the object that `text` is. Errors: `text` is not JSON, or not an object.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<Members<'a, N>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_map(Object(names))?;
    json.end()?;
    Ok(found)
}

/// The elements of the array that `text` is; nothing if it is none.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

struct Object<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Members { values: [None; N], others: false };
        while let Some(place) = map.next_key_seed(Key(self.0))? {
            match place.and_then(|place| found.values.get_mut(place)) {
                Some(slot) => *slot = Some(map.next_value()?),
                None if found.others => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => found.others = map.next_value::<&RawValue>()?.get() != "null",
            }
        }
        Ok(found)
    }
}

/// A key, as its place among the names.
struct Key<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_decoded_and_in_place() {
        let text = r#" { "a" : 1 , "\u0062":{"x":[1, 2]}, "c": null, "d":"e\n" } "#;
        let found = members(text, &["a", "b", "c", "d", "e"]).expect("an object");
        assert_eq!(found.value(0), Some("1"));
        assert_eq!(found.value(1), Some(r#"{"x":[1, 2]}"#));
        assert_eq!((found.value(2), found.span(2)), (None, Some("null")));
        assert_eq!(found.text(3).as_deref(), Some("e\n"));
        assert_eq!((found.value(4), found.others), (None, false));
    }

    #[test]
    fn what_was_not_asked_for_is_said_and_of_what_stands_twice_the_last_is_taken() {
        let found = members(r#"{"a":1,"z":null,"\u0061":2}"#, &["a"]).expect("an object");
        assert_eq!((found.value(0), found.others), (Some("2"), false));
        assert!(members(r#"{"z":0,"y":null}"#, &["a"]).expect("an object").others);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a":}"#, r#"{"a":1} x"#, "\u{feff}{}", r#"{"a":1,}"#, "{'a':1}"] {
            assert!(members(text, &["a"]).is_err(), "{text}");
        }
    }
}
