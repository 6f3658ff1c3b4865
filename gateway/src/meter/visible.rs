//! The output that can be seen in a stream: how much text went by, and its beginning.
//!
//! Bytes of text bound its tokens from above. Reasoning out of sight, audio and what tools do are not in it, so it says
//! nothing certain about the bill. The text of a stream is kept as it stands in the JSON, escaped, up to [`KEPT_MAX`] bytes;
//! that of a whole answer is taken only when it has come and reports nothing.

use memchr::{memchr2, memmem::Finder};
use schemas::tokens::Vector;

/// How much of the text is kept: more than most answers have. 1,000 open streams keep at most 16 MiB.
pub const KEPT_MAX: usize = 16 * 1024;
/// The most answers beside the first whose text is kept apart: more than are asked for in one.
const OTHERS_MAX: usize = 127;

/// The output text seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    bytes: u64,
    deltas: u64,
    /// Calls of tools, and searches of the provider.
    called: (u64, u64),
    /// The beginning, as it stands between the quotes of JSON.
    kept: Vec<u8>,
    /// The same of other answers that come together with the first, by their numbers: tokens do not reach from one into another.
    others: Vec<(u64, Vec<u8>)>,
    /// The number of the one that speaks.
    choice: u64,
    /// The bytes of text that what is kept stands for.
    kept_bytes: u64,
}

impl Visible {
    /// The bytes of text, or a few more.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The calls of tools in it, and the searches of the provider.
    pub fn units(&self) -> Vector {
        let (tool_calls, web_searches) = self.called;
        Vector { tool_calls, web_searches, ..Vector::default() }
    }

    /// So many calls of tools and searches were seen.
    pub(super) const fn called(&mut self, calls: u64, searches: u64) {
        self.called = (calls, searches);
    }

    /// A careful count of its tokens: not more than one for each piece that came, nor for each four bytes.
    pub fn tokens_at_least(&self) -> u64 {
        self.deltas.min(self.bytes / 4)
    }

    /// The beginning of each answer's text, and how many bytes of all of it are in there; nothing if none was kept or it cannot be read.
    pub fn beginning(&self) -> Option<(Vec<String>, u64)> {
        let kept = std::iter::once(&self.kept).chain(self.others.iter().map(|(_, kept)| kept));
        let read = |kept: &Vec<u8>| {
            let quoted = [b"\"".as_slice(), kept, b"\""].concat();
            serde_json::from_slice::<String>(&quoted).ok()
        };
        let texts = kept.filter(|kept| !kept.is_empty()).map(read).collect::<Option<Vec<String>>>()?;
        (!texts.is_empty()).then_some((texts, self.kept_bytes))
    }

    /// What is taken from here on is said by the answer of this number.
    pub(super) const fn says(&mut self, choice: u64) {
        self.choice = choice;
    }

    /// Takes the values of every member that `key`, with its quotes, names in `json`, if they are text that is not empty.
    /// Returns whether there was any. A quote inside a value is escaped, so `key` is never found within one.
    pub(super) fn take(&mut self, json: &[u8], key: &Finder<'_>, keep: bool) -> bool {
        let before = self.bytes;
        for at in key.find_iter(json) {
            let value = after_colon(json, at + key.needle().len());
            if let Some((b'"', rest)) = value.split_first()
                && let Some((text, decoded)) = string(rest)
            {
                self.add(text, decoded, keep);
            }
        }
        self.bytes > before
    }

    /// Takes text that stands in JSON as `escaped`.
    fn add(&mut self, escaped: &[u8], decoded: u64, keep: bool) {
        self.bytes += decoded;
        self.deltas += u64::from(decoded > 0);
        let length = self.kept.len() + self.others.iter().map(|(_, kept)| kept.len()).sum::<usize>();
        if keep
            && length + escaped.len() <= KEPT_MAX
            && self.kept_bytes + decoded == self.bytes
            && let Some(kept) = self.kept_of_choice()
        {
            kept.extend_from_slice(escaped);
            self.kept_bytes += decoded;
        }
    }

    /// Where the text of the answer is kept that speaks; nothing if too many do.
    fn kept_of_choice(&mut self) -> Option<&mut Vec<u8>> {
        let choice = self.choice;
        if choice == 0 {
            return Some(&mut self.kept);
        }
        if self.others.len() < OTHERS_MAX && self.others.iter().all(|(known, _)| *known != choice) {
            self.others.push((choice, Vec::new()));
        }
        self.others.iter_mut().find(|(known, _)| *known == choice).map(|(_, kept)| kept)
    }

