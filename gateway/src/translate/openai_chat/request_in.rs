//! A client's chat completions request, read. What only this dialect has is refused unless it has its neutral value.

use crate::translate::{
    fields::{Fields, Item, Ledger, Read, Refused},
    hub::{
        Cache, Call, Choice, Conversation, Effort, Format, Knob, Media, Outcome, Part, Reasoning, Role, Setting,
        Source, Tool, What,
    },
    media,
    openai_chat::order::{After, put_back},
    seal::{Kind, Maker, Seal},
};

/// Members that change nothing of what is answered.
const HINTS: [&str; 8] = [
    "metadata",
    "store",
    "service_tier",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
];

/// Members that only this dialect has, and the value that is the same as none.
const NEUTRAL: [(&str, &str); 5] = [
    ("n", "1"),
    ("logprobs", "false"),
    ("top_logprobs", "0"),
    ("modalities", "[\"text\"]"),
    ("verbosity", "\"medium\""),
];

/// The settings of the dialects of OpenAI.
pub(crate) const SETTINGS: [(Setting, &str); 5] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::Seed, "seed"),
    (Setting::FrequencyPenalty, "frequency_penalty"),
    (Setting::PresencePenalty, "presence_penalty"),
];

pub(crate) fn read(mut body: Fields<'_>) -> Read<Conversation> {
    let mut asked = Conversation { model: body.need_text("model")?, ..Conversation::default() };
    asked.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = body.object("stream_options")? {
        asked.wants_usage = options.flag("include_usage")?.unwrap_or(false);
        options.rest(&mut asked.ledger);
    }
    for message in body.need("messages")?.list()? {
        read_message(message, &mut asked)?;
    }
    for tool in body.list("tools")? {
        asked.tools.push(read_tool(tool)?);
    }
    if let Some(choice) = body.take("tool_choice") {
        asked.choice = Some((choice.at.clone(), read_choice(choice, Place::Within)?));
    }
    let at = body.path("parallel_tool_calls");
    asked.parallel = body.flag("parallel_tool_calls")?.map(|parallel| (at, parallel));
    let (capped, at) = (body.count("max_tokens")?, body.path("max_tokens"));
    asked.max_tokens = body.count("max_completion_tokens")?.or(capped);
    if capped.is_some() && capped != asked.max_tokens {
        asked.ledger.note(at);
    }
    asked.stop = ("stop", read_stop(&mut body)?);
    knobs(&mut body, &mut asked);
    if let Some(format) = body.take("response_format") {
        asked.format = read_format(format, Place::Within)?;
    }
    let at = body.path("reasoning_effort");
    if let Some(effort) = body.text("reasoning_effort")? {
        asked.reasoning = Some(read_effort(at, &effort)?);
    }
    let at = body.path("user");
    asked.user = body.text("user")?.map(|user| (at, user));
    body.hints(&HINTS, &mut asked.ledger);
    body.neutral(&NEUTRAL)?;
    body.done()?;
    Ok(asked)
}

pub(crate) fn knobs(body: &mut Fields<'_>, asked: &mut Conversation) {
    for (setting, name) in SETTINGS.into_iter().chain([(Setting::TopK, "top_k")]) {
        if let Some(item) = body.take(name) {
            asked.knobs.push(Knob { at: item.at.clone(), setting, value: item.json() });
        }
    }
}

pub(crate) fn read_effort(at: String, effort: &str) -> Read<Reasoning> {
    if effort == "none" {
        return Ok(Reasoning { at, off: true, ..Reasoning::default() });
    }
    let known = Effort::parse(effort).ok_or_else(|| Refused::form(at.clone(), "no such effort is known"))?;
    Ok(Reasoning { at, effort: Some(known), ..Reasoning::default() })
}

fn read_stop(body: &mut Fields<'_>) -> Read<Vec<String>> {
    match body.take("stop") {
        None => Ok(Vec::new()),
        Some(one) if one.as_text().is_some() => Ok(one.as_text().into_iter().collect()),
        Some(several) => several.list()?.into_iter().map(Item::text).collect(),
    }
}

fn read_message(message: Item<'_>, asked: &mut Conversation) -> Read<()> {
    let mut fields = message.object()?;
    let at = fields.at.clone();
    let role = match fields.need_text("role")?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => return read_result(fields, asked),
        _ => return Err(Refused::form(fields.path("role"), "no such role is known")),
    };
    fields.hints(&["name"], &mut asked.ledger);
    let mut parts = Vec::new();
    if role == Role::Assistant {
        read_reasoning(&mut fields, &mut parts)?;
    }
    parts.extend(read_content(&mut fields, &mut asked.ledger)?);
    if let Some(refusal) = fields.text("refusal")?.filter(|refusal| !refusal.is_empty()) {
        parts.push(Part::new(fields.path("refusal"), What::Refusal(refusal)));
    }
    let (proofs, reasoning) = if role == Role::Assistant {
        read_proofs(&mut fields, &mut parts, &mut asked.ledger)?
    } else {
        (Vec::new(), Vec::new())
    };
    for call in fields.list("tool_calls")? {
        let call = read_call(call)?;
        let proof = proofs.iter().find(|(id, _)| matches!(&call.what, What::Call(call) if call.id == *id));
        parts.extend(proof.map(|(_, seal)| Part::new(call.at.clone(), What::Sealed(seal.clone()))));
        parts.push(call);
    }
    // What a provider's answer has and a client sends back with it.
    fields.hints(&["annotations"], &mut asked.ledger);
    fields.done()?;
    asked.say(at, role, put_back(parts, reasoning));
    Ok(())
}

