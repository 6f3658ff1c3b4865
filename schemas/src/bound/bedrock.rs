//! What a Bedrock request spells out: Converse, in Bedrock's own form.
//!
//! Models of many makers answer, so the constants are those of the one that adds most: Anthropic's prompt for tools. What goes to
//! the model beside the form (`additionalModelRequestFields`) may do anything but what is known of it. A guardrail is charged apart.

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
/// Tokens of the prompt that thinking adds.
const PER_THINKING: u64 = 128;

pub(super) static CONVERSE: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("messages", Rule::Form(&MESSAGE)),
        ("system", Rule::Form(&BLOCK)),
        ("inferenceConfig", Rule::Form(&CONFIG)),
        ("toolConfig", Rule::Form(&TOOLS)),
        ("outputConfig", Rule::Form(&OUTPUT)),
        ("guardrailConfig", Rule::Guardrail),
        ("requestMetadata", Rule::Silent),
        ("performanceConfig", Rule::Form(&PERFORMANCE)),
        ("serviceTier", Rule::Form(&SERVICE)),
        ("additionalModelResponseFieldPaths", Rule::Silent),
        ("promptVariables", Rule::Not(Why::Reference)),
        ("additionalModelRequestFields", Rule::Form(&MORE)),
    ],
};

/// How fast it is served, and how early: each has prices of its own.
static PERFORMANCE: Form = Form { each: 0, fields: &[("latency", Rule::Tier)] };
static SERVICE: Form = Form { each: 0, fields: &[("type", Rule::Tier)] };

/// The schema of the answer.
static OUTPUT: Form = Form { each: PER_FORMAT, fields: &[("textFormat", Rule::Value)] };

/// What goes to a model beside the form: what Claude, Nova and OpenAI's models are told of thinking, which is part of `maxTokens`, and a
/// setting of the sampler. Anything else there may do anything.
static MORE: Form = Form {
    each: 0,
    fields: &[
        ("thinking", Rule::Form(&THINKING)),
        ("output_config", Rule::Form(&EFFORT)),
        ("reasoningConfig", Rule::Form(&NOVA_THINKING)),
        ("reasoning_effort", Rule::Silent),
        ("top_k", Rule::Silent),
        ("anthropic_beta", Rule::Betas),
    ],
};

static THINKING: Form = Form {
    each: PER_THINKING,
    fields: &[
        ("type", Rule::Word(&["enabled", "adaptive", "disabled"], Why::UnknownShape)),
        ("budget_tokens", Rule::Silent),
        ("display", Rule::Silent),
    ],
};

static EFFORT: Form = Form { each: PER_THINKING, fields: &[("effort", Rule::Silent)] };

static NOVA_THINKING: Form = Form {
    each: PER_THINKING,
    fields: &[("type", Rule::Word(&["enabled", "disabled"], Why::UnknownShape)), ("maxReasoningEffort", Rule::Silent)],
};

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
