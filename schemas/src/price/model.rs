//! The catalogue: what is known of a model besides its price.
//!
//! Every field may be absent; a bound that needs an absent one is unbounded and says so.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pattern;

/// One row of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider's configured name, or its vendor.
    pub provider: Arc<str>,
    /// The models.
    pub model: Pattern,
    /// The most tokens of input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// The most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<OutputMaximum>,
    /// How it cuts text into tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The field that caps its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_field: Option<CapField>,
    /// Whether the client sees every output token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_output_visible: Option<bool>,
    /// How many bytes of its text a token has at least, over a whole answer, where its encoding is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<u8>,
    /// The most tokens that one image can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tokens: Option<u64>,
    /// Whether it runs tools of its own, whatever the request says, so that no request to it is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_own_tools: Option<bool>,
}

/// The most tokens of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputMaximum {
    /// This many.
    Tokens(u64),
    /// As many as what stands for the `*` of the pattern says.
    Named,
}

/// What the catalogue says of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The most tokens of input and output together.
    pub context_window: Option<u64>,
    /// The most tokens of one answer.
    pub max_output_tokens: Option<u64>,
    /// How it cuts text into tokens.
    pub encoding: Encoding,
    /// The field that caps its output.
    pub cap_field: CapField,
    /// Whether the client sees every output token.
    pub all_output_visible: bool,
    /// How many bytes of its text a token has at least, over a whole answer: one, of which alone that is certain, if nobody says more.
    pub bytes_per_token: u8,
    /// The most tokens that one image can be.
    pub image_tokens: Option<u64>,
    /// Whether it runs tools of its own, whatever the request says.
    pub runs_own_tools: bool,
    /// Whether what serves it heeds each cap of its API as documented, or refuses it: no row says that, but who knows its address.
    pub heeds_caps: bool,
}

impl Default for ModelFacts {
    fn default() -> Self {
        Self {
            context_window: None,
            max_output_tokens: None,
            encoding: Encoding::default(),
            cap_field: CapField::default(),
            all_output_visible: false,
            bytes_per_token: 1,
            image_tokens: None,
            runs_own_tools: false,
            heeds_caps: false,
        }
    }
}

/// How a model cuts text into tokens, where that is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Not published: only bytes bound it.
    #[default]
    None,
    /// OpenAI's since gpt-4o.
    O200kBase,
    /// OpenAI's before that.
    Cl100kBase,
}

impl Encoding {
    /// The name in configuration and price files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
        }
    }

    /// The encoding that [`Self::name`] names.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::O200kBase, Self::Cl100kBase].into_iter().find(|encoding| encoding.name() == name)
    }
}

/// The request field that caps a model's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapField {
    /// `max_tokens`, which OpenAI's reasoning models refuse.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which servers of the OpenAI format other than OpenAI's may not know.
    MaxCompletionTokens,
}

impl CapField {
    /// The name of the field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    /// The field that caps the output of other models.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }

    /// The field that [`Self::name`] names.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::MaxTokens, Self::MaxCompletionTokens].into_iter().find(|field| field.name() == name)
    }
}

impl Model {
    /// A row that says nothing yet.
    pub const fn new(provider: Arc<str>, model: Pattern) -> Self {
        Self {
            provider,
            model,
            context_window: None,
            max_output_tokens: None,
            encoding: None,
            cap_field: None,
            all_output_visible: None,
            bytes_per_token: None,
            image_tokens: None,
            runs_own_tools: None,
        }
    }

    /// Takes over what it does not say itself.
    pub(super) fn fill(&mut self, from: &Self) {
        self.context_window = self.context_window.or(from.context_window);
        self.max_output_tokens = self.max_output_tokens.or(from.max_output_tokens);
        self.encoding = self.encoding.or(from.encoding);
        self.cap_field = self.cap_field.or(from.cap_field);
        self.all_output_visible = self.all_output_visible.or(from.all_output_visible);
        self.bytes_per_token = self.bytes_per_token.or(from.bytes_per_token);
        self.image_tokens = self.image_tokens.or(from.image_tokens);
        self.runs_own_tools = self.runs_own_tools.or(from.runs_own_tools);
    }

    /// Takes what the pattern of another row states of all models under it before what it says itself.
    pub(super) fn heed(&mut self, stated: &Self) {
        let is_under = stated.model.prefix().is_some_and(|prefix| self.model.as_str().starts_with(prefix));
        if is_under && stated.provider == self.provider {
            let mut facts = Self { model: self.model.clone(), ..stated.clone() };
            // What stands for one pattern's `*` is not what stands for another's.
            facts.max_output_tokens = facts.max_output_tokens.filter(|most| *most != OutputMaximum::Named);
            facts.fill(self);
            *self = facts;
        }
    }

    /// What tells this row from the others.
    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.provider, self.model.as_str())
    }

    /// The most tokens of one answer of the model called `name`.
    fn output_maximum(&self, name: &str) -> Option<u64> {
        match self.max_output_tokens? {
            OutputMaximum::Tokens(tokens) => Some(tokens),
            OutputMaximum::Named => self.model.rest(name)?.parse().ok(),
        }
    }
}

/// The facts about the model called `name`, field by field from the first row that states it.
pub(super) fn facts<'a>(rows: impl Iterator<Item = &'a Model>, name: &str) -> ModelFacts {
    let (mut known, mut encoding, mut cap_field) = (ModelFacts::default(), None, None);
    let (mut visible, mut own_tools, mut bytes) = (None, None, None);
    for row in rows {
        known.context_window = known.context_window.or(row.context_window);
        known.max_output_tokens = known.max_output_tokens.or_else(|| row.output_maximum(name));
        known.image_tokens = known.image_tokens.or(row.image_tokens);
        encoding = encoding.or(row.encoding);
        cap_field = cap_field.or(row.cap_field);
        visible = visible.or(row.all_output_visible);
        bytes = bytes.or(row.bytes_per_token);
        own_tools = own_tools.or(row.runs_own_tools);
    }
    ModelFacts {
        encoding: encoding.unwrap_or_default(),
        cap_field: cap_field.unwrap_or_default(),
        all_output_visible: visible.unwrap_or(false),
        bytes_per_token: bytes.unwrap_or(1).max(1),
        runs_own_tools: own_tools.unwrap_or_else(|| is_more_than_a_model(name)),
        ..known
    }
}

/// Whether the name is one that OpenRouter takes for more than a model: `:online` behind any lets it search the web, and a preset, which
/// is stored there, may as well.
fn is_more_than_a_model(name: &str) -> bool {
    name.split(':').skip(1).any(|variant| variant.eq_ignore_ascii_case("online")) || name.contains("@preset/")
}
