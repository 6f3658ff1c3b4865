//! What a Gemini request spells out: contents, and what is embedded.
//!
//! The tokenizer is not published, so texts count as bytes. Search, code and URLs run at the provider; audio, video and documents are
//! not bounded by their bytes, and how many tokens an image can be depends on settings that are not all in the request. Only the
//! names that the reference gives are allowed, since a cap under another spelling could not be lowered.

use super::{
    Why,
    form::{Form, Rule},
};

/// Tokens that a request, a message and a part of it are framed by.
const PER_REQUEST: u64 = 32;
const PER_MESSAGE: u64 = 8;
const PER_PART: u64 = 8;
/// Tokens that the presence of any function adds, and each beyond its own JSON.
const PER_TOOLS: u64 = 512;
const PER_FUNCTIONS: u64 = 64;

pub(super) static CONTENT: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("contents", Rule::Form(&MESSAGE)),
        ("systemInstruction", Rule::Form(&MESSAGE)),
        ("tools", Rule::Tools(PER_TOOLS, &TOOL)),
        ("generationConfig", Rule::Form(&CONFIG)),
        ("toolConfig", Rule::Silent),
        ("safetySettings", Rule::Silent),
        ("labels", Rule::Silent),
        ("model", Rule::Silent),
        ("cachedContent", Rule::Not(Why::Reference)),
    ],
};

static MESSAGE: Form = Form { each: PER_MESSAGE, fields: &[("role", Rule::Silent), ("parts", Rule::Form(&PART))] };

static PART: Form = Form {
    each: PER_PART,
    fields: &[
        ("text", Rule::Text),
        ("thought", Rule::Silent),
        ("thoughtSignature", Rule::Text),
        ("functionCall", Rule::Value),
        ("function_call", Rule::Value),
        ("functionResponse", Rule::Form(&RESPONSE)),
        ("function_response", Rule::Form(&RESPONSE)),
        ("executableCode", Rule::Value),
        ("codeExecutionResult", Rule::Value),
        ("inlineData", Rule::Form(&INLINE)),
        ("inline_data", Rule::Form(&INLINE)),
        ("fileData", Rule::Not(Why::Reference)),
        ("file_data", Rule::Not(Why::Reference)),
        ("videoMetadata", Rule::Not(Why::Document)),
    ],
};

/// What a function gave back. Parts of it may be media.
static RESPONSE: Form = Form {
    each: PER_PART,
    fields: &[
        ("id", Rule::Text),
        ("name", Rule::Text),
        ("response", Rule::Value),
        ("parts", Rule::Form(&PART)),
        ("willContinue", Rule::Silent),
        ("scheduling", Rule::Silent),
    ],
};

const IMAGES: &[&str] = &["image/png", "image/jpeg", "image/webp"];

static INLINE: Form = Form {
    each: PER_PART,
    fields: &[
        ("mimeType", Rule::Word(IMAGES, Why::Document)),
        ("mime_type", Rule::Word(IMAGES, Why::Document)),
        ("data", Rule::Image("")),
        ("displayName", Rule::Text),
    ],
};

static TOOL: Form = Form {
    each: PER_FUNCTIONS,
    fields: &[
        ("functionDeclarations", Rule::Value),
        ("googleSearch", Rule::Not(Why::ServerTool)),
        ("googleSearchRetrieval", Rule::Not(Why::ServerTool)),
        ("codeExecution", Rule::Not(Why::ServerTool)),
        ("urlContext", Rule::Not(Why::ServerTool)),
    ],
};

static CONFIG: Form = Form {
    each: 0,
    fields: &[
        // Thoughts are part of it.
        ("maxOutputTokens", Rule::Cap),
        ("candidateCount", Rule::Answers),
        ("responseSchema", Rule::Value),
        ("responseJsonSchema", Rule::Value),
        ("responseMimeType", Rule::Silent),
        ("responseModalities", Rule::Words(&["TEXT"], Why::Audio)),
        ("speechConfig", Rule::Not(Why::Audio)),
        ("temperature", Rule::Silent),
        ("topP", Rule::Silent),
        ("topK", Rule::Silent),
        ("seed", Rule::Silent),
        ("stopSequences", Rule::Silent),
        ("presencePenalty", Rule::Silent),
        ("frequencyPenalty", Rule::Silent),
        ("responseLogprobs", Rule::Silent),
        ("logprobs", Rule::Silent),
        ("thinkingConfig", Rule::Silent),
        ("mediaResolution", Rule::Silent),
    ],
};

/// What is embedded, one by one or many at once.
pub(super) static EMBEDDINGS: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("content", Rule::Form(&MESSAGE)),
        ("requests", Rule::Form(&EMBEDDINGS)),
        ("instances", Rule::Form(&INSTANCE)),
        ("parameters", Rule::Silent),
        ("title", Rule::Text),
        ("model", Rule::Silent),
        ("taskType", Rule::Silent),
        ("outputDimensionality", Rule::Silent),
        ("embedContentConfig", Rule::Silent),
    ],
};

static INSTANCE: Form =
    Form { each: PER_MESSAGE, fields: &[("content", Rule::Text), ("title", Rule::Text), ("task_type", Rule::Silent)] };
