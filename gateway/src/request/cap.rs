//! The members that cap the output of a request, by API and model.
//!
//! Of a chat there are two, and a server may pass over the one that it does not know: what counts is the one that the model heeds.
//! Where a cap has to be written, this says which; `edit` writes it.

use schemas::{event::Api, price::CapField};

/// An output cap to write into a body: every cap that stands there is lowered to it, 0 among them since some take that for none, and
/// there is one in this member, which comes in the place of another one that a chat states instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The member that the model heeds.
    pub member: CapMember,
    /// Tokens.
    pub tokens: u64,
}

impl Cap {
    /// Whether a cap in a body allows more, or may.
    pub(super) const fn is_passed_by(self, given: u64) -> bool {
        given != self.tokens && (given == 0 || given > self.tokens)
    }
}

/// The members that cap the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapMember {
    /// `max_tokens`: Anthropic, and OpenAI's older models.
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's models that reason.
    MaxCompletionTokens,
    /// `max_output_tokens`: OpenAI's responses.
    MaxOutputTokens,
    /// `generationConfig.maxOutputTokens`: Gemini.
    GenerationConfig,
    /// `inferenceConfig.maxTokens`: Bedrock Converse.
    InferenceConfig,
}

impl CapMember {
    /// Its name in the body.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::GenerationConfig => "maxOutputTokens",
            Self::InferenceConfig => "maxTokens",
        }
    }

    /// The object in the body that it stands in; nothing where that is the body.
    pub const fn within(self) -> Option<&'static str> {
        match self {
            Self::GenerationConfig => Some("generationConfig"),
            Self::InferenceConfig => Some("inferenceConfig"),
            Self::MaxTokens | Self::MaxCompletionTokens | Self::MaxOutputTokens => None,
        }
    }

    /// The member that caps the output of a model of which this is the field.
    pub const fn for_model(api: Api, field: CapField) -> Self {
        match (Self::of(api), field) {
            (Some(own), _) => own,
            (None, CapField::MaxCompletionTokens) if Self::may_be_either(api) => Self::MaxCompletionTokens,
            (None, _) => Self::MaxTokens,
        }
    }

    /// Whether it is one of those two.
    pub(super) const fn is_either(self) -> bool {
        matches!(self, Self::MaxTokens | Self::MaxCompletionTokens)
    }

    /// Whether the output of an API is capped by either of two members, by the model: chats, and what Bedrock invokes in that form.
    pub(super) const fn may_be_either(api: Api) -> bool {
        matches!(api, Api::OpenAiChat | Api::BedrockInvoke | Api::BedrockInvokeStream)
    }

    /// The member of an API that has one under a name of its own.
    pub const fn of(api: Api) -> Option<Self> {
        match api {
            Api::OpenAiResponses => Some(Self::MaxOutputTokens),
            Api::GeminiGenerateContent => Some(Self::GenerationConfig),
            Api::BedrockConverse | Api::BedrockConverseStream => Some(Self::InferenceConfig),
            _ => None,
        }
    }
}
