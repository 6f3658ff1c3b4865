//! The calls of tools in a recorded answer, counted the plain way: by looking through all of its documents.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gateway::meter::Framing;
use schemas::{event::Api, tokens::Vector};
use serde_json::Value;

use super::{Exchange, frames, messages};

/// How many there are, in all that can be read.
pub(crate) fn count(exchange: &Exchange) -> u64 {
    let streams = exchange.is_stream() && exchange.framing != Framing::Whole;
    let read = |document: &[u8]| serde_json::from_slice(document).ok();
    let documents: Vec<Value> = match exchange.framing {
        Framing::Whole | Framing::List => read(&exchange.body).into_iter().collect(),
        Framing::Lines => exchange.body.split(|byte| *byte == b'\n').filter_map(read).collect(),
        Framing::Events => {
            let body = String::from_utf8_lossy(&exchange.body).replace("\r\n", "\n");
            frames(body.as_bytes()).into_iter().filter_map(data).collect()
        }
        Framing::Messages => messages(&exchange.body).into_iter().filter_map(payload).collect(),
    };
    documents.iter().map(|document| of(exchange.api, streams, document)).sum()
}

/// The searches that no usage object counts: the corpus derives them from the answer. Google bills older models by the answer, and a query
/// of nothing is none; an older form of xAI's searches does not say that they are any. What xAI counts itself is all that it bills, and what
/// OpenRouter ran beside the model stands in a usage object that the corpus does not look into.
pub(crate) fn searches(exchange: &Exchange) -> u64 {
    let raw = raw(exchange);
    if let Some(billed) = raw["server_side_tool_usage_details"]["web_search_calls"].as_u64() {
        return billed;
    }
    let beside = raw["server_tool_use_details"]["web_search_requests"].as_u64().unwrap_or(0);
    let derived = &exchange.meta["derived"];
    let queries = derived["grounding_queries"].as_u64().unwrap_or(0);
    let older = ["gemini-1", "gemini-2"].iter().any(|older| exchange.text("model_answered").contains(older));
    let body = String::from_utf8_lossy(&exchange.body);
    let queries = queries
        - u64::from(body.contains(r#""webSearchQueries": ["","#) || body.contains(r#""webSearchQueries":["","#));
    let searches = derived["tool_calls"]["web_search_call.search"].as_u64().unwrap_or(0);
    let searches = if body.contains("\"action\"") { searches } else { 0 };
    let looks = ["-search-preview", "-search-api"].iter().any(|kind| exchange.text("model_answered").contains(kind));
    beside + searches + u64::from(looks) + if older { queries.min(1) } else { queries }
}

/// What the corpus has in a class of something else, or in none: sound among what was cached, searches of X, and that Anthropic had a container
/// or ran code for something else than to look into the web.
pub(crate) fn in_classes_of_their_own(exchange: &Exchange, vector: Vector) -> Vector {
    let raw = raw(exchange);
    let cached = raw["cacheTokensDetails"].as_array().into_iter().flatten().filter(|part| part["modality"] == "AUDIO");
    let cache_read_audio = cached.filter_map(|part| part["tokenCount"].as_u64()).sum::<u64>();
    let of_x = raw["server_side_tool_usage_details"]["x_search_calls"].as_u64().unwrap_or(0);
    let body = String::from_utf8_lossy(&exchange.body);
    let contained = body.split("\"container\":").skip(1).any(|container| container.trim_start().starts_with('{'));
    let ran = contained || body.contains("execution_tool_result\"");
    let asked = |kind: &str| raw["server_tool_use"][kind].as_u64() > Some(0);
    let looked = asked("web_search_requests") || asked("web_fetch_requests");
    let is_code = exchange.api == Api::AnthropicMessages && ran && !looked;
    Vector {
        cache_read: vector.cache_read - cache_read_audio,
        cache_read_audio,
        search_units: vector.search_units + of_x,
        code_sessions: u64::from(is_code),
        ..vector
    }
}

/// The usage object that came last.
fn raw(exchange: &Exchange) -> Value {
    exchange.meta["raw_usage"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default()
}

fn of(api: Api, streams: bool, document: &Value) -> u64 {
    let is = |kind: &Value, end: &str| u64::from(kind.as_str().is_some_and(|kind| kind.ends_with(end)));
    let all =
        |list: &Value, count: &dyn Fn(&Value) -> u64| list.as_array().into_iter().flatten().map(count).sum::<u64>();
    let named = |call: &Value| u64::from(call["name"].as_str().is_some_and(|name| !name.is_empty()));
    let function = |call: &Value| named(&call["function"]) + named(&call["custom"]);
    let block = |block: &Value| is(&block["type"], "tool_use");
    let part = |part: &Value| {
        let run = ["executableCode", "toolCall"].map(|kind| u64::from(part[kind].is_object()));
        named(&part["functionCall"]) + run[0] + run[1]
    };
    match api {
        Api::OpenAiResponses | Api::OpenAiResponsesRetrieve | Api::OpenAiResponsesCompact if streams => {
            if document["type"] == "response.output_item.added" { is(&document["item"]["type"], "_call") } else { 0 }
        }
        Api::OpenAiResponses | Api::OpenAiResponsesRetrieve | Api::OpenAiResponsesCompact => {
            all(&document["output"], &|item| is(&item["type"], "_call"))
        }
        Api::AnthropicMessages => block(&document["content_block"]) + all(&document["content"], &block),
        Api::GeminiGenerateContent => match document.as_array() {
            Some(several) => several.iter().map(|one| of(api, streams, one)).sum(),
            None => all(&document["candidates"], &|candidate| all(&candidate["content"]["parts"], &part)),
        },
        Api::BedrockConverse => all(&document["output"]["message"]["content"], &|block| named(&block["toolUse"])),
        Api::BedrockConverseStream => named(&document["start"]["toolUse"]),
        Api::BedrockInvokeStream => {
            let document = document["bytes"].as_str().and_then(|bytes| STANDARD.decode(bytes).ok());
            let document = document.and_then(|document| serde_json::from_slice(&document).ok()).unwrap_or(Value::Null);
            of(Api::BedrockInvoke, streams, &document)
        }
        Api::BedrockInvoke => {
            of(Api::AnthropicMessages, streams, document)
                + of(Api::BedrockConverse, streams, document)
                + named(&document["contentBlockStart"]["start"]["toolUse"])
                + of(Api::OpenAiChat, streams, document)
        }
        Api::CohereChat | Api::CohereV1Chat => {
            function(&document["delta"]["message"]["tool_calls"])
                + all(&document["message"]["tool_calls"], &function)
                + all(&document["tool_calls"], &named)
        }
        Api::OllamaChat => all(&document["message"]["tool_calls"], &function),
        _ => all(&document["choices"], &|choice| {
            let said = if streams { &choice["delta"] } else { &choice["message"] };
            all(&said["tool_calls"], &function) + named(&said["function_call"])
        }),
    }
}

/// The document of an event.
fn data(frame: &[u8]) -> Option<Value> {
    let lines = frame.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let data: Vec<&[u8]> = lines.filter_map(|line| line.strip_prefix(b"data:")).collect();
    serde_json::from_slice(&data.concat()).ok()
}

/// The document of a message, which stands behind its headers and before its checksum.
fn payload(message: &[u8]) -> Option<Value> {
    let headers = u32::from_be_bytes(*message.get(4..)?.first_chunk()?) as usize;
    serde_json::from_slice(message.get(12 + headers..message.len().checked_sub(4)?)?).ok()
}
