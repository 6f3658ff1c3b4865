//! A client's Responses request, read. Items that only OpenAI can make or look up are refused.

use crate::translate::{
    fields::{Fields, Item, Ledger, Read, Refused},
    hub::{Call, Conversation, Media, Outcome, Part, Reasoning, Role, Source, Tool, What},
    openai_chat::request_in::{Place, knobs, read_choice, read_effort, read_file, read_format},
    seal::{Kind, Maker, Seal},
};

/// Members that the answer repeats.
const ECHO: [&str; 12] = [
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
];
/// Members that change nothing of what is answered.
const HINTS: [&str; 9] = [
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "max_tool_calls",
    "stream_options",
];
/// Members that only this dialect has, and the value that is the same as none.
const NEUTRAL: [(&str, &str); 3] = [("truncation", "\"disabled\""), ("top_logprobs", "0"), ("background", "false")];

pub(crate) fn read(mut body: Fields<'_>) -> Read<Conversation> {
    let mut asked = Conversation { model: body.need_text("model")?, wants_usage: true, ..Conversation::default() };
    for name in ECHO {
        asked.echo.extend(body.clone().json(name).map(|value| (name, value)));
    }
    asked.stream = body.flag("stream")?.unwrap_or(false);
    let at = body.path("instructions");
    if let Some(text) = body.text("instructions")? {
        asked.say(at.clone(), Role::System, vec![Part::new(at, What::Text(text))]);
    }
    for name in ["previous_response_id", "conversation", "prompt"] {
        if let Some(stored) = body.take(name) {
            return Err(
                stored.refuse("what is stored with one provider is not known to another: send the conversation whole")
            );
        }
    }
    let input = body.need("input")?;
    if let Some(text) = input.as_text() {
        asked.say(input.at.clone(), Role::User, vec![Part::new(input.at, What::Text(text))]);
    } else {
        for item in input.list()? {
            read_item(item, &mut asked)?;
        }
    }
    for tool in body.list("tools")? {
        asked.tools.push(read_tool(tool)?);
    }
    if let Some(choice) = body.take("tool_choice") {
        asked.choice = Some((choice.at.clone(), read_choice(choice, Place::Beside)?));
    }
    let at = body.path("parallel_tool_calls");
    asked.parallel = body.flag("parallel_tool_calls")?.map(|parallel| (at, parallel));
    asked.max_tokens = body.count("max_output_tokens")?;
    knobs(&mut body, &mut asked);
    if let Some(mut text) = body.object("text")? {
        if let Some(format) = text.take("format") {
            asked.format = read_format(format, Place::Beside)?;
        }
        text.neutral(&[("verbosity", "\"medium\"")])?;
        text.done()?;
    }
    if let Some(reasoning) = body.object("reasoning")? {
        asked.reasoning = read_reasoning(reasoning)?;
    }
    for wanted in body.list("include")? {
        if wanted.as_text().as_deref() != Some("reasoning.encrypted_content") {
            asked.ledger.note(wanted.at);
        }
    }
    let at = body.path("user");
    asked.user = body.text("user")?.map(|user| (at, user));
    body.hints(&HINTS, &mut asked.ledger);
    body.neutral(&NEUTRAL)?;
    body.done()?;
    Ok(asked)
}

fn read_reasoning(mut fields: Fields<'_>) -> Read<Option<Reasoning>> {
    let at = fields.path("effort");
    let effort = fields.text("effort")?;
    let summary = fields.take_either("summary", "generate_summary");
    fields.done()?;
    let mut reasoning = match effort {
        Some(effort) => read_effort(at, &effort)?,
        None if summary.is_some() => Reasoning { at: fields_at(&at), ..Reasoning::default() },
        None => return Ok(None),
    };
    reasoning.shown = summary.is_some();
    Ok(Some(reasoning))
}

/// The path of the object that a member stands in.
fn fields_at(member: &str) -> String {
    member.rsplit_once('.').map_or_else(String::new, |(object, _)| object.to_owned())
}

/// Adds a part to the turn that is open, if it is of this role.
fn join(asked: &mut Conversation, role: Role, parts: Vec<Part>, at: String) {
    match asked.turns.last_mut() {
        Some(last) if last.role == role && role == Role::Assistant => last.parts.extend(parts),
        _ => asked.say(at, role, parts),
    }
}

