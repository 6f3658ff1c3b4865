//! A generateContent request, written for a target. The model and whether it streams stand in the path.

use std::ops::RangeInclusive;

use crate::translate::{
    To,
    fields::{Ledger, Read},
    hub::{Choice, Conversation, Effort, Format, Outcome, Pairs, Part, Reasoning, Role, Setting, Source, What},
    json::{Json, object},
    media,
    seal::{Kind, Maker, Seal},
};

const SETTINGS: [(Setting, &str); 6] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "topP"),
    (Setting::TopK, "topK"),
    (Setting::Seed, "seed"),
    (Setting::FrequencyPenalty, "frequencyPenalty"),
    (Setting::PresencePenalty, "presencePenalty"),
];
/// What Google says to send as the proof of a call that its models did not make.
const NOT_OURS: &str = "skip_thought_signature_validator";
/// The most sequences that stop an answer.
const STOP_MAX: usize = 5;

pub(crate) fn write(asked: &Conversation, to: &To<'_>, ledger: &mut Ledger) -> Read<Json> {
    asked.must_begin()?;
    let mut body = object! {};
    let (instructions, turns) = asked.apart(takes, ledger);
    let (pairs, mut contents) = (Pairs::new(asked)?, Vec::new());
    for (role, parts) in turns {
        let role_name = if role == Role::Assistant { "model" } else { "user" };
        let parts = write_parts(&pairs, &parts, to, ledger)?;
        if !parts.is_empty() {
            contents.push(object! { "role": role_name, "parts": parts });
        }
    }
    let instructions = write_parts(&pairs, &instructions, to, ledger)?;
    if !instructions.is_empty() {
        body.put("systemInstruction", object! { "parts": instructions });
    }
    body.put("contents", contents);
    write_tools(asked, &mut body, ledger)?;
    let mut config = object! {};
    config.put_some("maxOutputTokens", asked.max_tokens);
    config.put_full("stopSequences", asked.stops(STOP_MAX)?);
    asked.settings(&SETTINGS, &mut config, ledger)?;
    if let Some((at, format)) = &asked.format {
        config.put("responseMimeType", "application/json");
        format.note_names(at, ledger);
        if let Format::Schema { schema, .. } = format {
            config.put("responseJsonSchema", schema.clone());
        }
    }
    if let Some(reasoning) = &asked.reasoning {
        config.put("thinkingConfig", write_reasoning(reasoning, (to.model, asked.max_tokens), ledger));
    }
    if !config.is_bare() {
        body.put("generationConfig", config);
    }
    if let Some((at, _)) = &asked.user {
        ledger.note(at.clone());
    }
    Ok(body)
}

fn write_tools(asked: &Conversation, body: &mut Json, ledger: &mut Ledger) -> Read<()> {
    let declarations = asked.tools.iter().map(|tool| {
        let mut written = object! { "name": tool.name.as_str() };
        written.put_some("description", tool.description.as_ref());
        written.put_some("parametersJsonSchema", tool.schema.clone());
        if tool.strict == Some(true) {
            ledger.note(format!("{}.strict", tool.at));
        }
        if tool.cache.is_some() {
            ledger.note(format!("{}.cache_control", tool.at));
        }
        written
    });
    let declarations: Vec<Json> = declarations.collect();
    if declarations.is_empty() {
        return Ok(());
    }
    body.put("tools", vec![object! { "functionDeclarations": declarations }]);
    asked.must_be_parallel()?;
    let names = |names: &[String]| -> Vec<Json> { names.iter().map(Json::from).collect() };
    let calling = match asked.choice.as_ref().map(|(_, choice)| choice) {
        None => return Ok(()),
        Some(Choice::Auto) => object! { "mode": "AUTO" },
        Some(Choice::None) => object! { "mode": "NONE" },
        Some(Choice::Required) => object! { "mode": "ANY" },
        Some(Choice::Named(name)) => object! { "mode": "ANY", "allowedFunctionNames": vec![Json::from(name)] },
        Some(Choice::Among { names: some, required: true }) => {
            object! { "mode": "ANY", "allowedFunctionNames": names(some) }
        }
        // Without having to call one, a choice among some is the mode in which calls keep to their schemas.
        Some(Choice::Among { names: some, required: false }) => {
            object! { "mode": "VALIDATED", "allowedFunctionNames": names(some) }
        }
    };
    body.put("toolConfig", object! { "functionCallingConfig": calling });
    Ok(())
}

