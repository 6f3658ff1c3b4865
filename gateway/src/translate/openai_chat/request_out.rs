//! A chat completions request, written for a target.
//!
//! A tool's message has text only, so images and files that a tool gave follow it in a message of the user.

use crate::translate::{
    Flavor, To,
    fields::{Ledger, Read},
    hub::{Choice, Conversation, Format, Media, Outcome, Part, Role, Setting, Source, Turn, What},
    ids::Form,
    json::{Json, object},
    openai_chat::{details::Detail, request_in::SETTINGS},
    seal::{Kind, Maker},
};

/// The most sequences that stop an answer.
const STOP_MAX: usize = 4;
/// The most characters of the name of an end user.
const USER_MAX: usize = 64;
/// The settings as Mistral names them.
const OF_MISTRAL: [(Setting, &str); 5] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::Seed, "random_seed"),
    (Setting::FrequencyPenalty, "frequency_penalty"),
    (Setting::PresencePenalty, "presence_penalty"),
];
const NO_AUDIO: &str = "this kind of content has no place in a message to the provider";

pub(crate) fn write(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Json> {
    asked.must_begin()?;
    // Ids that become others must not become the same.
    let own = if to.flavor == Flavor::Mistral { asked.with_own_ids(Form::Nine)? } else { None };
    let asked = own.as_ref().unwrap_or(asked);
    let mut body = object! { "model": to.model };
    let mut messages = Vec::new();
    for turn in &asked.turns {
        write_turn(turn, to, &mut messages, ledger)?;
    }
    body.put("messages", messages);
    let tools = asked.tools.iter().map(|tool| {
        if tool.cache.is_some() {
            ledger.note(format!("{}.cache_control", tool.at));
        }
        let mut function = object! { "name": tool.name.as_str() };
        function.put_some("description", tool.description.as_ref());
        function.put_some("parameters", tool.schema.clone());
        function.put_some("strict", tool.strict);
        object! { "type": "function", "function": function }
    });
    body.put_full("tools", tools.collect());
    if let Some((_, choice)) = &asked.choice {
        body.put("tool_choice", write_choice(choice));
    }
    body.put_some(
        "parallel_tool_calls",
        asked.parallel.as_ref().map(|(_, parallel)| *parallel).filter(|_| !asked.tools.is_empty()),
    );
    body.put_some(if to.old_cap { "max_tokens" } else { "max_completion_tokens" }, asked.max_tokens);
    body.put_full("stop", asked.stops(STOP_MAX)?);
    asked.settings(if to.flavor == Flavor::Mistral { &OF_MISTRAL } else { &SETTINGS }, &mut body, ledger)?;
    if let Some((_, format)) = &asked.format {
        body.put("response_format", write_format(format));
    }
    if let Some(reasoning) = &asked.reasoning {
        match reasoning.effort() {
            Some(effort) => body.put("reasoning_effort", effort.name()),
            // There is no word that every model takes for it.
            None => ledger.note(reasoning.at.clone()),
        }
        if reasoning.shown {
            ledger.note(format!("{} (that it is shown)", reasoning.at));
        }
    }
    match &asked.user {
        Some((at, _)) if !to.flavor.is_whole() => ledger.note(at.clone()),
        _ => body.put_some("user", asked.user_within(USER_MAX, ledger)),
    }
    if asked.stream {
        body.put("stream", true);
        if to.ask_usage {
            body.put("stream_options", object! { "include_usage": true });
        }
    }
    Ok(body)
}

fn write_turn(turn: &Turn, to: &To<'_>, messages: &mut Vec<Json>, ledger: &mut Ledger) -> Read<()> {
    let role = match turn.role {
        Role::Developer if to.flavor.is_whole() => "developer",
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => return write_assistant(turn, to, messages, ledger),
    };
    let mut content = Vec::new();
    for part in &turn.parts {
        note_cache(part, ledger);
        if let What::Result(outcome) = &part.what {
            messages.push(write_result(outcome, to, &mut content, ledger)?);
        }
    }
    for part in &turn.parts {
        if !matches!(part.what, What::Result(_)) {
            content.extend(write_told(part));
            content.push(write_part(part)?);
        }
    }
    if !content.is_empty() {
        messages.push(object! { "role": role, "content": simplest(turn, content) });
    }
    Ok(())
}

fn note_cache(part: &Part, ledger: &mut Ledger) {
    if part.cache.is_some() {
        ledger.note(format!("{}.cache_control", part.at));
    }
}

/// What is said of a document; a text has no name here.
fn write_told(part: &Part) -> Option<Json> {
    let has_name = !matches!(&part.what, What::File(Media { source: Source::Text(_), .. }));
    part.told(has_name).map(|told| object! { "type": "text", "text": told })
}

/// One text is written as a text, which every server of the dialect takes.
fn simplest(turn: &Turn, content: Vec<Json>) -> Json {
    match turn.parts.as_slice() {
        [Part { what: What::Text(text), .. }] => text.into(),
        _ => content.into(),
    }
}

fn write_result(outcome: &Outcome, to: &To<'_>, behind: &mut Vec<Json>, ledger: &mut Ledger) -> Read<Json> {
    let mut texts = Vec::new();
    for part in &outcome.parts {
        note_cache(part, ledger);
        if let What::Text(text) = &part.what {
            texts.push(text.as_str());
        } else {
            part.note_behind(ledger);
            behind.extend(write_told(part));
            behind.push(write_part(part)?);
        }
    }
    let content = outcome.told(texts.join("\n"));
    Ok(object! { "role": "tool", "tool_call_id": ids(to).fit(&outcome.id), "content": content })
}

/// The ids of calls that a target takes: OpenAI those within 40 characters.
const fn ids(to: &To<'_>) -> Form {
    if matches!(to.flavor, Flavor::Mistral) { Form::Nine } else { Form::UpTo(40) }
}

fn write_part(part: &Part) -> Read<Json> {
    Ok(match &part.what {
        What::Text(text) | What::Refusal(text) => object! { "type": "text", "text": text },
        What::Image(image) => {
            let mut url = object! { "url": image.source.url() };
            url.put_some("detail", image.detail.as_ref());
            object! { "type": "image_url", "image_url": url }
        }
        What::File(Media { source: Source::Text(text), .. }) => object! { "type": "text", "text": text },
        What::File(Media { source: Source::Url(_), .. }) => {
            return Err(part.refuse("the provider takes no URL of a file, and none is fetched here: send its data"));
        }
        What::File(file) => {
            let name = file.name.as_deref().unwrap_or("file.pdf");
            object! { "type": "file", "file": object! { "filename": name, "file_data": file.source.url() } }
        }
        What::Audio(Media { source: Source::Base64 { media, data }, .. }) => {
            let format = media.strip_prefix("audio/").unwrap_or(media);
            object! { "type": "input_audio", "input_audio": object! { "data": data, "format": format } }
        }
        _ => return Err(part.refuse(NO_AUDIO)),
    })
}

fn write_assistant(turn: &Turn, to: &To<'_>, messages: &mut Vec<Json>, ledger: &mut Ledger) -> Read<()> {
    let (mut texts, mut calls, mut refusal) = (Vec::new(), Vec::new(), None);
    let (mut thoughts, mut details) = (String::new(), Vec::new());
    for part in &turn.parts {
        note_cache(part, ledger);
        match &part.what {
            What::Text(text) => texts.push(text.as_str()),
            What::Refusal(text) if to.flavor == Flavor::Mistral => texts.push(text.as_str()),
            What::Refusal(text) => refusal = Some(text),
            What::Call(call) => calls.push(object! {
                "id": ids(to).fit(&call.id), "type": "function",
                "function": object! { "name": call.name.as_str(), "arguments": call.arguments.as_str() },
            }),
            // Mistral refuses a message that has it.
            What::Thinking(..) | What::Sealed(_) if to.flavor == Flavor::Mistral => part.note_reasoning(ledger),
            What::Thinking(text, seal) if (seal.maker, seal.kind) == (Maker::Chat, Kind::Thinking) => {
                thoughts.push_str(text);
                details.extend(Detail::of_seal(text, seal));
            }
            What::Sealed(seal) if (seal.maker, seal.kind) == (Maker::Chat, Kind::Redacted) => {
                match Detail::of_seal("", seal) {
                    Some(detail) => details.push(detail),
                    None => part.note_reasoning(ledger),
                }
            }
            What::Thinking(..) | What::Sealed(_) => part.note_reasoning(ledger),
            _ => return Err(part.refuse("a message of the assistant can only have text and calls")),
        }
    }
    // Nobody takes one of nothing.
    let is_thought = !thoughts.is_empty() || !details.is_empty();
    if texts.is_empty() && calls.is_empty() && refusal.is_none() && !is_thought {
        turn.note_empty(ledger);
        return Ok(());
    }
    let mut message = object! { "role": "assistant" };
    match texts.as_slice() {
        [] => message.put("content", Json::Null),
        [text] => message.put("content", *text),
        several => {
            let parts: Vec<Json> = several.iter().map(|text| object! { "type": "text", "text": *text }).collect();
            message.put("content", parts);
        }
    }
    if !thoughts.is_empty() {
        message.put("reasoning_content", thoughts);
    }
    message.put_full("reasoning_details", details);
    message.put_some("refusal", refusal);
    message.put_full("tool_calls", calls);
    messages.push(message);
    Ok(())
}

fn write_choice(choice: &Choice) -> Json {
    let function = |name: &String| object! { "type": "function", "function": object! { "name": name } };
    match choice {
        Choice::Auto => "auto".into(),
        Choice::None => "none".into(),
        Choice::Required => "required".into(),
        Choice::Named(name) => function(name),
        Choice::Among { names, required } => {
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Json> = names.iter().map(function).collect();
            object! { "type": "allowed_tools", "allowed_tools": object! { "mode": mode, "tools": tools } }
        }
    }
}

fn write_format(format: &Format) -> Json {
    match format {
        Format::Object => object! { "type": "json_object" },
        Format::Schema { name, description, schema, strict } => {
            let mut named = object! { "name": name.as_deref().unwrap_or("answer") };
            named.put_some("description", description.as_ref());
            named.put("schema", schema.clone());
            // A dialect that has no such word always keeps to the schema.
            named.put("strict", strict.unwrap_or(name.is_none()));
            object! { "type": "json_schema", "json_schema": named }
        }
    }
}