fn read_item(item: Item<'_>, asked: &mut Conversation) -> Read<()> {
    let mut fields = item.clone().object()?;
    let at = fields.at.clone();
    fields.skip(&["id", "status"]);
    fields.hints(&["phase"], &mut asked.ledger);
    let kind = fields.text("type")?;
    match kind.as_deref() {
        None | Some("message") => {
            let role = match fields.need_text("role")?.as_str() {
                "user" => Role::User,
                "assistant" => Role::Assistant,
                "system" => Role::System,
                "developer" => Role::Developer,
                _ => return Err(Refused::form(fields.path("role"), "no such role is known")),
            };
            let parts = read_content(fields.need("content")?, &mut asked.ledger)?;
            join(asked, role, parts, at);
        }
        Some("function_call") => {
            let id = fields.need_text("call_id")?;
            let (name, arguments) = (fields.need_text("name")?, fields.need_text("arguments")?);
            let call = Part::new(at.clone(), What::Call(Call { id, name, arguments }));
            join(asked, Role::Assistant, vec![call], at);
        }
        Some("function_call_output") => {
            let id = fields.need_text("call_id")?;
            let parts = read_content(fields.need("output")?, &mut asked.ledger)?;
            let what = What::Result(Outcome { id, name: None, parts, is_error: false });
            asked.say(at.clone(), Role::User, vec![Part::new(at, what)]);
        }
        Some("reasoning") => {
            let part = read_thinking(&mut fields)?;
            join(asked, Role::Assistant, vec![Part::new(at.clone(), part)], at);
        }
        _ => return Err(item.refuse("what OpenAI's own tools and stores make has no place at another provider")),
    }
    fields.done()
}

fn read_thinking(fields: &mut Fields<'_>) -> Read<What> {
    let mut texts = |name: &str| -> Read<String> {
        let text = |part: Item<'_>| {
            let mut part = part.object()?;
            part.skip(&["type"]);
            let text = part.need_text("text")?;
            part.done().map(|()| text)
        };
        fields.list(name)?.into_iter().map(text).collect()
    };
    let (summary, content) = (texts("summary")?, texts("content")?);
    let Some(packed) = fields.text("encrypted_content")? else {
        return Ok(What::Thinking(if content.is_empty() { summary } else { content }, Seal::none()));
    };
    let seal = Seal::unpack(packed, Maker::OpenAi, Kind::Redacted);
    Ok(match seal.kind {
        Kind::Thinking | Kind::Plan => What::Thinking(summary, seal),
        Kind::Redacted | Kind::Call | Kind::Text => What::Sealed(seal),
    })
}

fn read_content(content: Item<'_>, ledger: &mut Ledger) -> Read<Vec<Part>> {
    if let Some(text) = content.as_text() {
        return Ok(vec![Part::new(content.at.clone(), What::Text(text))]);
    }
    content.list()?.into_iter().map(|part| read_part(part, ledger)).collect()
}

fn read_part(part: Item<'_>, ledger: &mut Ledger) -> Read<Part> {
    let mut fields = part.clone().object()?;
    let at = fields.at.clone();
    let what = match fields.need_text("type")?.as_str() {
        "input_text" | "output_text" | "text" => {
            fields.skip(&["logprobs"]);
            fields.hints(&["annotations", "prompt_cache_breakpoint"], ledger);
            What::Text(fields.need_text("text")?)
        }
        "refusal" => What::Refusal(fields.need_text("refusal")?),
        "input_image" => {
            lies_elsewhere(&mut fields)?;
            let detail = fields.text("detail")?;
            let url = fields.path("image_url");
            What::Image(Media { detail, ..Media::new(Source::of_url(fields.need_text("image_url")?, &url)?) })
        }
        "input_file" => {
            fields.hints(&["detail"], ledger);
            if let Some(url) = fields.text("file_url")? {
                What::File(Media { name: fields.text("filename")?, ..Media::new(Source::Url(url)) })
            } else {
                return Ok(Part::new(at, What::File(read_file(fields)?)));
            }
        }
        _ => return Err(part.refuse("no other provider takes a part of this type")),
    };
    fields.done()?;
    Ok(Part::new(at, what))
}

fn lies_elsewhere(fields: &mut Fields<'_>) -> Read<()> {
    match fields.take("file_id") {
        Some(id) => Err(id.refuse("a file that lies with one provider is not known to another: send its data")),
        None => Ok(()),
    }
}

fn read_tool(tool: Item<'_>) -> Read<Tool> {
    let mut fields = tool.clone().object()?;
    if fields.need_text("type")? != "function" {
        return Err(tool.refuse("only functions can be carried to another provider"));
    }
    let tool = Tool {
        at: fields.at.clone(),
        name: fields.need_text("name")?,
        description: fields.text("description")?,
        schema: fields.json("parameters"),
        strict: fields.flag("strict")?,
        cache: None,
    };
    fields.done()?;
    Ok(tool)
}
