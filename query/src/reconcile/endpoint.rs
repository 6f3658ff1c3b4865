//! Which of a provider's endpoints an export is of, and so which of our charges it says anything about.
//!
//! OpenAI has one for each kind of call. What none of those counts in tokens, such as images and speech, or searches, no usage of it states.

use schemas::{event::Operation, tokens::TokenClass};

/// What counts usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One that counts everything.
    All,
    /// OpenAI's of answers, whichever API they were asked through.
    Completions,
    /// OpenAI's of embeddings.
    Embeddings,
    /// OpenAI's of moderations.
    Moderations,
}

/// Several of them: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoints(u8);

impl Endpoints {
    /// None but this one.
    #[must_use]
    pub const fn of(endpoint: Endpoint) -> Self {
        Self(1 << endpoint as u8)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is any.
    pub const fn any(self) -> bool {
        self.0 != 0
    }

    const fn has(self, endpoint: Endpoint) -> bool {
        self.0 & Self::of(endpoint).0 != 0
    }

    /// Whether they count a class of such a call. Of what other systems told nobody may know which call it was: it is taken for an answer.
    pub const fn count(self, operation: Operation, class: Option<TokenClass>) -> bool {
        use TokenClass::{AudioInput, AudioOutput, CacheRead, Output, UncachedInput};
        let of_answers = matches!(class, None | Some(UncachedInput | CacheRead | Output | AudioInput | AudioOutput));
        let is_input = matches!(class, None | Some(UncachedInput));
        self.has(Endpoint::All)
            || match operation {
                Operation::Embeddings => self.has(Endpoint::Embeddings) && is_input,
                Operation::Moderation => self.has(Endpoint::Moderations) && is_input,
                Operation::Image | Operation::Speech | Operation::Transcription | Operation::Rerank => false,
                _ => self.has(Endpoint::Completions) && of_answers,
            }
    }
}
