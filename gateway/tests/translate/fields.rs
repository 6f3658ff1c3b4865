//! Every member of a request that a client's dialect documents is carried, refused, or listed, for every provider: never dropped in silence.
//!
//! The tables are the references of `POST /v1/chat/completions`, `POST /v1/responses` (developers.openai.com/api/reference) and
//! `POST /v1/messages` (platform.claude.com/docs/en/api/messages), read in November 2026. A row is a member, where it stands in a request
//! that has it not, and a value that says something. With it a request either is refused, or becomes another body than without, or
//! has another line in what is listed as not carried. What may be dropped is a row of [`SAYS_NOTHING`], with the reason.

use std::collections::BTreeMap;

use gateway::translate::{Client, Flavor, Provider, Request, To};
use serde_json::{Value, json};

use crate::corpus::PROVIDERS;

/// A request without the member, by the name that rows have for it.
type Bases = BTreeMap<&'static str, Value>;
/// The request that a member is put into, where it stands there, and its value.
type Row = (&'static str, &'static str, Value);

/// Members that may be left away for these providers, or for all where none is named: the request says the same without them.
const SAYS_NOTHING: [(&str, &[Provider], &str); 14] = [
    ("text/stream", &IN_PATH, "the path says it"),
    ("tool/messages/2/name", &[], "the call with the same id says which tool it is"),
    ("schema/response_format/json_schema/strict", &STRICT, "a schema is always kept to"),
    ("schema/text/format/strict", &STRICT, "a schema is always kept to"),
    ("reasoning/messages/1/reasoning_details/0/signature", &[], "the reasoning that it proves is listed"),
    ("thought/input/1/encrypted_content", &[], "the reasoning is listed"),
    ("thought/input/1/summary", &[], "the reasoning is listed"),
    ("effort/reasoning/summary", &SHOWN, "reasoning is always shown"),
    ("reasoning/messages/1/reasoning_details/0/index", &[], "the order of the list says it"),
    ("turn/input/1/id", &[], "the name of an item that only its provider's store knows"),
    ("turn/input/1/status", &[], "what stands in a request is complete"),
    ("turn/input/1/content/0/logprobs", &[], "what was likely when the answer was made; no provider reads it"),
    ("text/include", &[], "reasoning that comes back proved has its proof with it, asked for or not"),
    ("file/messages/0/content/0/source/media_type", &[], "a text is plain text; there is no other type of one"),
];
/// Whose paths say whether an answer streams.
const IN_PATH: [Provider; 2] = [Provider::Gemini, Provider::BedrockConverse];
/// Who has no word for keeping to a schema, and always does.
const STRICT: [Provider; 4] =
    [Provider::AnthropicMessages, Provider::Gemini, Provider::BedrockConverse, Provider::CohereChat];
/// Who shows its reasoning, asked or not: the models that are tried here reason by a budget.
const SHOWN: [Provider; 3] = [Provider::AnthropicMessages, Provider::BedrockConverse, Provider::CohereChat];