fn read_result(mut fields: Fields<'_>, asked: &mut Conversation) -> Read<()> {
    let at = fields.at.clone();
    let id = fields.need_text("tool_call_id")?;
    let name = fields.text("name")?;
    let cache = Cache::read(&mut fields)?;
    let parts = read_content(&mut fields, &mut asked.ledger)?;
    fields.done()?;
    let what = What::Result(Outcome { id, name, parts, is_error: false });
    asked.say(at.clone(), Role::User, vec![Part { at, cache, what }]);
    Ok(())
}

/// The reasoning of a message that this gateway, or a provider that shows it, gave earlier.
fn read_reasoning(fields: &mut Fields<'_>, parts: &mut Vec<Part>) -> Read<()> {
    let at = fields.path("reasoning_content");
    let other = fields.text("reasoning")?;
    let said = fields.text("reasoning_content")?.or(other);
    let has_details = fields.clone().take("reasoning_details").is_some();
    if let Some(said) = said.filter(|said| !said.is_empty() && !has_details) {
        parts.push(Part::new(at, What::Thinking(said, Seal::none())));
    }
    Ok(())
}

/// Proofs of calls with the id of their call, and reasoning with what it stood behind.
type Proofs = (Vec<(String, Seal)>, Vec<(After, Part)>);

/// The entries of `reasoning_details`.
fn read_proofs(fields: &mut Fields<'_>, parts: &mut Vec<Part>, ledger: &mut Ledger) -> Read<Proofs> {
    let (mut proofs, mut reasoning) = (Vec::new(), Vec::new());
    for detail in fields.list("reasoning_details")? {
        let mut detail = detail.object()?;
        let at = detail.at.clone();
        let maker = detail.text("format")?.as_deref().and_then(Maker::of_format).unwrap_or(Maker::Chat);
        let (id, after) = (detail.text("id")?, After::read(&mut detail)?);
        detail.skip(&["index"]);
        match detail.need_text("type")?.as_str() {
            "reasoning.text" => {
                let (text, data) = (detail.text("text")?.unwrap_or_default(), detail.text("signature")?);
                let kind = if id.as_deref() == Some("plan") { Kind::Plan } else { Kind::Thinking };
                let part = What::Thinking(text, Seal::new(maker, kind, data.unwrap_or_default()));
                reasoning.push((after, Part::new(at, part)));
            }
            "reasoning.encrypted" => {
                let data = detail.need_text("data")?;
                match (maker, id) {
                    (Maker::Google, Some(id)) => proofs.push((id, Seal::new(maker, Kind::Call, data))),
                    (Maker::Google, None) => {
                        parts.push(Part::new(at, What::Sealed(Seal::new(maker, Kind::Text, data))));
                    }
                    _ => reasoning.push((after, Part::new(at, What::Sealed(Seal::new(maker, Kind::Redacted, data))))),
                }
            }
            // A summary is only shown, and proves nothing.
            _ => {
                detail.skip(&["summary"]);
                ledger.note(format!("{at} (reasoning)"));
            }
        }
        detail.done()?;
    }
    Ok((proofs, reasoning))
}

fn read_content(fields: &mut Fields<'_>, ledger: &mut Ledger) -> Read<Vec<Part>> {
    let Some(content) = fields.take("content") else { return Ok(Vec::new()) };
    if let Some(text) = content.as_text() {
        return Ok(vec![Part::new(content.at.clone(), What::Text(text))]);
    }
    content.list()?.into_iter().map(|part| read_part(part, ledger)).collect()
}

fn read_part(part: Item<'_>, ledger: &mut Ledger) -> Read<Part> {
    let mut fields = part.clone().object()?;
    let at = fields.at.clone();
    let cache = Cache::read(&mut fields)?;
    let what = match fields.need_text("type")?.as_str() {
        "text" => What::Text(fields.need_text("text")?),
        "refusal" => What::Refusal(fields.need_text("refusal")?),
        "image_url" => {
            let mut image = fields.need("image_url")?.object()?;
            let source = Source::of_url(image.need_text("url")?, &image.at)?;
            let detail = image.text("detail")?;
            image.done()?;
            What::Image(Media { detail, ..Media::new(source) })
        }
        "input_audio" => {
            let mut audio = fields.need("input_audio")?.object()?;
            let media = format!("audio/{}", audio.need_text("format")?);
            let source = Source::Base64 { media, data: audio.need_text("data")? };
            audio.done()?;
            What::Audio(Media::new(source))
        }
        "file" => What::File(read_file(fields.need("file")?.object()?)?),
        _ => return Err(part.refuse("no other provider takes a part of this type")),
    };
    fields.rest(ledger);
    Ok(Part { at, cache, what })
}

