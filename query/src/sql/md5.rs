//! `md5(text)`, which BI tools make keys with: the engine's own comes with libraries of four other digests.
//!
//! It protects nothing: who knows what is likely finds it again.

use std::sync::Arc;

use arrow::{
    array::{AsArray, StringArray},
    datatypes::DataType,
};
use datafusion::{
    common::{exec_err, plan_err},
    logical_expr::ScalarUDF,
};
use md5::Digest as _;

use super::shape::Plain;

/// The function.
pub(super) fn md5() -> Arc<ScalarUDF> {
    Plain {
        name: "md5",
        takes: |types| match types {
            [kind] if kind.is_string() || kind.is_null() => Ok(vec![DataType::Utf8]),
            _ => plan_err!("md5() takes a text"),
        },
        gives: |_| Ok(DataType::Utf8),
        makes: |arrays| {
            let [texts] = arrays else { return exec_err!("md5() takes a text") };
            let digests: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(digest)).collect();
            Ok(Arc::new(digests))
        },
    }
    .shared()
}

/// The digest of a text, in hexadecimal.
fn digest(text: &str) -> String {
    format!("{:x}", md5::Md5::digest(text))
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn digests_are_those_of_rfc_1321() {
        for (text, wanted) in
            [("", "d41d8cd98f00b204e9800998ecf8427e"), ("message digest", "f96b697d7cb7938d525a2f31aaf161d0")]
        {
            assert_eq!(digest(text), wanted, "{text}");
        }
    }
}
