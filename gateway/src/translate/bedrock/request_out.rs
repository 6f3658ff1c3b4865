//! A Converse request, written for a target. The model and whether it streams stand in the path.

use crate::translate::{
    To,
    anthropic::{self, request_out::takes},
    bedrock::names::Names,
    fields::{Ledger, Read},
    hub::{Cache, Choice, Conversation, Effort, Format, Media, Outcome, Part, Role, Setting, Source, What},
    ids::Form,
    json::{Json, object},
    media,
    seal::Maker,
};

const SETTINGS: [(Setting, &str); 2] = [(Setting::Temperature, "temperature"), (Setting::TopP, "topP")];
/// The most sequences that stop an answer.
const STOP_MAX: usize = 4;
/// The most characters of the id of a call.
const ID_MAX: usize = 64;
/// The efforts that models other than Claude take, where they take any.
const EFFORTS: [Effort; 3] = [Effort::Low, Effort::Medium, Effort::High];

/// The ids of calls that a model takes: those of Mistral refuse others than their own behind Converse as well.
fn ids(model: &str) -> Form {
    if model.contains("mistral.") { Form::Nine } else { Form::UpTo(ID_MAX) }
}

/// Whether a model of Bedrock is Claude.
pub(crate) fn is_claude(model: &str) -> bool {
    model.contains("anthropic") || model.contains("claude")
}

/// Who can check the proofs of a model of Bedrock.
pub(crate) fn maker(model: &str) -> Maker {
    if is_claude(model) { Maker::Anthropic } else { Maker::Bedrock }
}

pub(crate) fn write(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Json> {
    let own = asked.with_own_ids(ids(to.model))?;
    let asked = own.as_ref().unwrap_or(asked);
    let mut body = object! {};
    let (instructions, turns) = asked.apart(|what| takes(what, maker(to.model)), ledger);
    let mut names = Names::default();
    body.put_full("system", write_parts(&instructions, to, (&mut names, ledger))?);
    let mut messages = Vec::new();
    for (role, parts) in turns {
        let content = write_parts(&parts, to, (&mut names, ledger))?;
        if !content.is_empty() {
            let role = if role == Role::Assistant { "assistant" } else { "user" };
            messages.push(object! { "role": role, "content": content });
        }
    }
    body.put("messages", messages);
    let (mut config, mut more) = (object! {}, object! {});
    config.put_some("maxTokens", asked.max_tokens);
    config.put_full("stopSequences", asked.stops(STOP_MAX)?);
    let knobs =
        if is_claude(to.model) { anthropic::request_out::knobs(asked, to, ledger)? } else { asked.knobs.clone() };
    let mut common = Conversation { knobs, ..Conversation::default() };
    if is_claude(to.model)
        && let Some(place) = common.knobs.iter().position(|knob| knob.setting == Setting::TopK)
    {
        more.put("top_k", common.knobs.remove(place).value);
    }
    common.settings(&SETTINGS, &mut config, ledger)?;
    if !config.is_bare() {
        body.put("inferenceConfig", config);
    }
    write_tools(asked, &mut body)?;
    write_format(asked, &mut body)?;
    write_reasoning(asked, to, &mut more, ledger);
    if !more.is_bare() {
        body.put("additionalModelRequestFields", more);
    }
    if let Some((at, _)) = &asked.user {
        ledger.note(at.clone());
    }
    Ok(body)
}

fn write_parts(parts: &[&Part], to: &To<'_>, (names, ledger): (&mut Names, &mut Ledger)) -> Read<Vec<Json>> {
    let mut written = Vec::new();
    for part in parts {
        written.extend(part.told(true).map(|told| object! { "text": told }));
        written.extend(write_part(part, to, (names, ledger))?);
        written.extend(part.cache.map(cache_point));
    }
    Ok(written)
}

fn cache_point(cache: Cache) -> Json {
    let mut point = object! { "type": "default" };
    match cache {
        Cache::Unsaid => {}
        Cache::Minutes5 => point.put("ttl", "5m"),
        Cache::Hour => point.put("ttl", "1h"),
    }
    object! { "cachePoint": point }
}

fn write_part(part: &Part, to: &To<'_>, (names, ledger): (&mut Names, &mut Ledger)) -> Read<Option<Json>> {
    Ok(Some(match &part.what {
        What::Text(text) | What::Refusal(text) if text.is_empty() => return Ok(None),
        What::Text(text) | What::Refusal(text) => object! { "text": text },
        What::Image(image) => {
            if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
                ledger.note(format!("{}.detail", part.at));
            }
            object! { "image": write_media(part, image, "jpeg")? }
        }
        What::File(file) => {
            let mut document = write_media(part, file, "pdf")?;
            document.put("name", names.name(file.name.as_deref()));
            object! { "document": document }
        }
        What::Audio(_) => return Err(part.refuse("the provider's models take no audio in a conversation")),
        What::Call(call) => {
            let input = Json::raw_object(&call.arguments).ok_or_else(|| {
                part.refuse("the provider takes a JSON object as the arguments of a call, and this is none")
            })?;
            let call = object! { "toolUseId": ids(to.model).fit(&call.id), "name": call.name.as_str(), "input": input };
            object! { "toolUse": call }
        }
        What::Result(outcome) => write_result(outcome, to, (names, ledger))?,
        What::Thinking(text, seal) if takes(&part.what, maker(to.model)) => {
            let mut shown = object! { "text": text };
            if !seal.data.is_empty() {
                shown.put("signature", seal.data.as_str());
            }
            object! { "reasoningContent": object! { "reasoningText": shown } }
        }
        What::Sealed(seal) if takes(&part.what, maker(to.model)) => {
            object! { "reasoningContent": object! { "redactedContent": seal.data.as_str() } }
        }
        What::Thinking(..) | What::Sealed(_) => {
            part.note_reasoning(ledger);
            return Ok(None);
        }
    }))
}

