//! What an Anthropic messages request spells out.
//!
//! The constants cover what the recordings show beyond the bytes of the texts: framing, the prompt that comes with any tool, and
//! that of a schema or of thinking. Anthropic's tokenizer is not published, so texts count as bytes.

use super::{
    BoundError, Why,
    cost::Reach,
    json::{self, Path},
    tally::{Tally, count},
    window,
};
use crate::{json::Value, price::joined};

/// Tokens that a request is framed by. Recordings of plain text show at most 13 for this, one message and its block together.
const PER_REQUEST: u64 = 32;
/// Tokens that a message is framed by.
const PER_MESSAGE: u64 = 8;
/// Tokens that a block of a message, or of the system prompt, is framed by.
const PER_BLOCK: u64 = 8;
/// Tokens that a document is framed by.
const PER_DOCUMENT: u64 = 64;
/// Tokens of the prompt that the presence of any tool adds: 159 to 804 by model are published, and recordings agree.
const PER_TOOLS: u64 = 2_048;
/// Tokens that a tool is framed by beyond its own JSON.
const PER_TOOL: u64 = 64;
/// Tokens of the prompt that a schema of the answer adds beyond its own JSON.
const PER_FORMAT: u64 = 512;
/// Tokens of the prompt that thinking adds.
const PER_THINKING: u64 = 128;

/// Tools of Anthropic's own that the client runs: they bring a prompt of hundreds of tokens that differs by model and version.
const CLIENT_TOOLS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

/// The tier of a place that a workspace may be set to, for requests which name none, alone and with the fast mode.
const PLACES: [[&str; 1]; 2] = [["us"], ["fast+us"]];

