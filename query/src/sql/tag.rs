//! `tag(tags, 'env')`: one tag of the JSON text in a `tags` column; NULL where it is not set.
//!
//! Callers write `tag('env')`; [`super::statement`] puts the column in.

use std::{borrow::Cow, fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, StringBuilder},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The function.
pub(crate) fn tag() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Tag { signature: Signature::string(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tag {
    signature: Signature,
}

impl ScalarUDFImpl for Tag {
    fn name(&self) -> &'static str {
        "tag"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = arrays.iter().map(|array| cast(array, &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
        let [tags, names] = texts.as_slice() else {
            return datafusion::common::exec_err!("tag() takes the tags and the name of one");
        };
        let mut values = StringBuilder::new();
        for (tags, name) in tags.as_string::<i32>().iter().zip(names.as_string::<i32>()) {
            values.append_option(tags.zip(name).and_then(|(tags, name)| find(tags, name)));
        }
        let values: ArrayRef = Arc::new(values.finish());
        Ok(ColumnarValue::Array(values))
    }
}

/// The value of one name in the text of a JSON object of strings; nothing in any other text.
fn find<'a>(tags: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut json = serde_json::Deserializer::from_str(tags);
    json.deserialize_map(Find(name)).ok().flatten()
}

struct Find<'n>(&'n str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(Cow::Owned(map.next_value::<String>()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn one_tag_is_found() {
        let check =
            |tags: &str, name: &str, wanted: Option<&str>| assert_eq!(find(tags, name).as_deref(), wanted, "{tags}");
        check(r#"{"env":"prod","team":"a\"b"}"#, "env", Some("prod"));
        check(r#"{"env":"prod","team":"a\"b"}"#, "team", Some("a\"b"));
        check(r#"{"n":{"env":"no"},"env":"yes"}"#, "env", Some("yes"));
        check("{}", "env", None);
        check("", "env", None);
        check("[1]", "env", None);
        check(r#"{"env":1}"#, "env", None);
    }
}
