//! What an OpenAI request spells out: chat completions, embeddings and moderations.
//!
//! The constants cover what the recordings show beyond the tokens of the texts: framing, and how tools and schemas are shown to the
//! model. Servers of the same format by others may frame more; the constants leave room.

use super::{
    BoundError, Why,
    cost::Reach,
    json::{self, Fields, Path},
    tally::{Framing, Tally, count},
};
use crate::{
    json::{Kind, Value},
    price::CapField,
};

/// Tokens that a request is framed by: three that prime the answer are published, and there is room for a model that frames more.
/// Recordings of plain text show 7 for a request of one message and at most 20 for one of four, where this and the next allow 13
/// and 28.
const PER_REQUEST: Framing = Framing { published: 8, other: 16 };
/// Tokens that a message is framed by: three and its role are published; a name's separator, and room.
const PER_MESSAGE: Framing = Framing { published: 5, other: 8 };
/// Tokens that a part of a message, or a call of a tool in it, is framed by.
const PER_PART: u64 = 8;
/// Tokens that the presence of any tool adds: the namespace around them and the instruction to use them. Recordings show about 10
/// for gpt-4o and 90 for gpt-5.
const PER_TOOLS: u64 = 128;
/// Tokens that a tool is framed by beyond its own JSON.
const PER_TOOL: u64 = 16;
/// Tokens that a schema of the answer is framed by beyond its own JSON.
const PER_FORMAT: u64 = 64;
/// The tiers that a project's settings can choose for a request that names none.
const TIERS: [&str; 3] = ["flex", "priority", "fast"];

/// Fields that steer the answer or its form and put nothing into the input.
const SILENT: [&str; 29] = [
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "metadata",
    "store",
    "reasoning_effort",
    "verbosity",
    "parallel_tool_calls",
    "tool_choice",
    "function_call",
    "encoding_format",
    "dimensions",
    "service_tier",
];