/// Counts a messages request.
pub(super) fn messages(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let root = Path::Body;
    let fields = json::members(body, &root)?.ok_or(BoundError::NotAnObject)?;
    tally.add(PER_REQUEST);
    let (mut speed, mut place) = ("", None);
    for (name, value) in fields.clone() {
        let path = Path::Field(&root, &name);
        match &*name {
            "messages" => {
                for (place, message) in tally.items(value, &path).enumerate() {
                    self::message(message, &Path::Item(&path, place), tally)?;
                }
            }
            "system" => content(value, &path, tally)?,
            "max_tokens" => tally.state(count(value, &path)?),
            "tools" => tools(value, &path, tally)?,
            "thinking" => thinking(value, &path, tally)?,
            "output_config" => output_config(value, &path, tally)?,
            "output_format" => format(value, &path, tally)?,
            "cache_control" => cache_control(value, &path, tally)?,
            "service_tier" => match value.word().as_deref() {
                Some("auto" | "standard_only") => {}
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "speed" => match value.word().as_deref() {
                Some("standard") => {}
                Some("fast") => speed = "fast",
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "inference_geo" => match value.word().as_deref() {
                Some("global") => place = Some(""),
                Some("us") => place = Some("us"),
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            // The version stands there at Bedrock, where the model does not.
            "model" | "anthropic_version" | "stream" | "metadata" | "stop_sequences" | "temperature" | "top_p"
            | "top_k" | "tool_choice" => {}
            // At Bedrock and Vertex they stand there, and no header says them.
            "anthropic_beta" => {
                for beta in tally.items(value, &path) {
                    tally.window = tally.window.max(beta.word().and_then(|beta| window(&beta)));
                }
            }
            "mcp_servers" => tally.unbounded(&path, Why::ServerTool),
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    // A tier as answers state it has both in it.
    tally.tier = joined(&tally.tier, &joined(speed, place.unwrap_or_default()));
    let [plain, fast] = &PLACES;
    let tiers: &[&str] = match place {
        Some(_) => &[],
        None if speed.is_empty() => plain,
        None => fast,
    };
    Ok(Reach { writes: tally.writes, tiers, ..Reach::default() })
}

fn message(message: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_MESSAGE);
    for (name, value) in tally.members(message, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            "role" => match value.word().as_deref() {
                Some("user" | "assistant" | "system") => {}
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "content" => content(value, &path, tally)?,
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// A text, or a list of blocks.
fn content(content: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    if let Some(text) = content.text() {
        tally.text(text);
        return Ok(());
    }
    for (place, item) in tally.items(content, path).enumerate() {
        block(item, &Path::Item(path, place), tally)?;
    }
    Ok(())
}

fn block(block: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_BLOCK);
    let fields = tally.members(block, path)?;
    let kind = fields.get("type").and_then(Value::word).unwrap_or_default();
    let kind = &*kind;
    if kind == "document" {
        tally.add(PER_DOCUMENT);
    }
    for (name, value) in fields.clone() {
        let path = Path::Field(path, &name);
        match (kind, &*name) {
            (_, "type") => {}
            (_, "cache_control") => cache_control(value, &path, tally)?,
            ("text", "text")
            | ("thinking", "thinking" | "signature")
            | ("redacted_thinking", "data")
            | ("tool_use", "id" | "name")
            | ("tool_result", "tool_use_id")
            | ("document", "title" | "context") => tally.text_at(value, &path),
            ("text", "citations") | ("tool_use", "input") => tally.value(value),
            ("tool_use", "caller") => only_direct(value, &path, tally)?,
            ("tool_result", "is_error") => {}
            ("tool_result", "content") => content(value, &path, tally)?,
            ("image" | "document", "source") => source(value, &path, tally)?,
            (known, _) => {
                let known = matches!(known, "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result");
                let known = known || matches!(kind, "image" | "document");
                tally.unbounded(&path, if known { Why::UnknownField } else { Why::UnknownShape });
            }
        }
    }
    if kind.is_empty() {
        tally.unbounded(path, Why::UnknownShape);
    }
    Ok(())
}

/// A tool that the model calls itself. One that code at the provider calls runs there.
fn only_direct(caller: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    let fields = tally.members(caller, path)?;
    if fields.get("type").and_then(Value::text).is_none_or(|kind| kind != *"direct") {
        tally.unbounded(path, Why::ServerTool);
    }
    Ok(())
}

/// Where the bytes of an image or a document come from.
fn source(source: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    let fields = tally.members(source, path)?;
    let word = |name| fields.get(name).and_then(Value::word).unwrap_or_default();
    let (kind, media) = (word("type"), word("media_type"));
    match &*kind {
        "base64" if media.starts_with("image/") => tally.image(path),
        "base64" => tally.unbounded(path, Why::Document),
        "text" => {
            if let Some(data) = fields.get("data") {
                tally.text_at(data, &Path::Field(path, "data"));
            }
        }
        "content" => {
            if let Some(inner) = fields.get("content") {
                content(inner, &Path::Field(path, "content"), tally)?;
            }
        }
        "url" | "file" => tally.unbounded(path, Why::Reference),
        _ => tally.unbounded(path, Why::UnknownShape),
    }
    Ok(())
}

/// What a request asks to be written to the cache, which costs more than plain input.
fn cache_control(control: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    for (name, value) in tally.members(control, path)? {
        let path = Path::Field(path, &name);
        match (&*name, value.word().as_deref()) {
            ("type", Some("ephemeral")) => tally.writes.0 = true,
            ("ttl", Some("5m")) => {}
            ("ttl", Some("1h")) => tally.writes.1 = true,
            _ => tally.unbounded(&path, Why::UnknownShape),
        }
    }
    Ok(())
}

fn tools(list: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    let mut tools = tally.items(list, path).enumerate().peekable();
    if tools.peek().is_some() {
        tally.add(PER_TOOLS);
    }
    for (place, tool) in tools {
        let path = Path::Item(path, place);
        tally.add(PER_TOOL);
        tally.value(tool);
        for (name, value) in tally.members(tool, &path)? {
            let path = Path::Field(&path, &name);
            match &*name {
                "type" => match value.word().as_deref() {
                    Some("custom") => {}
                    Some(kind) if CLIENT_TOOLS.iter().any(|known| kind.starts_with(known)) => {
                        tally.unbounded(&path, Why::HiddenToolPrompt);
                    }
                    _ => tally.unbounded(&path, Why::ServerTool),
                },
                "cache_control" => cache_control(value, &path, tally)?,
                "allowed_callers" => {
                    for caller in tally.items(value, &path) {
                        if caller.text().is_none_or(|caller| caller != *"direct") {
                            tally.unbounded(&path, Why::ServerTool);
                        }
                    }
                }
                "name" | "description" | "input_schema" | "strict" | "defer_loading" | "input_examples" => {}
                "eager_input_streaming" => {}
                _ => tally.unbounded(&path, Why::UnknownField),
            }
        }
    }
    Ok(())
}

fn thinking(thinking: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_THINKING);
    for (name, value) in tally.members(thinking, path)? {
        let path = Path::Field(path, &name);
        match (&*name, value.word().as_deref()) {
            ("type", Some("enabled" | "adaptive" | "disabled")) => {}
            // A budget is part of `max_tokens`.
            ("budget_tokens" | "display", _) => {}
            _ => tally.unbounded(&path, Why::UnknownShape),
        }
    }
    Ok(())
}

fn output_config(config: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    for (name, value) in tally.members(config, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            // The budget is told to the model in the prompt.
            "effort" | "task_budget" => tally.add(PER_THINKING),
            "format" => format(value, &path, tally)?,
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// The schema of the answer.
fn format(format: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_FORMAT);
    for (name, value) in tally.members(format, path)? {
        let path = Path::Field(path, &name);
        match (&*name, value.word().as_deref()) {
            ("type", Some("json_schema")) => {}
            ("schema" | "name", _) => tally.value(value),
            _ => tally.unbounded(&path, Why::UnknownShape),
        }
    }
    Ok(())
}