fn chat() -> (Bases, Vec<Row>) {
    let said = |content: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let function = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } });
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let mut tools = said(json!("hi"));
    tools["tools"] = json!([function.clone(), { "type": "function", "function": { "name": "g" } }]);
    let tool = json!({ "model": "m", "tools": [function], "messages": [
        { "role": "user", "content": "hi" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": "21" }] },
    ] });
    let turn = json!({ "model": "m", "messages": [
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": "ho" }, { "role": "user", "content": "on" } ] });
    let mut reasoning = turn.clone();
    reasoning["messages"][1]["reasoning_details"] =
        json!([{ "type": "reasoning.text", "text": "hm", "format": "unknown" }]);
    let mut schema = said(json!("hi"));
    schema["response_format"] =
        json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": { "type": "object" } } });
    let (mut chosen, mut among) = (tools.clone(), tools.clone());
    chosen["tool_choice"] = json!({ "type": "function", "function": { "name": "f" } });
    among["tool_choice"] = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "f" } }] } });
    let mut streamed = said(json!("hi"));
    (streamed["stream"], streamed["stream_options"]) = (true.into(), json!({}));
    let bases = BTreeMap::from([
        ("text", said(json!("hi"))),
        ("part", said(json!([{ "type": "text", "text": "hi" }]))),
        ("image", said(json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }]))),
        ("file", said(json!([{ "type": "file", "file": { "file_data": "data:application/pdf;base64,AA==" } }]))),
        ("tools", tools),
        ("chosen", chosen),
        ("among", among),
        ("tool", tool),
        ("turn", turn),
        ("reasoning", reasoning),
        ("schema", schema),
        ("streamed", streamed),
    ]);
    let ephemeral = json!({ "type": "ephemeral" });
    let rows = vec![
        ("text", "audio", json!({ "voice": "alloy", "format": "mp3" })),
        ("text", "frequency_penalty", json!(0.5)),
        ("text", "function_call", json!("auto")),
        ("text", "functions", json!([{ "name": "f" }])),
        ("text", "logit_bias", json!({ "50256": -100 })),
        ("text", "logprobs", json!(true)),
        ("text", "max_completion_tokens", json!(9)),
        ("text", "max_tokens", json!(9)),
        ("text", "metadata", json!({ "a": "b" })),
        ("text", "modalities", json!(["text", "audio"])),
        ("text", "moderation", json!({ "model": "omni" })),
        ("text", "n", json!(2)),
        ("tools", "parallel_tool_calls", json!(false)),
        ("text", "prediction", json!({ "type": "content", "content": "hi" })),
        ("text", "presence_penalty", json!(0.5)),
        ("text", "prompt_cache_key", json!("k")),
        ("text", "prompt_cache_retention", json!("24h")),
        ("text", "reasoning_effort", json!("high")),
        ("text", "reasoning_effort", json!("none")),
        ("text", "response_format", json!({ "type": "json_object" })),
        ("schema", "response_format/json_schema/description", json!("d")),
        ("schema", "response_format/json_schema/strict", json!(true)),
        ("schema", "response_format/json_schema/later", json!(1)),
        ("text", "safety_identifier", json!("u")),
        ("text", "seed", json!(7)),
        ("text", "service_tier", json!("priority")),
        ("text", "stop", json!(["END"])),
        ("text", "store", json!(true)),
        ("text", "stream", json!(true)),
        ("streamed", "stream_options/include_obfuscation", json!(true)),
        ("text", "temperature", json!(0.5)),
        ("tools", "tool_choice", json!("required")),
        ("tools", "tool_choice", json!({ "type": "function", "function": { "name": "f" } })),
        (
            "tools",
            "tool_choice",
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "f" } }] } }),
        ),
        ("chosen", "tool_choice/later", json!(1)),
        ("chosen", "tool_choice/function/later", json!(1)),
        ("among", "tool_choice/allowed_tools/later", json!(1)),
        ("among", "tool_choice/allowed_tools/tools/0/later", json!(1)),
        ("text", "tools", json!([{ "type": "custom", "custom": { "name": "f" } }])),
        ("tools", "tools/0/function/description", json!("d")),
        ("tools", "tools/0/function/strict", json!(true)),
        ("tools", "tools/0/cache_control", ephemeral.clone()),
        ("text", "top_logprobs", json!(3)),
        ("text", "top_p", json!(0.5)),
        ("text", "user", json!("u")),
        ("text", "verbosity", json!("low")),
        ("text", "web_search_options", json!({ "search_context_size": "low" })),
        ("text", "enable_thinking", json!(false)),
        ("text", "messages/0/name", json!("alice")),
        ("turn", "messages/1/refusal", json!("no")),
        ("turn", "messages/1/audio", json!({ "id": "a" })),
        ("turn", "messages/1/annotations", json!([{ "type": "url_citation" }])),
        ("turn", "messages/1/function_call", json!({ "name": "f", "arguments": "{}" })),
        ("turn", "messages/1/reasoning_content", json!("hm")),
        ("reasoning", "messages/1/reasoning_details/0/signature", json!("s")),
        ("reasoning", "messages/1/reasoning_details/0/index", json!(0)),
        ("reasoning", "messages/1/reasoning_details/1", json!({ "type": "reasoning.summary", "summary": "so" })),
        ("reasoning", "messages/1/reasoning_details/1", json!({ "type": "reasoning.encrypted", "data": "x" })),
        ("tool", "messages/2/name", json!("f")),
        ("tool", "messages/2/cache_control", ephemeral.clone()),
        ("tool", "messages/2/content/0/cache_control", ephemeral.clone()),
        ("part", "messages/0/content/0/cache_control", ephemeral),
        ("part", "messages/0/content/0/later", json!(1)),
        ("part", "messages/0/content/1", json!({ "type": "refusal", "refusal": "no" })),
        (
            "part",
            "messages/0/content/1",
            json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } }),
        ),
        ("part", "messages/0/content/1", json!({ "type": "video_url", "video_url": { "url": "x" } })),
        ("image", "messages/0/content/0/image_url/detail", json!("low")),
        ("file", "messages/0/content/0/file/filename", json!("a b.pdf")),
        ("file", "messages/0/content/0/file/file_id", json!("file-1")),
        ("file", "messages/0/content/0/file/later", json!(1)),
    ];
    (bases, rows)
}

