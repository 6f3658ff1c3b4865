//! A messages request, written for a target.
//!
//! Models before Claude 4.6 reason by a budget, later ones by themselves with an effort. A turn of tool calls that another
//! provider's reasoning led to could not be gone on with in thinking, so then thinking is left away and listed. A model that thinks
//! takes hardly a setting of the sampler; then it is the setting that is left away.

use crate::translate::{
    To,
    anthropic::request_in::SETTINGS,
    fields::{Ledger, Read},
    hub::{
        Cache, Choice, Conversation, Effort, Format, Knob, Media, Outcome, Part, Reasoning, Role, Setting, Source, What,
    },
    ids::{Form, fit},
    json::{Json, object},
    seal::{Kind, Maker},
};

/// The least that Anthropic takes as a budget.
const BUDGET_MIN: u64 = 1_024;
/// The least `top_p` that goes with thinking.
const TOP_P_MIN: f64 = 0.95;
/// The most characters of the name of an end user.
const USER_MAX: usize = 256;
/// The most characters of the id of a call.
const ID_MAX: usize = 64;
/// The cap where neither the client nor the catalogue states one: what the oldest models served can answer.
const CAP: u64 = 4_096;
/// The efforts of models that reason by themselves.
const EFFORTS: [Effort; 5] = [Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];
/// Names of models that reason by a budget.
const BY_BUDGET: [&str; 7] = ["claude-3", "sonnet-4-2", "opus-4-2", "opus-4-0", "sonnet-4-0", "opus-4-1", "-4-5"];

