//! What a request to OpenAI's responses spells out.
//!
//! What the provider stores (earlier responses, conversations, prompts, files) is not in it, and reasoning that is sent back
//! encrypted does not show its length. Tools of the provider run there; those of the client are functions and custom tools.

use super::{
    BoundError, Why,
    cost::Reach,
    form::{self, Form, Rule},
    json::{self, Path},
    openai,
    tally::Tally,
};
use crate::json::Value;

/// Tokens that a request, an item of its input and a part of that are framed by. A recording of o3-mini shows 65 more than its texts have;
/// there is room.
const PER_REQUEST: u64 = 128;
const PER_ITEM: u64 = 12;
const PER_PART: u64 = 8;
/// Tokens that the presence of any tool adds, and each beyond its own JSON.
const PER_TOOLS: u64 = 256;
const PER_TOOL: u64 = 32;
/// Tokens that a schema of the answer is framed by beyond its own JSON.
const PER_FORMAT: u64 = 64;

/// Counts a request, and says which tiers it can be charged at.
pub(super) fn response(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let fields = json::members(body, &Path::Body)?.ok_or(BoundError::NotAnObject)?;
    form::request(body, &RESPONSE, tally)?;
    Ok(openai::reach(fields.get("service_tier").and_then(Value::word).as_deref()))
}

static RESPONSE: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("input", Rule::TextOr(&ITEM)),
        ("instructions", Rule::Text),
        ("max_output_tokens", Rule::Cap),
        ("tools", Rule::Tools(PER_TOOLS, &TOOL)),
        ("text", Rule::Form(&TEXT)),
        ("previous_response_id", Rule::Not(Why::Reference)),
        ("conversation", Rule::Not(Why::Reference)),
        // A stored prompt may bring tools.
        ("prompt", Rule::Not(Why::ServerTool)),
        ("model", Rule::Silent),
        ("stream", Rule::Silent),
        ("stream_options", Rule::Silent),
        ("background", Rule::Silent),
        ("store", Rule::Silent),
        ("metadata", Rule::Silent),
        ("user", Rule::Silent),
        ("safety_identifier", Rule::Silent),
        ("prompt_cache_key", Rule::Silent),
        ("prompt_cache_retention", Rule::Silent),
        ("temperature", Rule::Silent),
        ("top_p", Rule::Silent),
        ("top_logprobs", Rule::Silent),
        ("truncation", Rule::Silent),
        ("reasoning", Rule::Form(&REASONING)),
        ("include", Rule::Silent),
        ("parallel_tool_calls", Rule::Silent),
        ("max_tool_calls", Rule::Silent),
        ("tool_choice", Rule::Silent),
        ("service_tier", Rule::Silent),
    ],
};

static REASONING: Form = Form {
    each: 0,
    fields: &[
        ("effort", Rule::Silent),
        ("summary", Rule::Silent),
        ("generate_summary", Rule::Silent),
        ("context", Rule::Silent),
        // In any other the model is asked several times.
        ("mode", Rule::Word(&["standard"], Why::ModelRunsTools)),
    ],
};

const ITEMS: &[&str] =
    &["message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"];

static ITEM: Form = Form {
    each: PER_ITEM,
    fields: &[
        ("type", Rule::Word(ITEMS, Why::UnknownShape)),
        ("role", Rule::Silent),
        ("status", Rule::Silent),
        ("phase", Rule::Silent),
        ("id", Rule::Text),
        ("call_id", Rule::Text),
        ("name", Rule::Text),
        ("arguments", Rule::Text),
        ("input", Rule::Text),
        ("content", Rule::TextOr(&PART)),
        ("output", Rule::TextOr(&PART)),
        ("summary", Rule::Form(&PART)),
        ("encrypted_content", Rule::Not(Why::Reference)),
    ],
};

const PARTS: &[&str] =
    &["input_text", "output_text", "refusal", "summary_text", "reasoning_text", "text", "input_image"];

static PART: Form = Form {
    each: PER_PART,
    fields: &[
        ("type", Rule::Word(PARTS, Why::Document)),
        ("text", Rule::Text),
        ("refusal", Rule::Text),
        ("annotations", Rule::Value),
        ("logprobs", Rule::Silent),
        ("image_url", Rule::Image("data:image/")),
        ("detail", Rule::Silent),
        ("file_id", Rule::Not(Why::Reference)),
        ("file_url", Rule::Not(Why::Reference)),
        ("file_data", Rule::Not(Why::Document)),
        ("filename", Rule::Text),
    ],
};

static TOOL: Form = Form {
    each: PER_TOOL,
    fields: &[
        ("type", Rule::Word(&["function", "custom"], Why::ServerTool)),
        ("name", Rule::Text),
        ("description", Rule::Text),
        ("parameters", Rule::Value),
        ("format", Rule::Value),
        ("strict", Rule::Silent),
    ],
};

static TEXT: Form = Form { each: 0, fields: &[("format", Rule::Form(&FORMAT)), ("verbosity", Rule::Silent)] };

static FORMAT: Form = Form {
    each: PER_FORMAT,
    fields: &[
        ("type", Rule::Word(&["text", "json_object", "json_schema"], Why::UnknownShape)),
        ("name", Rule::Text),
        ("description", Rule::Text),
        ("schema", Rule::Value),
        ("strict", Rule::Silent),
    ],
};
