//! Ids of calls: made where a provider gives none, and made to fit where a target takes fewer characters.
//!
//! Both are functions of what they are made from, so a call and its result, in whatever request, get the same id.

use sha2::{Digest, Sha256};

/// Makes ids for the calls of one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    /// What is the answer's own.
    pub(crate) stem: String,
    made: usize,
}

impl Ids {
    pub(crate) fn new(stem: &str) -> Self {
        let stem = stem.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        Self { stem, made: 0 }
    }

    pub(crate) fn make(&mut self) -> String {
        self.made += 1;
        format!("call_{}{}", self.stem, self.made)
    }
}

/// An id of at most `max` letters, digits, `_` and `-`: itself if it is one.
pub(crate) fn fit(id: &str, max: usize) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !id.is_empty() && id.len() <= max && id.chars().all(is_plain) {
        return id.to_owned();
    }
    hashed("call_", id)
}

/// What stands for a text that does not fit: 37 characters, the same for the same text.
pub(crate) fn hashed(begin: &'static str, text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).fold(begin.to_owned(), |made, byte| format!("{made}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_and_stay_the_same() {
        assert_eq!(fit("toolu_01-a", 64), "toolu_01-a");
        let made = fit("functions.get:0", 40);
        assert_eq!((made.len(), &made), (37, &fit("functions.get:0", 40)));
        assert_ne!(made, fit("functions.get:1", 40));
        assert_eq!(fit(&"a".repeat(41), 40).len(), 37);
        let mut ids = Ids::new("0190b3c4-aaaa-7bbb-8ccc-dddddddddddd");
        assert_eq!([ids.make(), ids.make()].map(|id| id.len()), [38, 38]);
        assert_ne!(ids.make(), ids.make());
    }
}