pub(crate) fn write(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Json> {
    let own = asked.with_own_ids(Form::UpTo(ID_MAX))?;
    let asked = own.as_ref().unwrap_or(asked);
    let mut body = object! { "model": to.model };
    let reasoning = write_reasoning(asked, to, ledger);
    let cap = asked.max_tokens.or(to.max_output);
    if asked.max_tokens.is_none() {
        ledger.note(format!("max_tokens (none was asked for; {} is sent)", cap.unwrap_or(CAP)));
    }
    body.put("max_tokens", cap.unwrap_or(CAP));
    let (instructions, turns) = asked.apart(|what| takes(what, Maker::Anthropic), ledger);
    body.put_full("system", write_parts(&instructions, ledger)?);
    let mut messages = Vec::new();
    for (role, parts) in turns {
        let content = write_parts(&parts, ledger)?;
        if !content.is_empty() {
            let role = if role == Role::Assistant { "assistant" } else { "user" };
            messages.push(object! { "role": role, "content": content });
        }
    }
    body.put("messages", messages);
    let tools = asked.allowed().into_iter().map(|tool| {
        let mut written = object! { "name": tool.name.as_str() };
        written.put_some("description", tool.description.as_ref());
        let empty = || object! { "type": "object", "properties": object! {} };
        written.put("input_schema", tool.schema.clone().unwrap_or_else(empty));
        written.put_some("strict", tool.strict.filter(|strict| *strict));
        written.put_some("cache_control", tool.cache.map(write_cache));
        written
    });
    body.put_full("tools", tools.collect());
    body.put_some("tool_choice", write_choice(asked));
    body.put_full("stop_sequences", asked.stops(usize::MAX)?);
    let common = Conversation { knobs: knobs(asked, to, ledger)?, ..Conversation::default() };
    common.settings(&SETTINGS, &mut body, ledger)?;
    let mut config = object! {};
    if let Some((thinking, effort)) = reasoning {
        body.put("thinking", thinking);
        config.put_some("effort", effort);
    }
    write_format(asked, &mut config, ledger)?;
    if !config.is_bare() {
        body.put("output_config", config);
    }
    body.put_some("metadata", asked.user_within(USER_MAX, ledger).map(|user| object! { "user_id": user }));
    if asked.stream {
        body.put("stream", true);
    }
    Ok(body)
}

/// The settings that Claude takes. One that does not go with thinking is left away and listed:
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>.
pub(crate) fn knobs(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Vec<Knob>> {
    let (mut knobs, thinks) = (Vec::new(), thinks(asked, to));
    for knob in &asked.knobs {
        let value = knob.value.to_string().parse::<f64>().ok();
        let is_hot = value.is_some_and(|value| value > 1.0);
        if knob.setting == Setting::Temperature && is_hot {
            return Err(asked.refuse_at(&knob.at, "the provider takes no temperature above 1"));
        }
        let goes = match knob.setting {
            // What is above 1 was refused.
            Setting::Temperature => value.is_some_and(|value| value >= 1.0),
            Setting::TopP => value.is_some_and(|value| (TOP_P_MIN..=1.0).contains(&value)),
            Setting::TopK => false,
            Setting::Seed | Setting::FrequencyPenalty | Setting::PresencePenalty => true,
        };
        if goes || !thinks {
            knobs.push(knob.clone());
        } else {
            ledger.note(format!("{} (it does not go with reasoning)", knob.at));
        }
    }
    Ok(knobs)
}

/// Whether a request makes a model think.
fn thinks(asked: &Conversation, to: &To<'_>) -> bool {
    let is_off = asked.reasoning.as_ref().is_some_and(|reasoning| reasoning.off);
    !is_off && write_reasoning(asked, to, &mut Ledger::default()).is_some()
}

fn write_parts(parts: &[&Part], ledger: &mut Ledger) -> Read<Vec<Json>> {
    let mut written = Vec::new();
    for part in parts {
        let Some(mut block) = write_part(part, ledger)? else { continue };
        block.put_some("cache_control", part.cache.map(write_cache));
        written.push(block);
    }
    Ok(written)
}

/// Whether reasoning is such as its maker takes back in a message.
pub(crate) fn takes(reasoning: &What, maker: Maker) -> bool {
    match reasoning {
        What::Thinking(_, seal) => seal.maker == maker,
        What::Sealed(seal) => (seal.maker, seal.kind) == (maker, Kind::Redacted),
        _ => false,
    }
}

/// A block; nothing for an empty text, which Anthropic refuses, and for reasoning of somebody else.
fn write_part(part: &Part, ledger: &mut Ledger) -> Read<Option<Json>> {
    Ok(Some(match &part.what {
        What::Text(text) | What::Refusal(text) if text.is_empty() => return Ok(None),
        What::Text(text) | What::Refusal(text) => object! { "type": "text", "text": text },
        What::Image(image) => {
            if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
                ledger.note(format!("{}.detail", part.at));
            }
            object! { "type": "image", "source": write_source(part, &image.source)? }
        }
        What::File(file) => write_file(part, file)?,
        What::Audio(_) => return Err(part.refuse("the provider's models take no audio")),
        What::Call(call) => object! {
            "type": "tool_use", "id": fit(&call.id, ID_MAX), "name": call.name.as_str(),
            "input": Json::raw_object(&call.arguments)
                .ok_or_else(|| part.refuse("the provider takes a JSON object as the arguments of a call, and this is none"))?,
        },
        What::Result(outcome) => write_result(outcome, ledger)?,
        What::Thinking(text, seal) if takes(&part.what, Maker::Anthropic) => {
            object! { "type": "thinking", "thinking": text, "signature": seal.data.as_str() }
        }
        What::Sealed(seal) if takes(&part.what, Maker::Anthropic) => {
            object! { "type": "redacted_thinking", "data": seal.data.as_str() }
        }
        What::Thinking(..) | What::Sealed(_) => {
            part.note_reasoning(ledger);
            return Ok(None);
        }
    }))
}

fn write_result(outcome: &Outcome, ledger: &mut Ledger) -> Read<Json> {
    let content = write_parts(&outcome.parts.iter().collect::<Vec<_>>(), ledger)?;
    let mut block = object! { "type": "tool_result", "tool_use_id": fit(&outcome.id, ID_MAX) };
    block.put_full("content", content);
    if outcome.is_error {
        block.put("is_error", true);
    }
    Ok(block)
}

fn write_file(part: &Part, file: &Media) -> Read<Json> {
    let mut block = object! { "type": "document", "source": write_source(part, &file.source)? };
    block.put_some("title", file.name.as_ref());
    block.put_some("context", file.context.as_ref());
    Ok(block)
}

fn write_source(part: &Part, source: &Source) -> Read<Json> {
    let is_image = matches!(part.what, What::Image(_));
    Ok(match source {
        Source::Base64 { media, data } if is_image || media == "application/pdf" => {
            object! { "type": "base64", "media_type": media, "data": data }
        }
        Source::Base64 { .. } => return Err(part.refuse("the provider takes files only as PDF or text")),
        Source::Url(url) => object! { "type": "url", "url": url },
        Source::Text(text) => object! { "type": "text", "media_type": "text/plain", "data": text },
    })
}

pub(crate) fn write_cache(cache: Cache) -> Json {
    let mut control = object! { "type": "ephemeral" };
    match cache {
        Cache::Unsaid => {}
        Cache::Minutes5 => control.put("ttl", "5m"),
        Cache::Hour => control.put("ttl", "1h"),
    }
    control
}

fn write_choice(asked: &Conversation) -> Option<Json> {
    let kind = |kind: &'static str| object! { "type": kind };
    let is_single = asked.is_single();
    let unsaid = is_single.then_some(&Choice::Auto);
    let mut written = match asked.choice.as_ref().map(|(_, choice)| choice).or(unsaid)? {
        Choice::Auto | Choice::Among { required: false, .. } => kind("auto"),
        Choice::Required | Choice::Among { required: true, .. } => kind("any"),
        Choice::None => return Some(kind("none")),
        Choice::Named(name) => object! { "type": "tool", "name": name },
    };
    if is_single {
        written.put("disable_parallel_tool_use", true);
    }
    Some(written)
}

fn write_format(asked: &Conversation, config: &mut Json, ledger: &mut Ledger) -> Read<()> {
    match &asked.format {
        None => {}
        Some((at, Format::Object)) => {
            return Err(asked.refuse_at(at, "the provider knows JSON only with a schema: give a json_schema"));
        }
        Some((at, format @ Format::Schema { schema, .. })) => {
            format.note_names(at, ledger);
            config.put("format", object! { "type": "json_schema", "schema": schema.clone() });
        }
    }
    Ok(())
}

/// Whether a model reasons by a budget.
pub(crate) fn by_budget(model: &str) -> bool {
    BY_BUDGET.iter().any(|name| model.contains(name))
}

/// `thinking`, and the effort beside it.
pub(crate) fn write_reasoning(
    asked: &Conversation,
    to: &To<'_>,
    ledger: &mut Ledger,
) -> Option<(Json, Option<&'static str>)> {
    let reasoning = asked.reasoning.as_ref()?;
    if reasoning.off {
        return Some((object! { "type": "disabled" }, None));
    }
    if is_led_by_another(asked) {
        ledger.note(format!("{} (the last calls have no reasoning of this provider)", reasoning.at));
        return None;
    }
    if matches!(&asked.choice, Some((_, Choice::Required | Choice::Named(_) | Choice::Among { required: true, .. }))) {
        ledger.note(format!("{} (it does not go with a call that has to be made)", reasoning.at));
        return None;
    }
    if !by_budget(to.model) {
        let mut thinking = object! { "type": "adaptive" };
        if reasoning.shown {
            thinking.put("display", "summarized");
        }
        return Some((thinking, reasoning.effort_of(&EFFORTS, ledger)));
    }
    reasoning.note_hidden(ledger);
    budget(reasoning, asked.max_tokens.or(to.max_output).unwrap_or(CAP), ledger)
        .map(|budget| (object! { "type": "enabled", "budget_tokens": budget }, None))
}

fn budget(reasoning: &Reasoning, cap: u64, ledger: &mut Ledger) -> Option<u64> {
    let Some(budget) = reasoning.budget_within(Some(cap)) else {
        ledger
            .note(format!("{} (the model reasons by a budget, and neither that nor an effort is given)", reasoning.at));
        return None;
    };
    if budget < BUDGET_MIN && reasoning.budget.is_none() {
        ledger.note(format!("{} (the cap leaves no room for it)", reasoning.at));
        return None;
    }
    Some(budget)
}

/// Whether the conversation goes on from calls whose turn has no reasoning that Anthropic proves.
fn is_led_by_another(asked: &Conversation) -> bool {
    let Some(last) = asked.turns.iter().rposition(|turn| turn.role == Role::Assistant) else { return false };
    let turn = asked.turns.get(last);
    let parts = || turn.into_iter().flat_map(|turn| &turn.parts);
    let has_calls = parts().any(|part| matches!(part.what, What::Call(_)));
    let is_proved = parts().any(|part| match &part.what {
        What::Thinking(_, seal) | What::Sealed(seal) => seal.maker == Maker::Anthropic,
        _ => false,
    });
    has_calls && !is_proved
}
