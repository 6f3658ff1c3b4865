//! Names that may stand once.
//!
//! The first one counts and every later one is a mistake that says where the first is; a secret is compared by its hash.

use std::collections::HashMap;

use super::{reader::Reader, remark::Place};
use crate::error_code::ErrorCode;

/// The names of one kind so far, and where each stands.
pub(super) struct Unique {
    kind: &'static str,
    seen: HashMap<String, Place>,
}

impl Unique {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, seen: HashMap::new() }
    }

    /// Takes a name, and reports it if it was taken before.
    pub(super) fn add(&mut self, reader: &mut Reader, at: Place, name: &str) {
        if let Some(first) = self.seen.get(name) {
            let what = format!("the {} {name:?} is defined twice, first in line {}", self.kind, first.line);
            reader.mistake(at, ErrorCode::DuplicateConfig, what, "rename or remove one of them");
        } else {
            self.seen.insert(name.into(), at);
        }
    }

    /// Takes a secret by its hash, and reports it without showing it.
    pub(super) fn add_hidden(&mut self, reader: &mut Reader, at: Place, hash: String) {
        if let Some(first) = self.seen.get(&hash) {
            let what = format!("this {} is the same as the one in line {}", self.kind, first.line);
            reader.mistake(at, ErrorCode::DuplicateConfig, what, "make another one for each use");
        } else {
            self.seen.insert(hash, at);
        }
    }
}
