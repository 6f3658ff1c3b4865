//! The entries of `reasoning_details`: what a chat's provider shows of its reasoning, with what proves it to whom the provider asked.
//!
//! OpenRouter and others want them back as they were. So the rest of an entry goes with its text as a proof of the provider's own, which is
//! JSON, and is written again from both. In a stream an entry comes in pieces that have one index.

use crate::translate::{
    fields::{Fields, Item, Ledger, Read, document},
    json::{Json, object},
    seal::{Kind, Maker, Seal},
};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Text,
    Summary,
    Hidden,
}

impl Sort {
    const ALL: [Self; 3] = [Self::Text, Self::Summary, Self::Hidden];

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "reasoning.text",
            Self::Summary => "reasoning.summary",
            Self::Hidden => "reasoning.encrypted",
        }
    }
}

/// An entry, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    sort: Sort,
    index: Option<u64>,
    id: Option<String>,
    format: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    /// What is shown of it.
    pub(crate) text: String,
}

impl Detail {
    /// Reads an entry. One of a type that is not known is listed.
    pub(crate) fn read(mut fields: Fields<'_>, ledger: &mut Ledger) -> Read<Option<Self>> {
        let index = fields.count("index")?;
        let mut word = |name| fields.take(name).and_then(|item| item.as_text()).filter(|text| !text.is_empty());
        let (kind, id, format, signature) = (word("type"), word("id"), word("format"), word("signature"));
        let (text, summary, data) = (word("text"), word("summary"), word("data"));
        let sort = match kind {
            Some(kind) => Sort::ALL.into_iter().find(|sort| sort.name() == kind),
            None if data.is_some() => Some(Sort::Hidden),
            None => Some(if summary.is_some() { Sort::Summary } else { Sort::Text }),
        };
        let Some(sort) = sort else {
            ledger.note(fields.at);
            return Ok(None);
        };
        fields.rest(ledger);
        let text = text.or(summary).unwrap_or_default();
        Ok(Some(Self { sort, index, id, format, signature, data, text }))
    }

    /// Whether nothing of it is shown.
    pub(crate) fn is_hidden(&self) -> bool {
        self.sort == Sort::Hidden
    }

    /// Whether it is more than a text.
    pub(crate) const fn proves(&self) -> bool {
        self.signature.is_some() || self.data.is_some()
    }

    /// Whether a piece says more of this. What has no number is another where it could be, and a signature ends an entry.
    pub(crate) fn goes_on_with(&self, piece: &Self) -> bool {
        let is_same = self.sort == piece.sort && self.index == piece.index;
        let is_named = piece.id.is_none() || piece.id == self.id;
        let is_over = self.signature.is_some() && !piece.text.is_empty();
        is_same && is_named && !is_over && (self.index.is_some() || !self.is_hidden())
    }

    /// Takes what a piece says more; what it shows is told as it comes, and not kept.
    pub(crate) fn take(&mut self, piece: Self) {
        let more = |mine: &mut Option<String>, more: Option<String>| {
            if let Some(more) = more {
                mine.get_or_insert_default().push_str(&more);
            }
        };
        more(&mut self.signature, piece.signature);
        more(&mut self.data, piece.data);
        self.format = self.format.take().or(piece.format);
    }

    /// The proof that it is to a client: all but what is shown.
    pub(crate) fn seal(&self) -> Seal {
        let kind = if self.is_hidden() { Kind::Redacted } else { Kind::Thinking };
        Seal::new(Maker::Chat, kind, self.write(None).to_string())
    }

    /// The entry that such a proof was, with what was shown of it; nothing if it was none.
    pub(crate) fn of_seal(text: &str, seal: &Seal) -> Option<Json> {
        let tree = document(seal.data.as_bytes()).ok()?;
        let detail = Self::read(Item::root(&tree).object().ok()?, &mut Ledger::default()).ok()??;
        let is_hidden = seal.kind == Kind::Redacted;
        (detail.is_hidden() == is_hidden).then(|| detail.write((!is_hidden).then_some(text)))
    }

    fn write(&self, text: Option<&str>) -> Json {
        let mut written = object! { "type": self.sort.name() };
        written.put_some(if self.sort == Sort::Summary { "summary" } else { "text" }, text);
        written.put_some("signature", self.signature.as_ref());
        written.put_some("data", self.data.as_ref());
        written.put_some("id", self.id.as_ref());
        written.put_some("format", self.format.as_ref());
        written.put_some("index", self.index);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entry: &str) -> Option<Detail> {
        let tree = document(entry.as_bytes()).unwrap();
        Detail::read(Item::root(&tree).object().unwrap(), &mut Ledger::default()).unwrap()
    }

    #[test]
    fn an_entry_is_written_as_it_was() {
        for entry in [
            r#"{"type":"reasoning.text","text":"h\"m","signature":"S:1","id":"r","format":"anthropic-claude-v1","index":0}"#,
            r#"{"type":"reasoning.summary","summary":"hm","format":"openai-responses-v1","index":1}"#,
            r#"{"type":"reasoning.encrypted","data":"E:n","id":"t1","format":"google-gemini-v1","index":2}"#,
        ] {
            let detail = read(entry).unwrap();
            let seal =
                Seal::unpack(detail.seal().pack(Maker::Anthropic, Kind::Thinking), Maker::Anthropic, Kind::Thinking);
            let written = Detail::of_seal(&detail.text, &seal).map(|written| written.to_string());
            assert_eq!(written.as_deref(), Some(entry));
        }
        assert_eq!(read(r#"{"type":"reasoning.later","text":"hm"}"#), None);
        for data in ["", "s", "[]", r#"{"type":"reasoning.encrypted","data":"x"}"#] {
            assert!(
                Detail::of_seal("hm", &Seal::new(Maker::Chat, Kind::Thinking, data.to_owned())).is_none(),
                "{data}"
            );
        }
    }

    #[test]
    fn pieces_of_one_index_are_one_entry() {
        let of = |more: &str| read(&format!(r#"{{"type":"reasoning.{more}}}"#)).unwrap();
        let mut first = of(r#"text","text":"h","index":0,"format":"f""#);
        for (piece, wanted) in [
            (r#"text","text":"m","index":0"#, true),
            (r#"text","signature":"S","index":0"#, true),
            (r#"text","text":"m","index":1"#, false),
            (r#"text","text":"m","id":"b","index":0"#, false),
            (r#"encrypted","data":"E","index":0"#, false),
        ] {
            assert_eq!(first.goes_on_with(&of(piece)), wanted, "{piece}");
        }
        first.take(of(r#"text","signature":"S","index":0"#));
        assert!(!first.goes_on_with(&of(r#"text","text":"m","index":0"#)), "it was signed");
        assert!(!of(r#"encrypted","data":"E""#).goes_on_with(&of(r#"encrypted","data":"F""#)));
        let mut hidden = of(r#"encrypted","data":"E","index":0"#);
        hidden.take(of(r#"encrypted","data":"F","index":0"#));
        assert_eq!(hidden.seal().data, r#"{"type":"reasoning.encrypted","data":"EF","index":0}"#);
    }
}
