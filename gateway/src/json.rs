//! The JSON of an answer: the members of an object that are asked for by name.
//!
//! Names are compared decoded, so `"mod\u0065l"` is `model`, and of a name that stands twice the last one counts. Nothing is
//! copied but what is asked for as text. Numbers are read by [`number`] without floating point.

use schemas::json::Value;

pub(crate) mod number;

/// The largest count that is taken for one: far above what any answer has, far below what sums of rows can hold.
const COUNT_MAX: u64 = 1 << 50;

/// The members of an object that were asked for.
#[derive(Debug)]
pub(crate) struct Members<'t, const N: usize> {
    /// The value of each name, in the order asked. `null` is a value.
    values: [Option<Value<'t>>; N],
    /// Whether a member that was not asked for has a value other than `null`.
    pub(crate) others: bool,
}

impl<'t, const N: usize> Members<'t, N> {
    /// A member's value; nothing for `null`.
    pub(crate) fn value(&self, place: usize) -> Option<Value<'t>> {
        self.values.get(place).copied().flatten().filter(|value| !value.is_null())
    }

    /// A member that is text.
    pub(crate) fn text(&self, place: usize) -> Option<String> {
        Some(self.value(place)?.word()?.into_owned())
    }

    /// A member that is a count. What no answer can have is none: a row and a balance could not both hold it.
    pub(crate) fn count(&self, place: usize) -> Option<u64> {
        number::count(self.value(place)?.raw()).ok().filter(|count| *count <= COUNT_MAX)
    }

    /// Whether there is something in a count's place that is none.
    pub(crate) fn miscounts(&self, place: usize) -> bool {
        self.value(place).is_some() && self.count(place).is_none()
    }
}

/// The first member of this name.
pub(crate) fn member<'t>(value: Value<'t>, wanted: &str) -> Option<Value<'t>> {
    value.members()?.find(|(name, _)| *name == *wanted).map(|(_, value)| value)
}

/// The members called `names`; nothing if the value is no object.
pub(crate) fn members<'t, const N: usize>(value: Value<'t>, names: &[&str; N]) -> Option<Members<'t, N>> {
    let mut found = Members { values: [None; N], others: false };
    for (name, value) in value.members()? {
        match names.iter().position(|known| name == **known).and_then(|place| found.values.get_mut(place)) {
            Some(slot) => *slot = Some(value),
            None => found.others |= !value.is_null(),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use schemas::json::Tree;

    use super::*;

    #[test]
    fn members_are_found_decoded_the_last_of_a_name() {
        let tree = Tree::read(br#" { "a" : 1 , "\u0062":{"x":[1, 2]}, "c": null, "d":"e\n", "a": 2 } "#).unwrap();
        let found = members(tree.root(), &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(found.count(0), Some(2));
        assert_eq!(found.value(1).map(Value::raw), Some(r#"{"x":[1, 2]}"#));
        assert_eq!(found.text(3).as_deref(), Some("e\n"));
        assert!([2, 4].into_iter().all(|place| found.value(place).is_none()) && !found.others);
        assert_eq!((found.text(0), found.count(3)), (None, None));
    }

    #[test]
    fn what_was_not_asked_for_and_what_is_no_object_is_said() {
        let check = |text: &str| Some(members(Tree::read(text.as_bytes()).unwrap().root(), &["a"])?.others);
        assert_eq!(check(r#"{"a":1,"z":null}"#), Some(false));
        assert_eq!(check(r#"{"z":0,"y":null}"#), Some(true));
        assert_eq!(check("[]"), None);
    }
}
