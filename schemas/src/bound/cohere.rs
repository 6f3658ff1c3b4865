//! What a Cohere request spells out: chat, what is embedded, and what is put in order.
//!
//! What is billed of it is less than what it has, so its bytes bound it well. Rankings are billed by searches and not by tokens.

use super::{
    BoundError, Why,
    form::{self, Form, Rule},
    json::{self, Path},
    tally::Tally,
    text::most_seen,
};
use crate::json::Value;

/// Tokens that a request, a message and a part of it are framed by.
const PER_REQUEST: u64 = 64;
const PER_MESSAGE: u64 = 8;
const PER_PART: u64 = 8;
/// Tokens that the presence of any tool adds, and each beyond its own JSON.
const PER_TOOLS: u64 = 2_048;
const PER_TOOL: u64 = 64;

/// The documents that one search ranks, and the tokens of one and the query together: a longer one counts as several.
const PER_SEARCH: u64 = 100;
const PER_CHUNK: u64 = 500;

/// Counts a ranking; gives the searches that it is billed by.
pub(super) fn rerank(body: Value<'_>, tally: &mut Tally<'_>) -> Result<u64, BoundError> {
    form::request(body, &UNITS, tally)?;
    let fields = json::members(body, &Path::Body)?.ok_or(BoundError::NotAnObject)?;
    let most = |value: Value<'_>| {
        let mut written = String::with_capacity(value.span().len());
        json::write(value, &mut written);
        most_seen(&written)
    };
    let query = fields.get("query").map_or(0, most);
    let room = PER_CHUNK.saturating_sub(query.saturating_add(PER_MESSAGE)).max(1);
    let path = Path::Field(&Path::Body, "documents");
    let documents = fields.get("documents").map(|documents| tally.items(documents, &path)).into_iter().flatten();
    let chunks = documents.map(|document| most(document).div_ceil(room)).fold(0, u64::saturating_add);
    Ok(chunks.div_ceil(PER_SEARCH).max(1))
}

pub(super) static CHAT: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("messages", Rule::Form(&MESSAGE)),
        ("tools", Rule::Tools(PER_TOOLS, &TOOL)),
        ("documents", Rule::Value),
        ("max_tokens", Rule::Cap),
        ("response_format", Rule::Value),
        ("model", Rule::Silent),
        ("stream", Rule::Silent),
        ("temperature", Rule::Silent),
        ("p", Rule::Silent),
        ("k", Rule::Silent),
        ("seed", Rule::Silent),
        ("stop_sequences", Rule::Silent),
        ("frequency_penalty", Rule::Silent),
        ("presence_penalty", Rule::Silent),
        ("logprobs", Rule::Silent),
        ("safety_mode", Rule::Silent),
        ("citation_options", Rule::Silent),
        ("tool_choice", Rule::Silent),
        ("strict_tools", Rule::Silent),
        ("thinking", Rule::Silent),
    ],
};

static MESSAGE: Form = Form {
    each: PER_MESSAGE,
    fields: &[
        ("role", Rule::Silent),
        ("content", Rule::TextOr(&PART)),
        ("tool_calls", Rule::Value),
        ("tool_call_id", Rule::Text),
        ("tool_plan", Rule::Text),
        ("citations", Rule::Value),
    ],
};

static PART: Form = Form {
    each: PER_PART,
    fields: &[
        ("type", Rule::Silent),
        ("text", Rule::Text),
        ("thinking", Rule::Text),
        ("document", Rule::Value),
        ("image_url", Rule::Form(&IMAGE)),
    ],
};

static IMAGE: Form = Form { each: 0, fields: &[("url", Rule::Image("data:image/")), ("detail", Rule::Silent)] };

static TOOL: Form = Form { each: PER_TOOL, fields: &[("type", Rule::Silent), ("function", Rule::Value)] };

/// Vectors and rankings.
pub(super) static UNITS: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("texts", Rule::Texts),
        ("inputs", Rule::Form(&INPUT)),
        ("images", Rule::Not(Why::ImageMaximumUnknown)),
        ("query", Rule::Text),
        ("documents", Rule::Value),
        ("model", Rule::Silent),
        ("input_type", Rule::Silent),
        ("embedding_types", Rule::Silent),
        ("output_dimension", Rule::Silent),
        ("truncate", Rule::Silent),
        ("max_tokens", Rule::Silent),
        ("top_n", Rule::Silent),
        ("max_tokens_per_doc", Rule::Silent),
        ("max_chunks_per_doc", Rule::Silent),
        ("return_documents", Rule::Silent),
        ("rank_fields", Rule::Silent),
        ("priority", Rule::Silent),
    ],
};

static INPUT: Form = Form { each: PER_MESSAGE, fields: &[("content", Rule::TextOr(&PART))] };
