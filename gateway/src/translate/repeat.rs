//! A stream repeats itself: most of its frames differ from the one before in the text that they say, and in nothing else.
//!
//! Once such a frame has been read, the next one that is the same around its text says that text, and need not be read: a frame that
//! only said more of a text changed nothing in its reader, so a second one cannot mean anything else.

use memchr::memchr2;
use schemas::json::{Kind, Tree, Value};

/// Members of a frame that pad it to hide the length of its text, and that no reader looks at.
const PADS: [&str; 2] = ["obfuscation", "p"];
/// How many frames are learnt one after the other that no other repeats: some report what was used in each.
const LESSONS_MAX: u8 = 4;

/// The frame that is repeated.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    /// What its framing calls it.
    name: String,
    /// What stands before, between and behind its gaps; nothing if there is none.
    pieces: Vec<Vec<u8>>,
    /// Which gap is the text that it says.
    said: usize,
    /// How many were learnt since one was repeated.
    lessons: u8,
}

impl Repeat {
    /// The text that a frame says, if it repeats the one that was learnt.
    pub(super) fn text<'d>(&mut self, name: &str, data: &'d [u8]) -> Option<&'d str> {
        let (last, pieces) = self.pieces.split_last()?;
        let (mut rest, mut said) = (data, None);
        for (place, piece) in pieces.iter().enumerate() {
            let (text, behind) = plain(rest.strip_prefix(piece.as_slice())?)?;
            rest = behind;
            if place == self.said {
                said = Some(text).filter(|text| !text.is_empty());
            }
        }
        let said = said.filter(|_| rest == last && name == self.name)?;
        self.lessons = 0;
        Some(said)
    }

    /// Takes a frame that said this much more of a text and did nothing else.
    pub(super) fn learn(&mut self, name: &str, data: &[u8], text: &str) {
        self.forget();
        if self.lessons == LESSONS_MAX {
            return;
        }
        self.lessons += 1;
        let Ok(tree) = Tree::read_answer(data) else { return };
        let mut says = Vec::new();
        find(tree.root(), text, &mut says);
        let [said] = says.as_slice() else { return };
        let mut gaps = vec![*said];
        for (member, value) in tree.root().members().into_iter().flatten() {
            if PADS.iter().any(|pad| member == **pad) && value.text().is_some() {
                gaps.push(value);
            }
        }
        gaps.sort_unstable_by_key(|gap| gap.span().start);
        let mut from = 0;
        for gap in &gaps {
            let (start, end) = (gap.span().start + 1, gap.span().end.saturating_sub(1));
            self.pieces.push(data.get(from..start).unwrap_or_default().to_vec());
            from = end;
        }
        self.pieces.push(data.get(from..).unwrap_or_default().to_vec());
        self.said = gaps.iter().position(|gap| gap.span() == said.span()).unwrap_or_default();
        name.clone_into(&mut self.name);
    }

    /// Something else was said: what comes next may mean something else.
    pub(super) fn forget(&mut self) {
        self.pieces.clear();
    }
}

/// The text up to the quote that ends it, and the rest from there on; nothing if it is not what it stands for.
fn plain(data: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = data.split_at_checked(memchr2(b'"', b'\\', data)?)?;
    let is_whole = rest.first() == Some(&b'"') && !text.iter().any(|byte| *byte < b' ');
    std::str::from_utf8(text).ok().filter(|_| is_whole).map(|text| (text, rest))
}

/// Finds every text that is this one.
fn find<'t>(value: Value<'t>, text: &str, found: &mut Vec<Value<'t>>) {
    match value.kind() {
        Kind::Text(said) if said == *text => found.push(value),
        Kind::List(items) => items.for_each(|item| find(item, text, found)),
        Kind::Object(members) => members.for_each(|(_, member)| find(member, text, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_the_same_but_for_its_text_says_that() {
        let frame = |text: &str, pad: &str| format!(r#"{{"p":"{pad}","d":{{"text":"{text}"}},"i":0}}"#);
        for (learnt, next, says) in [
            (frame("a", ""), frame("bc é", "xyz"), Some("bc é")),
            (frame("a", "q"), frame("p", "p"), Some("p")),
            (frame(r"\u0061", ""), frame("b", ""), Some("b")),
            (frame("a", ""), frame("", ""), None),
            (frame("a", ""), frame(r"b\n", ""), None),
            (frame("a", ""), frame("b\n", ""), None),
            (frame("a", ""), frame("b", r"\u0061"), None),
            (frame("a", "a"), frame("b", "a"), None),
            (frame("a", ""), frame("b", "").replace('0', "1"), None),
            (frame("a", ""), frame("b", "") + " ", None),
            (frame("a", ""), frame("b", "").replace(r#""d""#, r#""d","e""#), None),
        ] {
            let mut repeat = Repeat::default();
            repeat.learn("e", learnt.as_bytes(), "a");
            assert_eq!(repeat.text("e", next.as_bytes()), says, "{learnt} {next}");
            assert_eq!(repeat.text("f", next.as_bytes()), None, "it has another name");
            repeat.forget();
            assert_eq!(repeat.text("e", next.as_bytes()), None, "it is forgotten");
        }
        let mut repeat = Repeat::default();
        let [first, second] = [frame("a", ""), frame("b", "")];
        for _ in 0..2 {
            (1..LESSONS_MAX).for_each(|_| repeat.learn("", first.as_bytes(), "a"));
            assert_eq!(repeat.text("", second.as_bytes()), Some("b"));
        }
        (0..=LESSONS_MAX).for_each(|_| repeat.learn("", first.as_bytes(), "a"));
        assert_eq!(repeat.text("", second.as_bytes()), None, "nothing repeats itself");
    }
}