fn write_result(outcome: &Outcome, to: &To<'_>, noted: (&mut Names, &mut Ledger)) -> Read<Json> {
    let content = write_parts(&outcome.parts.iter().collect::<Vec<_>>(), to, noted)?;
    let status = if outcome.is_error { "error" } else { "success" };
    let result = object! { "toolUseId": ids(to.model).fit(&outcome.id), "content": content, "status": status };
    Ok(object! { "toolResult": result })
}

fn write_media(part: &Part, given: &Media, usual: &'static str) -> Read<Json> {
    let (format, source) = match &given.source {
        Source::Base64 { media, data } => {
            let format = media::ending(media).ok_or_else(|| part.refuse("the provider takes no media of this type"))?;
            (format, object! { "bytes": data })
        }
        Source::Text(text) => ("txt", object! { "bytes": media::encode(text) }),
        Source::Url(url) if url.starts_with("s3://") => {
            let format = media::of_name(url).and_then(media::ending).unwrap_or(usual);
            (format, object! { "s3Location": object! { "uri": url } })
        }
        Source::Url(_) => {
            return Err(part.refuse("the provider takes no URL, and none is fetched here: send the data"));
        }
    };
    Ok(object! { "format": format, "source": source })
}

fn write_tools(asked: &Conversation, body: &mut Json) -> Read<()> {
    let choice = asked.choice.as_ref();
    if let Some((at, Choice::None)) = choice {
        let has_calls = asked.turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part.what, What::Call(_)));
        if has_calls {
            return Err(asked.refuse_at(at, "the provider cannot forbid calls in a conversation that has some"));
        }
        // Tools that may not be called are left away, which is the same.
        return Ok(());
    }
    let mut tools = Vec::new();
    for tool in asked.allowed() {
        let mut spec = object! { "name": tool.name.as_str() };
        // An empty description is none here, and not valid.
        spec.put_some("description", tool.description.as_ref().filter(|text| !text.is_empty()));
        let empty = || object! { "type": "object", "properties": object! {} };
        spec.put("inputSchema", object! { "json": tool.schema.clone().unwrap_or_else(empty) });
        spec.put_some("strict", tool.strict.filter(|strict| *strict));
        tools.push(object! { "toolSpec": spec });
        tools.extend(tool.cache.map(cache_point));
    }
    if tools.is_empty() {
        return Ok(());
    }
    let mut config = object! { "tools": tools };
    match choice.map(|(_, choice)| choice) {
        Some(Choice::Auto | Choice::Among { required: false, .. }) => {
            config.put("toolChoice", object! { "auto": object! {} });
        }
        Some(Choice::Required | Choice::Among { required: true, .. }) => {
            config.put("toolChoice", object! { "any": object! {} });
        }
        Some(Choice::Named(name)) => config.put("toolChoice", object! { "tool": object! { "name": name } }),
        Some(Choice::None) | None => {}
    }
    body.put("toolConfig", config);
    asked.must_be_parallel()
}

fn write_format(asked: &Conversation, body: &mut Json) -> Read<()> {
    match &asked.format {
        None => Ok(()),
        Some((at, Format::Object)) => {
            Err(asked.refuse_at(at, "the provider knows JSON only with a schema: give a json_schema"))
        }
        Some((_, Format::Schema { name, description, schema, .. })) => {
            let mut named = object! { "name": name.as_deref().unwrap_or("answer") };
            named.put_some("description", description.as_ref());
            // The schema is a text here, and not JSON in JSON.
            named.put("schema", schema.to_string());
            let structure = object! { "jsonSchema": named };
            let format = object! { "type": "json_schema", "structure": structure };
            body.put("outputConfig", object! { "textFormat": format });
            Ok(())
        }
    }
}

fn write_reasoning(asked: &Conversation, to: &To<'_>, more: &mut Json, ledger: &mut Ledger) {
    let Some(reasoning) = &asked.reasoning else { return };
    if is_claude(to.model) {
        if let Some((thinking, effort)) = anthropic::request_out::write_reasoning(asked, to, ledger) {
            more.put("thinking", thinking);
            more.put_some("output_config", effort.map(|effort| object! { "effort": effort }));
        }
        return;
    }
    match reasoning.effort_of(&EFFORTS, ledger).filter(|_| !reasoning.off) {
        Some(effort) if to.model.contains("amazon.nova") => {
            more.put("reasoningConfig", object! { "type": "enabled", "maxReasoningEffort": effort });
        }
        Some(effort) if to.model.contains("openai.gpt") => more.put("reasoning_effort", effort),
        _ => ledger.note(reasoning.at.clone()),
    }
}
