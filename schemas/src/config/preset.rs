//! The names that stand in `dialect`: the dialects, and providers of which more is known than that they speak one.
//!
//! A preset is data: whose dialect it speaks, where it is, and how it comes to report usage in streams. What a configuration says itself
//! comes before. A provider that needs code is a dialect and not a preset.

use super::provider::{Dialect, Flavor, Responses, UsageInStream};

/// What a name in `dialect` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) name: &'static str,
    pub(super) dialect: Dialect,
    /// Where it is, if there is one place.
    pub(super) base_url: Option<&'static str>,
    pub(super) usage_in_stream: UsageInStream,
    /// Whether it is called without a key.
    pub(super) keyless: bool,
    pub(super) responses: Responses,
    pub(super) flavor: Flavor,
}

impl Spoken {
    pub(super) const SANDBOX: Self = Self::plain(Dialect::Sandbox);

    /// A dialect and nothing else.
    const fn plain(dialect: Dialect) -> Self {
        Self {
            name: dialect.name(),
            dialect,
            base_url: None,
            usage_in_stream: UsageInStream::Ask,
            keyless: false,
            responses: Responses::Native,
            flavor: Flavor::Common,
        }
    }

    /// A dialect that is spoken at one place.
    const fn at(dialect: Dialect, base_url: &'static str) -> Self {
        Self { base_url: Some(base_url), ..Self::plain(dialect) }
    }

    /// A provider that speaks OpenAI's dialect.
    const fn preset(name: &'static str, base_url: Option<&'static str>, usage_in_stream: UsageInStream) -> Self {
        Self { name, base_url, usage_in_stream, ..Self::plain(Dialect::OpenAi) }
    }

    const fn keyless(self) -> Self {
        Self { keyless: true, ..self }
    }

    /// Of OpenAI's APIs for text it has chats only.
    const fn chats_only(self) -> Self {
        Self { responses: Responses::Translated, ..self }
    }

    const fn flavored(self, flavor: Flavor) -> Self {
        Self { flavor, ..self }
    }
}

const ASK: UsageInStream = UsageInStream::Ask;
const ALWAYS: UsageInStream = UsageInStream::Always;

/// Every name.
pub(super) const SPOKEN: [Spoken; 18] = [
    Spoken::plain(Dialect::OpenAi),
    Spoken::plain(Dialect::Anthropic),
    Spoken::SANDBOX,
    Spoken::at(Dialect::Gemini, "https://generativelanguage.googleapis.com"),
    Spoken::plain(Dialect::Vertex),
    Spoken::plain(Dialect::Bedrock),
    Spoken::at(Dialect::Cohere, "https://api.cohere.com"),
    Spoken::plain(Dialect::Azure),
    Spoken::preset("mistral", Some("https://api.mistral.ai/v1"), ALWAYS).chats_only().flavored(Flavor::Mistral),
    Spoken::preset("groq", Some("https://api.groq.com/openai/v1"), ASK),
    Spoken::preset("deepseek", Some("https://api.deepseek.com/v1"), ASK).chats_only(),
    Spoken::preset("openrouter", Some("https://openrouter.ai/api/v1"), ASK).flavored(Flavor::OpenRouter),
    Spoken::preset("xai", Some("https://api.x.ai/v1"), ASK),
    Spoken::preset("together", Some("https://api.together.xyz/v1"), ASK).chats_only(),
    Spoken::preset("fireworks", Some("https://api.fireworks.ai/inference/v1"), ASK),
    // Its paths have no version.
    Spoken::preset("perplexity", Some("https://api.perplexity.ai"), ALWAYS).chats_only(),
    Spoken::preset("ollama", Some("http://127.0.0.1:11434/v1"), ASK).keyless(),
    Spoken::preset("vllm", None, ASK).keyless(),
];