    /// Takes text that came whole.
    pub(super) fn add_text(&mut self, text: &str) {
        let quoted = serde_json::Value::from(text).to_string();
        let escaped = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        let decoded = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.bytes += decoded;
        self.deltas += u64::from(decoded > 0);
        self.kept.extend_from_slice(escaped.as_bytes());
        self.kept_bytes += decoded;
    }

    pub(super) fn forget_text(&mut self) {
        (self.kept, self.others) = (Vec::new(), Vec::new());
        self.kept_bytes = 0;
    }
}

/// What follows the colon behind a key that ends at `end`; nothing if it is no key.
pub(super) fn after_colon(json: &[u8], end: usize) -> &[u8] {
    let rest = json.get(end..).unwrap_or_default().trim_ascii_start();
    rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start).unwrap_or_default()
}

/// The text up to the quote that closes it, and how many bytes it is decoded, or a few more; nothing if it is not closed.
fn string(rest: &[u8]) -> Option<(&[u8], u64)> {
    let (mut at, mut decoded) = (0, 0_u64);
    loop {
        let next = memchr2(b'"', b'\\', rest.get(at..)?)?;
        decoded += u64::try_from(next).unwrap_or(u64::MAX);
        at += next;
        if rest.get(at) == Some(&b'"') {
            return Some((rest.get(..at)?, decoded));
        }
        // One escaped character; four hexadecimal digits are at most three bytes of UTF-8.
        let (length, bytes) = if rest.get(at + 1) == Some(&b'u') { (6, 3) } else { (2, 1) };
        at += length;
        decoded += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, bytes: u64, deltas: u64, text: Option<&str>) {
        let mut visible = Visible::default();
        visible.take(json.as_bytes(), &Finder::new("\"content\""), true);
        assert_eq!((visible.bytes, visible.deltas), (bytes, deltas), "{json}");
        assert_eq!(visible.beginning().map(|(texts, _)| texts.concat()).as_deref(), text, "{json}");
    }

    #[test]
    fn text_is_counted_decoded() {
        check(r#"{"content":"Hello"}"#, 5, 1, Some("Hello"));
        check(r#"{"content" : "a\"b\\c\n"}"#, 6, 1, Some("a\"b\\c\n"));
        check(r#"{"content":"\u00e9\ud83d\ude00"}"#, 9, 1, Some("é😀"));
        check(r#"[{"content":"a"},{"content":"bc"}]"#, 3, 2, Some("abc"));
        check(r#"{"content":""}"#, 0, 0, None);
        check(r#"{"content":null,"x":"content"}"#, 0, 0, None);
        check(r#"{"content":[{"token":"a"}],"x":"\"content\":\"no\""}"#, 0, 0, None);
        check(r#"{"content":"cut off"#, 0, 0, None);
        check(r#"{"content":"cut\"#, 0, 0, None);
        check(r#"{"content":"half a pair \ud83d"}"#, 15, 1, None);
    }

    #[test]
    fn only_the_beginning_is_kept() {
        let mut visible = Visible::default();
        let finder = Finder::new("\"content\"");
        let frame = format!("{{\"content\":\"{}\"}}", "a".repeat(KEPT_MAX - 1));
        for _ in 0..2 {
            assert!(visible.take(frame.as_bytes(), &finder, true));
        }
        // A piece that would fit again is not kept behind a gap.
        assert!(visible.take(br#"{"content":"b"}"#, &finder, true));
        let (texts, of) = visible.beginning().expect("a beginning");
        assert_eq!((texts.concat().len(), of, visible.bytes), (KEPT_MAX - 1, 16_383, 32_767));
    }

    #[test]
    fn answers_that_come_together_are_kept_apart() {
        let (mut visible, finder) = (Visible::default(), Finder::new("\"content\""));
        for (choice, text) in [(1, "so"), (0, "he"), (1, "me"), (0, "llo")] {
            visible.says(choice);
            visible.take(format!("{{\"content\":\"{text}\"}}").as_bytes(), &finder, true);
        }
        assert_eq!(visible.beginning(), Some((vec!["hello".to_owned(), "some".to_owned()], 9)));
        for choice in 2..1_000 {
            visible.says(choice);
            visible.take(br#"{"content":"x"}"#, &finder, true);
        }
        assert_eq!((visible.others.len(), visible.bytes, visible.kept_bytes), (OTHERS_MAX, 9 + 998, 9 + 126));
    }
}
