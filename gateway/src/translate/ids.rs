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

/// The ids that a target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// At most so many letters, digits, `_` and `-`.
    UpTo(usize),
    /// Nine letters and digits, as Mistral's models want them.
    Nine,
}

impl Form {
    /// An id of this form: itself if it is one.
    pub(crate) fn fit(self, id: &str) -> String {
        match self {
            Self::UpTo(max) => fit(id, max),
            Self::Nine if self.is_of(id) => id.to_owned(),
            Self::Nine => nine(id),
        }
    }

    pub(crate) fn is_of(self, id: &str) -> bool {
        match self {
            Self::UpTo(max) => {
                let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
                !id.is_empty() && id.len() <= max && id.chars().all(is_plain)
            }
            Self::Nine => id.len() == NINE && id.chars().all(|char| char.is_ascii_alphanumeric()),
        }
    }
}

/// The length of Mistral's ids.
const NINE: usize = 9;

/// An id of at most `max` letters, digits, `_` and `-`: itself if it is one.
pub(crate) fn fit(id: &str, max: usize) -> String {
    if Form::UpTo(max).is_of(id) { id.to_owned() } else { hashed("call_", id) }
}

/// Nine letters and digits that stand for an id: one of 36^9, so that no conversation has two that meet by chance.
fn nine(id: &str) -> String {
    let hash = Sha256::digest(id.as_bytes());
    let number = hash.iter().take(16).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    let digits = (0..NINE).scan(number, |rest, _| {
        let digit = u32::try_from(*rest % 36).ok()?;
        *rest /= 36;
        char::from_digit(digit, 36)
    });
    digits.collect()
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
        let made = Form::Nine.fit("toolu_01A09q90qw90lq917835lq9");
        assert!(Form::Nine.is_of(&made), "{made}");
        assert_eq!((Form::Nine.fit(&made), Form::Nine.fit("D681PevKs")), (made.clone(), "D681PevKs".to_owned()));
        for other in ["toolu_01A09q90qw90lq917835lq8", "call_0", "", "12345678", "1234-6789", "\u{e9}1234567"] {
            let other = Form::Nine.fit(other);
            assert!(Form::Nine.is_of(&other) && other != made, "{other}");
        }
        let mut ids = Ids::new("0190b3c4-aaaa-7bbb-8ccc-dddddddddddd");
        assert_eq!([ids.make(), ids.make()].map(|id| id.len()), [38, 38]);
        assert_ne!(ids.make(), ids.make());
    }
}
