//! What a request to Bedrock's InvokeModel spells out, which is of the form of the model's maker.
//!
//! Which that is, the model's name says; a profile or an imported model may have any, so of these only Anthropic's form is known, which says
//! that it is. Some makers have a member that caps the output and is not `max_tokens`: none is written into their requests, so where
//! they state none it is the model's whole maximum that is held.

use super::{
    BoundError, Why, anthropic,
    bedrock::{BLOCK, MESSAGE, TOOLS},
    cohere,
    cost::Reach,
    form::{self, Form, Rule},
    json::Path,
    openai,
    tally::{Makes, Tally},
};
use crate::json::Value;

/// A maker's form.
enum Maker {
    Anthropic,
    /// Messages and caps as OpenAI has them.
    Chat,
    /// Its own, with a cap that is `max_tokens`, or another one, or with no output.
    Own(&'static Form, Makes),
}

/// The makers by what stands in the names of their models.
const MAKERS: [(&str, Maker); 10] = [
    ("anthropic.", Maker::Anthropic),
    ("amazon.nova", Maker::Own(&NOVA, Makes::Uncapped)),
    ("amazon.titan-text", Maker::Own(&TITAN, Makes::Uncapped)),
    ("amazon.titan-embed-text", Maker::Own(&TITAN_VECTORS, Makes::Nothing)),
    ("meta.llama", Maker::Own(&LLAMA, Makes::Uncapped)),
    ("cohere.embed", Maker::Own(&cohere::UNITS, Makes::Nothing)),
    ("deepseek.r1", Maker::Own(&PROMPT, Makes::Capped)),
    ("ai21.jamba", Maker::Chat),
    ("openai.gpt-oss", Maker::Chat),
    ("qwen.", Maker::Chat),
];

/// Counts a request to a model.
pub(super) fn request(body: Value<'_>, model: &str, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let has = |wanted: &str| body.members().is_some_and(|mut members| members.any(|(name, _)| name == *wanted));
    let maker = MAKERS.iter().find(|(part, _)| model.contains(part)).map(|(_, maker)| maker);
    match maker {
        _ if has("anthropic_version") => return anthropic::messages(body, tally),
        Some(Maker::Chat) => return openai::chat(body, tally),
        Some(Maker::Own(form, makes)) => {
            form::request(body, form, tally)?;
            tally.makes = *makes;
        }
        // Mistral's older models go on with a prompt.
        None if model.contains("mistral.") && has("prompt") => form::request(body, &PROMPT, tally)?,
        None if model.contains("mistral.") => return openai::chat(body, tally),
        Some(Maker::Anthropic) | None => tally.unbounded(&Path::Body, Why::UnknownShape),
    }
    Ok(Reach { writes: tally.writes, ..Reach::default() })
}

/// Tokens that a prompt is framed by.
const PER_PROMPT: u64 = 64;

static PROMPT: Form = Form {
    each: PER_PROMPT,
    fields: &[
        ("prompt", Rule::Text),
        ("max_tokens", Rule::Cap),
        ("stop", Rule::Silent),
        ("temperature", Rule::Silent),
        ("top_p", Rule::Silent),
        ("top_k", Rule::Silent),
    ],
};

static LLAMA: Form = Form {
    each: PER_PROMPT,
    fields: &[
        ("prompt", Rule::Text),
        ("max_gen_len", Rule::Cap),
        ("temperature", Rule::Silent),
        ("top_p", Rule::Silent),
        ("images", Rule::Pictures),
    ],
};

static TITAN: Form = Form {
    each: PER_PROMPT,
    fields: &[("inputText", Rule::Text), ("textGenerationConfig", Rule::Form(&TITAN_CONFIG))],
};

static TITAN_CONFIG: Form = Form {
    each: 0,
    fields: &[
        ("maxTokenCount", Rule::Cap),
        ("temperature", Rule::Silent),
        ("topP", Rule::Silent),
        ("stopSequences", Rule::Silent),
    ],
};

static TITAN_VECTORS: Form = Form {
    each: PER_PROMPT,
    fields: &[
        ("inputText", Rule::Text),
        ("dimensions", Rule::Silent),
        ("normalize", Rule::Silent),
        ("embeddingTypes", Rule::Silent),
    ],
};

static NOVA: Form = Form {
    each: PER_PROMPT,
    fields: &[
        ("schemaVersion", Rule::Silent),
        ("messages", Rule::Form(&MESSAGE)),
        ("system", Rule::Form(&BLOCK)),
        ("inferenceConfig", Rule::Form(&NOVA_CONFIG)),
        ("toolConfig", Rule::Form(&TOOLS)),
    ],
};

static NOVA_CONFIG: Form = Form {
    each: 0,
    fields: &[
        ("maxTokens", Rule::Cap),
        ("max_new_tokens", Rule::Cap),
        ("temperature", Rule::Silent),
        ("topP", Rule::Silent),
        ("top_p", Rule::Silent),
        ("topK", Rule::Silent),
        ("top_k", Rule::Silent),
        ("stopSequences", Rule::Silent),
    ],
};