fn write_parts(pairs: &Pairs<'_>, parts: &[&Part], to: &To<'_>, ledger: &mut Ledger) -> Read<Vec<Json>> {
    let (mut written, mut proof, mut has_call) = (Vec::<Json>::new(), None::<&Seal>, false);
    for part in parts {
        if part.cache.is_some() {
            ledger.note(format!("{}.cache_control", part.at));
        }
        match &part.what {
            What::Text(text) | What::Refusal(text) if text.is_empty() => {}
            What::Sealed(seal) if (seal.maker, seal.kind) == (Maker::Google, Kind::Call) => proof = Some(seal),
            What::Sealed(seal) if takes(&part.what) => written.push(prove(object! { "text": "" }, seal)),
            What::Thinking(text, seal) if takes(&part.what) => {
                let thought = object! { "text": text, "thought": true };
                written.push(if seal.data.is_empty() { thought } else { prove(thought, seal) });
            }
            What::Thinking(..) | What::Sealed(_) => part.note_reasoning(ledger),
            What::Call(call) => {
                let args = Json::raw_object(&call.arguments).ok_or_else(|| {
                    part.refuse("the provider takes a JSON object as the arguments of a call, and this is none")
                })?;
                let function = object! { "name": call.name.as_str(), "args": args, "id": call.id.as_str() };
                let mut written_call = object! { "functionCall": function };
                // One proof stands for the calls of a turn that are made at once: it is with the first.
                let foreign = (!has_call && needs_proof(to.model)).then_some(NOT_OURS);
                written_call.put_some("thoughtSignature", proof.take().map(|seal| seal.data.as_str()).or(foreign));
                has_call = true;
                written.push(written_call);
            }
            What::Result(outcome) => write_result(pairs, part, outcome, &mut written, ledger)?,
            _ => {
                written.extend(part.told(false).map(|told| object! { "text": told }));
                written.push(write_media(part, ledger)?);
            }
        }
    }
    Ok(written)
}

/// Whether reasoning is Google's own and is written as a part: the proof of a call stands in that of the call.
fn takes(reasoning: &What) -> bool {
    match reasoning {
        What::Thinking(_, seal) => seal.maker == Maker::Google,
        What::Sealed(seal) => seal.maker == Maker::Google && seal.kind != Kind::Call,
        _ => false,
    }
}

fn prove(mut part: Json, seal: &Seal) -> Json {
    part.put("thoughtSignature", seal.data.as_str());
    part
}

/// Whether a model refuses a call without a proof.
fn needs_proof(model: &str) -> bool {
    !["gemini-1", "gemini-2"].iter().any(|old| model.contains(old))
}

fn write_result(
    pairs: &Pairs<'_>,
    part: &Part,
    outcome: &Outcome,
    written: &mut Vec<Json>,
    ledger: &mut Ledger,
) -> Read<()> {
    let name = outcome.name.as_deref().or_else(|| pairs.name(part));
    let name =
        name.ok_or_else(|| part.refuse("the provider wants the name of the tool, and no call before it has this id"))?;
    let (mut texts, mut media) = (Vec::new(), Vec::new());
    outcome.note_caches(ledger);
    for part in &outcome.parts {
        if let What::Text(text) = &part.what {
            texts.push(text.as_str());
        } else {
            part.note_behind(ledger);
            media.extend(part.told(false).map(|told| object! { "text": told }));
            media.push(write_media(part, ledger)?);
        }
    }
    let text = texts.join("\n");
    // JSON stays JSON, so that the model sees members and not one text.
    let said = Json::raw_object(&text).filter(|_| !text.is_empty()).unwrap_or_else(|| text.into());
    let response = if outcome.is_error {
        object! { "error": said }
    } else {
        object! { "output": said }
    };
    let function = object! { "name": name, "id": outcome.id.as_str(), "response": response };
    written.push(object! { "functionResponse": function });
    written.extend(media);
    Ok(())
}