fn responses() -> (Bases, Vec<Row>) {
    let said = |content: Value| json!({ "model": "m", "input": [{ "role": "user", "content": content }] });
    let function = json!({ "type": "function", "name": "f", "parameters": { "type": "object" } });
    let mut tools = said(json!("hi"));
    tools["tools"] = json!([function, { "type": "function", "name": "g", "parameters": {} }]);
    let turn = json!({ "model": "m", "input": [
        { "role": "user", "content": "hi" },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "ho" }] },
        { "role": "user", "content": "on" },
    ] });
    let mut chosen = tools.clone();
    chosen["tool_choice"] = json!({ "type": "function", "name": "f" });
    let thought = json!({ "model": "m", "input": [
        { "role": "user", "content": "hi" }, { "type": "reasoning", "summary": [] }, { "role": "user", "content": "on" } ] });
    let mut summed = thought.clone();
    summed["input"][1]["summary"] = json!([{ "type": "summary_text", "text": "so" }]);
    let mut schema = said(json!("hi"));
    schema["text"] = json!({ "format": { "type": "json_schema", "name": "s", "schema": { "type": "object" } } });
    let mut effort = said(json!("hi"));
    effort["reasoning"] = json!({ "effort": "low" });
    let bases = BTreeMap::from([
        ("text", said(json!("hi"))),
        ("part", said(json!([{ "type": "input_text", "text": "hi" }]))),
        ("image", said(json!([{ "type": "input_image", "image_url": "data:image/png;base64,AA==" }]))),
        ("file", said(json!([{ "type": "input_file", "file_data": "data:application/pdf;base64,AA==" }]))),
        ("tools", tools),
        ("chosen", chosen),
        ("turn", turn),
        ("thought", thought),
        ("summed", summed),
        ("schema", schema),
        ("effort", effort),
    ]);
    let rows = vec![
        ("text", "background", json!(true)),
        ("text", "context_management", json!([{ "type": "compaction" }])),
        ("text", "conversation", json!("conv_1")),
        ("text", "include", json!(["reasoning.encrypted_content"])),
        ("text", "include", json!(["message.output_text.logprobs"])),
        ("text", "instructions", json!("Be brief.")),
        ("text", "max_output_tokens", json!(9)),
        ("text", "max_tool_calls", json!(3)),
        ("text", "metadata", json!({ "a": "b" })),
        ("tools", "parallel_tool_calls", json!(false)),
        ("text", "previous_response_id", json!("resp_1")),
        ("text", "prompt", json!({ "id": "p" })),
        ("text", "prompt_cache_key", json!("k")),
        ("text", "prompt_cache_options", json!({ "mode": "x" })),
        ("text", "prompt_cache_retention", json!("24h")),
        ("text", "reasoning", json!({ "effort": "high" })),
        ("effort", "reasoning/summary", json!("auto")),
        ("effort", "reasoning/later", json!("x")),
        ("text", "safety_identifier", json!("u")),
        ("text", "service_tier", json!("flex")),
        ("text", "store", json!(true)),
        ("text", "stream", json!(true)),
        ("text", "stream_options", json!({ "include_obfuscation": true })),
        ("text", "temperature", json!(0.5)),
        ("text", "text", json!({ "verbosity": "low" })),
        ("schema", "text/format/description", json!("d")),
        ("schema", "text/format/strict", json!(true)),
        ("tools", "tool_choice", json!("required")),
        ("tools", "tool_choice", json!({ "type": "function", "name": "f" })),
        ("tools", "tool_choice", json!({ "type": "file_search" })),
        ("chosen", "tool_choice/later", json!(1)),
        ("text", "tools", json!([{ "type": "web_search" }])),
        ("tools", "tools/0/description", json!("d")),
        ("tools", "tools/0/strict", json!(true)),
        ("tools", "tools/0/later", json!(true)),
        ("text", "top_logprobs", json!(3)),
        ("text", "top_p", json!(0.5)),
        ("text", "truncation", json!("auto")),
        ("text", "user", json!("u")),
        ("turn", "input/1/id", json!("msg_1")),
        ("turn", "input/1/status", json!("completed")),
        ("turn", "input/1/phase", json!("commentary")),
        ("turn", "input/1/content/0/annotations", json!([{ "type": "url_citation" }])),
        ("turn", "input/1/content/0/logprobs", json!([{ "token": "a" }])),
        ("turn", "input/3", json!({ "type": "item_reference", "id": "x" })),
        ("turn", "input/3", json!({ "type": "web_search_call", "id": "x" })),
        ("thought", "input/1/encrypted_content", json!("x")),
        ("thought", "input/1/summary", json!([{ "type": "summary_text", "text": "so" }])),
        ("summed", "input/1/summary/0/later", json!(1)),
        ("part", "input/0/content/0/prompt_cache_breakpoint", json!(true)),
        ("part", "input/0/content/1", json!({ "type": "input_audio", "input_audio": { "data": "x" } })),
        ("image", "input/0/content/0/detail", json!("low")),
        ("image", "input/0/content/0/file_id", json!("file-1")),
        ("file", "input/0/content/0/filename", json!("a b.pdf")),
        ("file", "input/0/content/0/file_url", json!("https://x/y.pdf")),
        ("file", "input/0/content/0/detail", json!("high")),
        ("file", "input/0/content/0/later", json!(1)),
    ];
    (bases, rows)
}

