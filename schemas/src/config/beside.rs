//! The sections that are not published and whose changes count all the same: who may be admin, whose tokens are good, where calls go.
//!
//! Each is told apart by the SHA-256 of its tree, with its variables expanded: in whatever order its members stand, and whatever it looks
//! like. What is written otherwise and means the same is another, and so is a list in another order. What each process has for itself is not
//! among them: addresses, log, lake.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    reader::Fields,
    yaml::{Key, Node, Value},
};
use crate::policy::Digest;

const SECTIONS: [&str; 5] = ["admins", "cors", "identity", "providers", "server"];

/// Whether a process takes a section from the file whenever it reads that; what else is beside the policy it takes when it starts.
pub(crate) fn is_read_again(section: &str) -> bool {
    matches!(section, "admins" | "identity")
}

/// What the sections say.
pub(super) fn of(sections: &Fields<'_>) -> BTreeMap<String, Digest> {
    let digest = |section: &str| sections.get(section).map(digest).unwrap_or_default();
    SECTIONS.into_iter().map(|section| (section.to_owned(), digest(section))).collect()
}

fn digest(node: &Node) -> Digest {
    let mut hash = Sha256::new();
    match &node.value {
        Value::Null | Value::Broken => {}
        Value::Scalar(scalar) => {
            hash.update(b"scalar");
            hash.update(scalar.text.as_bytes());
        }
        Value::List(items) => {
            hash.update(b"list");
            items.iter().for_each(|item| hash.update(digest(item).0));
        }
        Value::Map(entries) => {
            hash.update(b"map");
            let entry = |(key, node): &(Key, Node)| (Digest::of(&key.name), digest(node));
            let mut entries: Vec<(Digest, Digest)> = entries.iter().map(entry).collect();
            entries.sort_unstable();
            for (key, value) in entries {
                hash.update(key.0);
                hash.update(value.0);
            }
        }
    }
    Digest(hash.finalize().into())
}
