//! How much output is in what a stream says: never less than what it can be billed as.
//!
//! Tokens by the model's own table where that is known and loaded, summed over the frames, else bytes, of which no tokenizer makes more
//! tokens, or as many of them to a token as the operator states of the model. Names and arguments of tools count like text. Where the
//! provider reports on the way, its word takes the place of bytes, as long as it is possible.

use schemas::{
    json::{Kind, Value},
    price::Encoding,
};

use super::Brings;
use crate::meter::estimate;

/// What opens the call of a tool beside its name and arguments, generously.
pub(super) const TOOL_TOKENS: u64 = 16;

/// A report that would have a token be of more bytes than this is not believed: some providers send zeros until the end.
const BYTES_MAX: u64 = 16;

/// The output so far, from above: in parts, of which `per_token` are a token.
#[derive(Debug)]
pub(super) struct Count {
    encoding: Encoding,
    per_token: u64,
    /// By the text alone.
    said: u64,
    /// By what the provider reported, and the text since.
    known: u64,
    is_reported: bool,
}

impl Count {
    /// For a model of this encoding, whose tokens have so many bytes each, or more.
    pub(super) fn new(encoding: Encoding, bytes_per_token: u8) -> Self {
        let per_token = u64::from(bytes_per_token.max(1));
        Self { encoding, per_token, said: 0, known: 0, is_reported: false }
    }

    /// The most output that can be in what was taken.
    pub(super) const fn seen(&self) -> u64 {
        self.known.div_ceil(self.per_token)
    }

    /// Whether the provider says on the way how much it is.
    pub(super) const fn is_reported(&self) -> bool {
        self.is_reported
    }

    pub(super) const fn tokens(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.per_token)
    }

    pub(super) fn take(&mut self, brings: &Brings) {
        self.said = self.said.saturating_add(brings.parts);
        self.known = self.known.saturating_add(brings.parts);
        // Where the table is known the text is counted well enough. What is reported may leave out this very frame.
        let believed = brings.reported.filter(|reported| {
            self.encoding == Encoding::None && *reported > 0 && reported.saturating_mul(BYTES_MAX) >= self.said
        });
        if let Some(reported) = believed {
            self.is_reported = true;
            self.known = self.known.min(self.tokens(reported).saturating_add(brings.parts));
        }
    }

    /// The output in a delta or a block.
    pub(super) fn said(&self, value: Value<'_>) -> u64 {
        match value.kind() {
            Kind::Text(text) => self.text(&text.decoded()),
            Kind::List(items) => items.map(|item| self.said(item)).fold(0, u64::saturating_add),
            Kind::Object(members) => {
                let said = members.map(|(name, value)| match &*name.decoded() {
                    // Form, not speech.
                    "type" | "id" | "role" | "index" | "status" | "call_id" | "toolUseId" => 0,
                    "signature" | "thoughtSignature" | "encrypted_content" => 0,
                    "annotations" | "logprobs" | "sources" => 0,
                    // What a tool is called with has names of its own, which are speech as well.
                    "args" | "input" if value.members().is_some_and(|mut all| all.next().is_some()) => {
                        self.text(value.raw())
                    }
                    "name" => self.said(value).saturating_add(self.tokens(TOOL_TOKENS)),
                    _ => self.said(value),
                });
                said.fold(0, u64::saturating_add)
            }
            Kind::Null | Kind::Bool(_) => 0,
            Kind::Number(number) => size(number.len()),
        }
    }

    fn text(&self, text: &str) -> u64 {
        estimate::at_once(self.encoding, text).map_or(size(text.len()), |tokens| self.tokens(tokens))
    }
}

pub(super) fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