/// A file with its data; one that is only named lies with one provider.
pub(crate) fn read_file(mut file: Fields<'_>) -> Read<Media> {
    if let Some(id) = file.take("file_id") {
        return Err(id.refuse("a file that lies with one provider is not known to another: send its data"));
    }
    let (data, name) = (file.need_text("file_data")?, file.text("filename")?);
    let at = file.path("file_data");
    file.done()?;
    // Some servers of the dialect take a URL in place of data.
    let source = if ["data:", "http:", "https:"].iter().any(|scheme| data.starts_with(scheme)) {
        Source::of_url(data, &at)?
    } else {
        let media = name.as_deref().and_then(media::of_name).unwrap_or("application/pdf");
        Source::Base64 { media: media.to_owned(), data }
    };
    Ok(Media { name, ..Media::new(source) })
}

fn read_call(call: Item<'_>) -> Read<Part> {
    let mut fields = call.clone().object()?;
    let at = fields.at.clone();
    if fields.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(call.refuse("only functions can be called elsewhere"));
    }
    fields.skip(&["index"]);
    let id = fields.need_text("id")?;
    let mut function = fields.need("function")?.object()?;
    let (name, arguments) = (function.need_text("name")?, function.text("arguments")?.unwrap_or_default());
    function.done()?;
    fields.done()?;
    Ok(Part::new(at, What::Call(Call { id, name, arguments })))
}

fn read_tool(tool: Item<'_>) -> Read<Tool> {
    let mut fields = tool.clone().object()?;
    // Some servers of the dialect take a function that does not say so.
    if fields.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(tool.refuse("only functions can be carried to another provider"));
    }
    let cache = Cache::read(&mut fields)?;
    let mut function = fields.need("function")?.object()?;
    let tool = Tool {
        at: fields.at.clone(),
        name: function.need_text("name")?,
        description: function.text("description")?,
        schema: function.json("parameters"),
        strict: function.flag("strict")?,
        cache,
    };
    function.done()?;
    fields.done()?;
    Ok(tool)
}

/// Where the dialects of OpenAI say what a thing of a type is.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In an object that is named as the type: chat completions.
    Within,
    /// Beside the type: responses.
    Beside,
}

impl Place {
    /// Reads what is said of a thing of this type; what else is said there is refused.
    fn read<'t, T>(self, mut fields: Fields<'t>, kind: &str, read: impl FnOnce(&mut Fields<'t>) -> Read<T>) -> Read<T> {
        let found = match self {
            Self::Within => {
                let mut within = fields.need(kind)?.object()?;
                let found = read(&mut within)?;
                within.done()?;
                found
            }
            Self::Beside => read(&mut fields)?,
        };
        fields.done()?;
        Ok(found)
    }

    fn read_named(self, tool: Item<'_>) -> Read<String> {
        let mut fields = tool.object()?;
        fields.skip(&["type"]);
        self.read(fields, "function", |function| function.need_text("name"))
    }
}

pub(crate) fn read_choice(choice: Item<'_>, place: Place) -> Read<Choice> {
    if let Some(word) = choice.as_text() {
        return match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" | "any" => Ok(Choice::Required),
            _ => Err(Refused::form(choice.at, "no such choice is known")),
        };
    }
    let mut fields = choice.clone().object()?;
    match fields.need_text("type")?.as_str() {
        "function" => place.read(fields, "function", |function| function.need_text("name")).map(Choice::Named),
        "allowed_tools" => place.read(fields, "allowed_tools", |allowed| {
            let names = allowed.list("tools")?.into_iter().map(|tool| place.read_named(tool)).collect::<Read<_>>()?;
            Ok(Choice::Among { names, required: allowed.text("mode")?.as_deref() == Some("required") })
        }),
        _ => Err(choice.refuse("only functions can be chosen elsewhere")),
    }
}

pub(crate) fn read_format(format: Item<'_>, place: Place) -> Read<Option<(String, Format)>> {
    let mut fields = format.clone().object()?;
    let at = fields.at.clone();
    let found = match fields.need_text("type")?.as_str() {
        "text" => None,
        "json_object" => Some(Format::Object),
        "json_schema" => {
            return place.read(fields, "json_schema", read_schema).map(|found| Some((at, found)));
        }
        _ => return Err(format.refuse("no other provider has a format of this type")),
    };
    fields.done()?;
    Ok(found.map(|found| (at, found)))
}

/// A named schema.
fn read_schema(fields: &mut Fields<'_>) -> Read<Format> {
    Ok(Format::Schema {
        name: Some(fields.need_text("name")?),
        description: fields.text("description")?,
        schema: fields.need("schema")?.json(),
        strict: fields.flag("strict")?,
    })
}
