//! What a Bedrock request spells out: Converse, in Bedrock's own form.
//!
//! Models of many makers answer, so the constants are those of the one that adds most: Anthropic's prompt for tools. What goes to
//! the model beside the form (`additionalModelRequestFields`) may do anything. Guardrails are charged by units and not by tokens.

use super::{
    Why,
    form::{Form, Rule},
};

/// Tokens that a request, a message and a block of it are framed by.
const PER_REQUEST: u64 = 64;
const PER_MESSAGE: u64 = 8;
const PER_BLOCK: u64 = 16;
/// Tokens of the prompt that the presence of any tool adds, and each beyond its own JSON.
const PER_TOOLS: u64 = 2_048;
const PER_TOOL: u64 = 64;
/// Tokens of the prompt that a schema of the answer adds beyond its own JSON.
const PER_FORMAT: u64 = 512;

pub(super) static CONVERSE: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("messages", Rule::Form(&MESSAGE)),
        ("system", Rule::Form(&BLOCK)),
        ("inferenceConfig", Rule::Form(&CONFIG)),
        ("toolConfig", Rule::Form(&TOOLS)),
        ("outputConfig", Rule::Form(&OUTPUT)),
        ("guardrailConfig", Rule::Silent),
        ("requestMetadata", Rule::Silent),
        ("performanceConfig", Rule::Silent),
        ("additionalModelResponseFieldPaths", Rule::Silent),
        ("promptVariables", Rule::Not(Why::Reference)),
        ("additionalModelRequestFields", Rule::Form(&NOTHING)),
    ],
};

/// The schema of the answer.
static OUTPUT: Form = Form { each: PER_FORMAT, fields: &[("textFormat", Rule::Value)] };

static NOTHING: Form = Form { each: 0, fields: &[] };

static CONFIG: Form = Form {
    each: 0,
    fields: &[
        ("maxTokens", Rule::Cap),
        ("temperature", Rule::Silent),
        ("topP", Rule::Silent),
        ("stopSequences", Rule::Silent),
    ],
};

pub(super) static MESSAGE: Form =
    Form { each: PER_MESSAGE, fields: &[("role", Rule::Silent), ("content", Rule::Form(&BLOCK))] };

pub(super) static BLOCK: Form = Form {
    each: PER_BLOCK,
    fields: &[
        ("text", Rule::Text),
        ("json", Rule::Value),
        ("toolUse", Rule::Value),
        ("toolResult", Rule::Form(&RESULT)),
        ("guardContent", Rule::Form(&GUARDED)),
        ("reasoningContent", Rule::Value),
        ("cachePoint", Rule::Writes),
        ("image", Rule::Form(&IMAGE)),
        ("document", Rule::Not(Why::Document)),
        ("video", Rule::Not(Why::Document)),
        ("audio", Rule::Not(Why::Audio)),
    ],
};

static RESULT: Form = Form {
    each: PER_BLOCK,
    fields: &[
        ("toolUseId", Rule::Text),
        ("content", Rule::Form(&BLOCK)),
        ("status", Rule::Silent),
        ("type", Rule::Silent),
    ],
};

static GUARDED: Form = Form { each: 0, fields: &[("text", Rule::Form(&GUARDED_TEXT)), ("image", Rule::Form(&IMAGE))] };

static GUARDED_TEXT: Form = Form { each: 0, fields: &[("text", Rule::Text), ("qualifiers", Rule::Silent)] };

static IMAGE: Form = Form { each: PER_BLOCK, fields: &[("format", Rule::Silent), ("source", Rule::Form(&SOURCE))] };

static SOURCE: Form =
    Form { each: 0, fields: &[("bytes", Rule::Image("")), ("s3Location", Rule::Not(Why::Reference))] };

pub(super) static TOOLS: Form =
    Form { each: 0, fields: &[("tools", Rule::Tools(PER_TOOLS, &TOOL)), ("toolChoice", Rule::Silent)] };

static TOOL: Form = Form {
    each: PER_TOOL,
    fields: &[("toolSpec", Rule::Value), ("cachePoint", Rule::Writes), ("systemTool", Rule::Not(Why::ServerTool))],
};