fn messages() -> (Bases, Vec<Row>) {
    let said = |content: Value| json!({ "model": "m", "max_tokens": 9000, "messages": [{ "role": "user", "content": content }] });
    let mut tools = said(json!("hi"));
    tools["tools"] =
        json!([{ "name": "f", "input_schema": { "type": "object" } }, { "name": "g", "input_schema": {} }]);
    let mut chosen = tools.clone();
    chosen["tool_choice"] = json!({ "type": "auto" });
    let tool = json!({ "model": "m", "max_tokens": 9, "tools": tools["tools"], "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "21" }] }] },
    ] });
    let text = json!([{ "type": "document", "source": { "type": "text", "data": "words" } }]);
    let mut thinking = said(json!("hi"));
    thinking["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 });
    let bases = BTreeMap::from([
        ("text", said(json!("hi"))),
        ("part", said(json!([{ "type": "text", "text": "hi" }]))),
        ("file", said(text)),
        (
            "pdf",
            said(
                json!([{ "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AA==" } }]),
            ),
        ),
        ("tools", tools),
        ("chosen", chosen),
        ("tool", tool),
        ("thinking", thinking),
    ]);
    let ephemeral = json!({ "type": "ephemeral" });
    let rows = vec![
        ("text", "cache_control", ephemeral.clone()),
        ("text", "container", json!("c")),
        ("text", "context_management", json!({ "edits": [] })),
        ("text", "inference_geo", json!("us")),
        ("text", "mcp_servers", json!([{ "type": "url", "url": "x", "name": "y" }])),
        ("text", "metadata", json!({ "user_id": "u" })),
        ("text", "metadata", json!({ "later": "u" })),
        ("text", "output_config", json!({ "effort": "high" })),
        ("text", "output_config", json!({ "format": { "type": "json_schema", "schema": { "type": "object" } } })),
        ("text", "output_config", json!({ "task_budget": { "total": 1 } })),
        ("text", "output_format", json!({ "type": "json_schema", "schema": { "type": "object" } })),
        ("text", "service_tier", json!("auto")),
        ("text", "speed", json!("fast")),
        ("text", "stop_sequences", json!(["END"])),
        ("text", "stream", json!(true)),
        ("text", "system", json!("Be brief.")),
        ("text", "system", json!([{ "type": "text", "text": "Be brief.", "cache_control": ephemeral }])),
        ("text", "temperature", json!(0.5)),
        ("text", "thinking", json!({ "type": "enabled", "budget_tokens": 2000 })),
        ("text", "thinking", json!({ "type": "disabled" })),
        ("text", "thinking", json!({ "type": "adaptive" })),
        ("thinking", "thinking/display", json!("omitted")),
        ("text", "tools", json!([{ "type": "web_search_20250305", "name": "web_search" }])),
        ("tools", "tool_choice", json!({ "type": "any" })),
        ("tools", "tool_choice", json!({ "type": "tool", "name": "f" })),
        ("tools", "tool_choice", json!({ "type": "none" })),
        ("chosen", "tool_choice/disable_parallel_tool_use", json!(true)),
        ("tools", "tools/0/description", json!("d")),
        ("tools", "tools/0/strict", json!(true)),
        ("tools", "tools/0/cache_control", ephemeral.clone()),
        ("tools", "tools/0/defer_loading", json!(true)),
        ("tools", "tools/0/eager_input_streaming", json!(true)),
        ("tools", "tools/0/input_examples", json!([{}])),
        ("tools", "tools/0/allowed_callers", json!(["code_execution_20250825"])),
        ("text", "top_k", json!(5)),
        ("text", "top_p", json!(0.5)),
        ("text", "messages/0/later", json!(1)),
        ("part", "messages/0/content/0/cache_control", json!({ "type": "ephemeral", "ttl": "1h" })),
        ("part", "messages/0/content/0/citations", json!([{ "type": "char_location" }])),
        (
            "part",
            "messages/0/content/1",
            json!({ "type": "search_result", "source": "x", "title": "t", "content": [] }),
        ),
        ("part", "messages/0/content/1", json!({ "type": "container_upload", "file_id": "f" })),
        ("file", "messages/0/content/0/title", json!("My words")),
        ("file", "messages/0/content/0/context", json!("from a book")),
        ("file", "messages/0/content/0/citations", json!({ "enabled": true })),
        ("file", "messages/0/content/0/source/media_type", json!("text/plain")),
        ("pdf", "messages/0/content/0/title", json!("My words")),
        ("pdf", "messages/0/content/0/cache_control", ephemeral.clone()),
        ("tool", "messages/1/content/0/caller", json!({ "type": "code_execution_20250825", "tool_id": "x" })),
        ("tool", "messages/1/content/0/cache_control", ephemeral.clone()),
        (
            "tool",
            "messages/1/content/1",
            json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} }),
        ),
        ("tool", "messages/2/content/0/is_error", json!(true)),
        ("tool", "messages/2/content/0/cache_control", ephemeral.clone()),
        ("tool", "messages/2/content/0/content/0/cache_control", ephemeral),
    ];
    (bases, rows)
}

