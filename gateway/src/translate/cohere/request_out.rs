//! A chat request of Cohere's, written for a target.

use crate::translate::{
    To,
    fields::{Ledger, Read},
    hub::{Choice, Conversation, Format, Part, Role, Setting, Turn, What, plain},
    json::{Json, object},
    seal::{Kind, Maker},
};

const SETTINGS: [(Setting, &str); 6] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "p"),
    (Setting::TopK, "k"),
    (Setting::Seed, "seed"),
    (Setting::FrequencyPenalty, "frequency_penalty"),
    (Setting::PresencePenalty, "presence_penalty"),
];
/// The most sequences that stop an answer.
const STOP_MAX: usize = 5;

pub(crate) fn write(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Json> {
    asked.must_begin()?;
    let mut body = object! { "model": to.model };
    let mut messages = Vec::new();
    for turn in &asked.turns {
        write_turn(turn, &mut messages, ledger)?;
    }
    body.put("messages", messages);
    write_tools(asked, &mut body, ledger)?;
    body.put_some("max_tokens", asked.max_tokens);
    body.put_full("stop_sequences", asked.stops(STOP_MAX)?);
    asked.settings(&SETTINGS, &mut body, ledger)?;
    if let Some((at, format)) = &asked.format {
        let mut written = object! { "type": "json_object" };
        format.note_names(at, ledger);
        if let Format::Schema { schema, .. } = format {
            written.put("json_schema", schema.clone());
        }
        body.put("response_format", written);
    }
    if let Some(reasoning) = &asked.reasoning {
        reasoning.note_hidden(ledger);
        let mut thinking = object! { "type": if reasoning.off { "disabled" } else { "enabled" } };
        thinking.put_some("token_budget", reasoning.budget_within(asked.max_tokens).filter(|_| !reasoning.off));
        body.put("thinking", thinking);
    }
    if let Some((at, _)) = &asked.user {
        ledger.note(at.clone());
    }
    body.put("stream", asked.stream);
    Ok(body)
}

fn write_turn(turn: &Turn, messages: &mut Vec<Json>, ledger: &mut Ledger) -> Read<()> {
    for part in turn.parts.iter().filter(|part| part.cache.is_some()) {
        ledger.note(format!("{}.cache_control", part.at));
    }
    if turn.role == Role::Assistant {
        return write_assistant(turn, messages, ledger);
    }
    for part in &turn.parts {
        if let What::Result(outcome) = &part.what {
            let content = outcome.told(plain(&outcome.parts, "the provider takes only text from a tool")?);
            outcome.note_caches(ledger);
            messages.push(object! { "role": "tool", "tool_call_id": outcome.id.as_str(), "content": content });
        }
    }
    let role = if turn.role == Role::User { "user" } else { "system" };
    let rest = turn.parts.iter().filter(|part| !matches!(part.what, What::Result(_)));
    let content = rest.map(write_part).collect::<Read<Vec<_>>>()?;
    if !content.is_empty() {
        messages.push(object! { "role": role, "content": content });
    }
    Ok(())
}

fn write_part(part: &Part) -> Read<Json> {
    match &part.what {
        What::Text(text) | What::Refusal(text) => Ok(object! { "type": "text", "text": text }),
        What::Image(image) => {
            let mut url = object! { "url": image.source.url() };
            url.put_some("detail", image.detail.as_ref());
            Ok(object! { "type": "image_url", "image_url": url })
        }
        _ => Err(part.refuse("the provider takes only text and images")),
    }
}

fn write_assistant(turn: &Turn, messages: &mut Vec<Json>, ledger: &mut Ledger) -> Read<()> {
    let (mut content, mut calls, mut plan) = (Vec::new(), Vec::new(), None);
    for part in &turn.parts {
        match &part.what {
            What::Text(text) if text.is_empty() => {}
            What::Thinking(text, seal) if (seal.maker, seal.kind) == (Maker::Cohere, Kind::Plan) => plan = Some(text),
            What::Thinking(text, seal) if seal.maker == Maker::Cohere => {
                content.push(object! { "type": "thinking", "thinking": text });
            }
            What::Thinking(..) | What::Sealed(_) => part.note_reasoning(ledger),
            What::Call(call) => calls.push(object! {
                "id": call.id.as_str(), "type": "function",
                "function": object! { "name": call.name.as_str(), "arguments": call.arguments.as_str() },
            }),
            _ => content.push(write_part(part)?),
        }
    }
    if content.is_empty() && calls.is_empty() && plan.is_none() {
        turn.note_empty(ledger);
        return Ok(());
    }
    let mut message = object! { "role": "assistant" };
    message.put_some("tool_plan", plan);
    message.put_full("content", content);
    message.put_full("tool_calls", calls);
    messages.push(message);
    Ok(())
}

fn write_tools(asked: &Conversation, body: &mut Json, ledger: &mut Ledger) -> Read<()> {
    let choice = asked.choice.as_ref().map(|(_, choice)| choice);
    // It can be told that it must call, and not which: so it is given no other.
    let is_chosen = |name: &String| !matches!(choice, Some(Choice::Named(named)) if named != name);
    let tools = asked.allowed().into_iter().filter(|tool| is_chosen(&tool.name)).map(|tool| {
        let mut function = object! { "name": tool.name.as_str() };
        function.put_some("description", tool.description.as_ref());
        function.put_some("parameters", tool.schema.clone());
        if tool.cache.is_some() {
            ledger.note(format!("{}.cache_control", tool.at));
        }
        object! { "type": "function", "function": function }
    });
    let tools: Vec<Json> = tools.collect();
    if tools.is_empty() {
        return Ok(());
    }
    body.put("tools", tools);
    let strict = asked.tools.iter().filter(|tool| tool.strict == Some(true)).count();
    if strict == asked.tools.len() {
        body.put("strict_tools", true);
    } else if strict > 0 {
        ledger.note("tools.strict");
    }
    match choice {
        Some(Choice::None) => body.put("tool_choice", "NONE"),
        Some(Choice::Required | Choice::Named(_) | Choice::Among { required: true, .. }) => {
            body.put("tool_choice", "REQUIRED");
        }
        _ => {}
    }
    asked.must_be_parallel()
}
