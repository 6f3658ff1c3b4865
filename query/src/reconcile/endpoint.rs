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

/// Several of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    all: bool,
    completions: bool,
    embeddings: bool,
    moderations: bool,
}

impl Endpoints {
    /// None but this one.
    #[must_use]
    pub fn of(endpoint: Endpoint) -> Self {
        let mut one = Self::default();
        match endpoint {
            Endpoint::All => one.all = true,
            Endpoint::Completions => one.completions = true,
            Endpoint::Embeddings => one.embeddings = true,
            Endpoint::Moderations => one.moderations = true,
        }
        one
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            all: self.all || other.all,
            completions: self.completions || other.completions,
            embeddings: self.embeddings || other.embeddings,
            moderations: self.moderations || other.moderations,
        }
    }

    /// Whether there is any.
    pub const fn any(self) -> bool {
        self.all || self.completions || self.embeddings || self.moderations
    }

    /// Whether they count a class of such a call. Of what other systems told nobody may know which call it was: it is taken for an answer.
    pub const fn count(self, operation: Operation, class: Option<TokenClass>) -> bool {
        use TokenClass::{AudioInput, AudioOutput, CacheRead, Output, UncachedInput};
        let of_answers = matches!(class, None | Some(UncachedInput | CacheRead | Output | AudioInput | AudioOutput));
        let is_input = matches!(class, None | Some(UncachedInput));
        self.all
            || match operation {
                Operation::Embeddings => self.embeddings && is_input,
                Operation::Moderation => self.moderations && is_input,
                Operation::Image | Operation::Speech | Operation::Transcription | Operation::Rerank => false,
                _ => self.completions && of_answers,
            }
    }
}