/// Counts a chat completion.
pub(super) fn chat(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let root = Path::Body;
    let fields = json::members(body, &root)?.ok_or(BoundError::NotAnObject)?;
    tally.frame(PER_REQUEST);
    for (name, value) in fields.clone() {
        let path = Path::Field(&root, &name);
        match &*name {
            "messages" => {
                for (place, message) in tally.items(value, &path).enumerate() {
                    self::message(message, &Path::Item(&path, place), tally)?;
                }
            }
            // Which of them counts can be said when both are known.
            "max_tokens" | "max_completion_tokens" => {}
            "n" => tally.answers = count(value, &path)?.max(1),
            "tools" => tools(value, &path, tally)?,
            "functions" => {
                tally.add(PER_TOOLS);
                for function in tally.items(value, &path) {
                    tally.add(PER_TOOL);
                    tally.value(function);
                }
            }
            "response_format" => response_format(value, &path, tally)?,
            "modalities" => {
                for modality in tally.items(value, &path) {
                    if modality.text().is_none_or(|modality| modality != *"text") {
                        tally.unbounded(&path, Why::Audio);
                    }
                }
            }
            "audio" => tally.unbounded(&path, Why::Audio),
            // OpenRouter's plugins search the web for any model, and read files.
            "web_search_options" | "plugins" => tally.unbounded(&path, Why::ServerTool),
            name if SILENT.contains(&name) => {}
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    let field = tally.cap_field();
    tally.state_either(cap(&fields, field)?, cap(&fields, field.other())?);
    Ok(reach(fields.get("service_tier").and_then(Value::word).as_deref()))
}

/// The cap that stands in a field.
fn cap(fields: &Fields<'_>, field: CapField) -> Result<Option<u64>, BoundError> {
    let name = field.name();
    fields.get(name).map(|cap| count(cap, &Path::Field(&Path::Body, name))).transpose()
}

/// The tiers that a request which names this one can be charged at. A request for a better tier may be served by the standard one;
/// one for none, by what the project is set to.
pub(super) fn reach(named: Option<&str>) -> Reach<'static> {
    // Newer models write their cache unasked, and have a price for it.
    let plain = Reach { writes: (true, true), ..Reach::default() };
    match named {
        None | Some("auto") => Reach { tiers: &TIERS, ..plain },
        Some("default" | "standard") => plain,
        Some(tier) => Reach { named: Some(tier.to_owned()), ..plain },
    }
}

fn message(message: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.frame(PER_MESSAGE);
    for (name, value) in tally.members(message, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            "role" => match value.word().as_deref() {
                Some("system" | "developer" | "user" | "assistant" | "tool" | "function") => {}
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "content" => match value.text() {
                Some(text) => tally.text(text),
                None => {
                    for (place, part) in tally.items(value, &path).enumerate() {
                        self::part(part, &Path::Item(&path, place), tally)?;
                    }
                }
            },
            "name" | "refusal" | "tool_call_id" | "reasoning_content" => tally.text_at(value, &path),
            "annotations" => tally.value(value),
            "tool_calls" => {
                for (place, call) in tally.items(value, &path).enumerate() {
                    tool_call(call, &Path::Item(&path, place), tally)?;
                }
            }
            "function_call" => {
                tally.add(PER_PART);
                tally.value(value);
            }
            "audio" => tally.unbounded(&path, Why::Reference),
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// A call that the model made earlier. Its parts are texts, counted apart: arguments are JSON in a string.
fn tool_call(call: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_PART);
    for (name, value) in tally.members(call, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            "id" | "type" => tally.text_at(value, &path),
            "index" => {}
            "function" | "custom" => {
                for (name, value) in tally.members(value, &path)? {
                    tally.text_at(value, &Path::Field(&path, &name));
                }
            }
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

fn part(part: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(PER_PART);
    for (name, value) in tally.members(part, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            "type" => match value.word().as_deref() {
                Some("text" | "refusal" | "image_url" | "input_audio" | "file") => {}
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "text" | "refusal" => tally.text_at(value, &path),
            "image_url" => image(value, &path, tally)?,
            "input_audio" => tally.unbounded(&path, Why::Audio),
            "file" => {
                let fields = tally.members(value, &path)?;
                let why = if fields.get("file_data").is_some() { Why::Document } else { Why::Reference };
                tally.unbounded(&path, why);
            }
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// An image: its bytes as a `data:` URL, or a reference.
fn image(image: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    let url = match image.text() {
        Some(url) => Some(url),
        None => {
            let fields = tally.members(image, path)?;
            for (name, _) in fields.clone() {
                if !matches!(&*name, "url" | "detail") {
                    tally.unbounded(&Path::Field(path, &name), Why::UnknownField);
                }
            }
            fields.get("url").and_then(Value::text)
        }
    };
    match url {
        Some(url) if url.starts_with("data:image/") => tally.image(path),
        _ => tally.unbounded(path, Why::Reference),
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
        for (name, value) in tally.members(tool, &path)? {
            let path = Path::Field(&path, &name);
            match &*name {
                "type" => match value.word().as_deref() {
                    Some("function" | "custom") => {}
                    _ => tally.unbounded(&path, Why::ServerTool),
                },
                "function" | "custom" => tally.value(value),
                _ => tally.unbounded(&path, Why::UnknownField),
            }
        }
    }
    Ok(())
}

fn response_format(format: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    for (name, value) in tally.members(format, path)? {
        let path = Path::Field(path, &name);
        match &*name {
            "type" => match value.word().as_deref() {
                Some("text" | "json_object") => {}
                Some("json_schema") => tally.add(PER_FORMAT),
                _ => tally.unbounded(&path, Why::UnknownShape),
            },
            "json_schema" => tally.value(value),
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// Counts an embeddings request: every text of it, or the tokens themselves.
pub(super) fn embeddings(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let root = Path::Body;
    let fields = json::members(body, &root)?.ok_or(BoundError::NotAnObject)?;
    for (name, value) in fields.clone() {
        let path = Path::Field(&root, &name);
        match &*name {
            "input" => match value.items() {
                // A list whose first item is a count is a text as its tokens.
                Some(items) if items.clone().next().and_then(json::count).is_none() => {
                    for (place, item) in items.enumerate() {
                        input(item, &Path::Item(&path, place), tally);
                    }
                }
                _ => input(value, &path, tally),
            },
            "model" | "encoding_format" | "dimensions" | "user" => {}
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(Reach::default())
}

/// Counts a moderation: a text, several, or the parts of one. It has no output, and at OpenAI costs nothing; what it reads bounds it at
/// those who charge for that.
pub(super) fn moderations(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let root = Path::Body;
    let fields = json::members(body, &root)?.ok_or(BoundError::NotAnObject)?;
    for (name, value) in fields {
        let path = Path::Field(&root, &name);
        match &*name {
            "input" if value.text().is_some() => input(value, &path, tally),
            "input" => {
                for (place, item) in tally.items(value, &path).enumerate() {
                    let path = Path::Item(&path, place);
                    if item.text().is_some() {
                        input(item, &path, tally);
                    } else {
                        part(item, &path, tally)?;
                    }
                }
            }
            "model" | "user" => {}
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(Reach::default())
}

/// Fields of a completion that put nothing into the input.
const SILENT_COMPLETION: [&str; 17] = [
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "echo",
    "user",
    "dimensions",
];

/// Counts a completion: each of its prompts is gone on with as often as it says.
pub(super) fn completion(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    let root = Path::Body;
    let fields = json::members(body, &root)?.ok_or(BoundError::NotAnObject)?;
    let mut prompts = 1;
    for (name, value) in fields {
        let path = Path::Field(&root, &name);
        match &*name {
            "prompt" => match value.items() {
                Some(items) if items.clone().next().and_then(json::count).is_none() => {
                    for (place, item) in items.enumerate() {
                        input(item, &Path::Item(&path, place), tally);
                        prompts = prompts.max(place as u64 + 1);
                    }
                }
                _ => input(value, &path, tally),
            },
            "suffix" => tally.text_at(value, &path),
            "max_tokens" => tally.state(count(value, &path)?),
            // The best of so many are chosen, and all are charged.
            "n" | "best_of" => tally.answers = tally.answers.max(count(value, &path)?),
            name if SILENT_COMPLETION.contains(&name) => {}
            _ => tally.unbounded(&path, Why::UnknownField),
        }
    }
    tally.answers = tally.answers.saturating_mul(prompts);
    Ok(Reach::default())
}

/// One thing to embed: a text, or its tokens.
fn input(item: Value<'_>, path: &Path<'_>, tally: &mut Tally<'_>) {
    tally.add(PER_INPUT);
    match item.kind() {
        Kind::Text(text) => tally.text(text),
        Kind::List(tokens) if tokens.clone().all(|token| json::count(token).is_some()) => {
            tally.add(tokens.count() as u64);
        }
        _ => tally.unbounded(path, Why::UnknownShape),
    }
}

/// Tokens that an embedded text is framed by: OpenAI adds none, models of others put one at either end.
const PER_INPUT: u64 = 2;