/// A request with one member more.
fn with(base: &Value, path: &str, value: &Value) -> Value {
    let (mut body, mut steps) = (base.clone(), path.split('/').peekable());
    let mut place = &mut body;
    while let Some(step) = steps.next() {
        place = match place {
            Value::Array(items) => {
                let at: usize = step.parse().unwrap();
                if at == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(at).unwrap()
            }
            other => {
                assert!(
                    steps.peek().is_some() || other.get(step).is_none_or(|old| old == &json!([])),
                    "{path} is there"
                );
                &mut other[step]
            }
        };
    }
    *place = value.clone();
    body
}

/// What becomes of a request: a body and what is listed, or nothing where it is refused.
fn outcome(client: Client, body: &Value, place: usize) -> Option<(String, Vec<String>)> {
    let (provider, _, model) = PROVIDERS[place];
    let to = To { provider, model, max_output: Some(64_000), old_cap: false, flavor: Flavor::OpenAi, ask_usage: true };
    let written = Request::read(client, body.to_string().as_bytes()).and_then(|request| request.write(&to)).ok()?;
    Some((written.body, written.dropped))
}

fn check(client: Client, (bases, rows): (Bases, Vec<Row>), wrong: &mut Vec<String>) -> usize {
    let mut tried = 0;
    for (base, path, value) in rows {
        let plain = &bases[base];
        let (more, name) = (with(plain, path, &value), format!("{base}/{path}"));
        let is_spared = |provider: Provider| {
            let mut rows = SAYS_NOTHING.iter().filter(|(spared, ..)| *spared == name);
            rows.any(|(_, providers, _)| providers.is_empty() || providers.contains(&provider))
        };
        for (place, (provider, ..)) in PROVIDERS.into_iter().enumerate() {
            let Some(without) = outcome(client, plain, place) else { continue };
            tried += 1;
            let is_silent = outcome(client, &more, place).is_some_and(|with| with == without);
            if is_silent && !is_spared(provider) {
                wrong.push(format!("{client:?} {name} {value} says nothing to {provider:?}"));
            }
        }
    }
    tried
}

#[test]
fn no_member_of_a_request_is_dropped_in_silence() {
    let mut wrong = Vec::new();
    let tables =
        [(Client::OpenAiChat, chat()), (Client::OpenAiResponses, responses()), (Client::AnthropicMessages, messages())];
    let tried: usize = tables.into_iter().map(|(client, table)| check(client, table, &mut wrong)).sum();
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 700, "only {tried} were tried");
}