fn write_media(part: &Part, ledger: &mut Ledger) -> Read<Json> {
    let (What::Image(given) | What::File(given) | What::Audio(given)) = &part.what else {
        return match &part.what {
            What::Text(text) | What::Refusal(text) => Ok(object! { "text": text }),
            _ => Err(part.refuse("this kind of content has no place here")),
        };
    };
    if given.detail.as_deref().is_some_and(|detail| detail != "auto") {
        ledger.note(format!("{}.detail", part.at));
    }
    Ok(match &given.source {
        Source::Base64 { media, data } => object! { "inlineData": object! { "mimeType": media, "data": data } },
        Source::Text(text) => object! { "text": text },
        Source::Url(url) => {
            let media = media::of_name(url);
            let media =
                media.ok_or_else(|| part.refuse("the provider wants the type of a URL, and its ending tells none"))?;
            object! { "fileData": object! { "mimeType": media, "fileUri": url } }
        }
    })
}

/// The budgets that Gemini 2.5 Pro takes, and those that Flash-Lite and the others before Gemini 3 do, which take none too:
/// <https://ai.google.dev/gemini-api/docs/thinking>.
const PRO: RangeInclusive<u64> = 128..=32_768;
const FLASH_LITE: RangeInclusive<u64> = 512..=24_576;
const FLASH: RangeInclusive<u64> = 0..=24_576;

/// The levels that a model from Gemini 3 on takes, of which it refuses others; one that is not known is taken for one of the latest:
/// <https://ai.google.dev/gemini-api/docs/thinking>.
fn levels(model: &str) -> &'static [Effort] {
    const ALL: [Effort; 4] = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
    let has = |part: &&str| model.contains(*part);
    if has(&"flash") && has(&"-image") {
        &[Effort::Minimal, Effort::High]
    } else if has(&"gemini-3-pro") {
        &[Effort::Low, Effort::High]
    } else if ["flash-lite", "gemini-3-flash", "gemini-3.5-flash", "gemini-3.6-flash"].iter().any(has) {
        &ALL
    } else {
        &[Effort::Low, Effort::Medium, Effort::High]
    }
}

/// From Gemini 3 on models take a level, those before it a budget.
fn write_reasoning(reasoning: &Reasoning, (model, cap): (&str, Option<u64>), ledger: &mut Ledger) -> Json {
    let mut config = object! {};
    let by_budget = model.contains("gemini-2");
    let is_pro = model.contains("-pro");
    let range = if is_pro {
        PRO
    } else if model.contains("flash-lite") {
        FLASH_LITE
    } else {
        FLASH
    };
    match (reasoning.off, by_budget) {
        (true, true) if !is_pro => config.put("thinkingBudget", 0_u64),
        (true, true) => {
            ledger.note(format!("{} (the model always reasons; the least is asked for)", reasoning.at));
            config.put("thinkingBudget", *range.start());
        }
        (true, false) => {
            ledger.note(format!("{} (the model always reasons; the least is asked for)", reasoning.at));
            config.put_some("thinkingLevel", levels(model).first().map(|least| least.name()));
        }
        (false, true) => {
            let asked = reasoning.budget_within(cap);
            let budget = asked.map(|budget| budget.clamp(*range.start(), *range.end()));
            if budget != asked {
                ledger.note(format!("{} (its budget: the nearest that the model takes)", reasoning.at));
            }
            config.put_some("thinkingBudget", budget);
        }
        (false, false) => {
            config.put_some("thinkingLevel", reasoning.effort_of(levels(model), ledger));
        }
    }
    if reasoning.shown {
        config.put("includeThoughts", true);
    }
    config
}
