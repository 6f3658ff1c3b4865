//! A client's messages request, read. Tools that Anthropic runs, files that lie with it and its stored state are refused.

use crate::translate::{
    fields::{Fields, Item, Ledger, Read, Refused},
    hub::{
        Cache, Call, Choice, Conversation, Effort, Format, Knob, Media, Outcome, Part, Reasoning, Role, Setting,
        Source, Tool, What,
    },
    seal::{Kind, Maker, Seal},
};

pub(crate) const SETTINGS: [(Setting, &str); 3] =
    [(Setting::Temperature, "temperature"), (Setting::TopP, "top_p"), (Setting::TopK, "top_k")];

pub(crate) fn read(mut body: Fields<'_>) -> Read<Conversation> {
    let mut asked = Conversation { model: body.need_text("model")?, wants_usage: true, ..Conversation::default() };
    asked.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(system) = body.take("system") {
        let at = system.at.clone();
        let parts = read_content(system, &mut asked.ledger)?;
        asked.say(at, Role::System, parts);
    }
    for message in body.need("messages")?.list()? {
        let mut message = message.object()?;
        let role = match message.need_text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(Refused::form(message.path("role"), "no such role is known")),
        };
        let parts = read_content(message.need("content")?, &mut asked.ledger)?;
        let at = message.at.clone();
        message.done()?;
        asked.say(at, role, parts);
    }
    // A text at the end is the begin of the answer.
    let last = asked.turns.last().filter(|turn| turn.role == Role::Assistant);
    asked.prefill =
        last.filter(|turn| turn.parts.last().is_some_and(|part| part.text().is_some())).map(|turn| turn.at.clone());
    for tool in body.list("tools")? {
        let tool = read_tool(tool, &mut asked.ledger)?;
        asked.tools.push(tool);
    }
    if let Some(choice) = body.object("tool_choice")? {
        read_choice(choice, &mut asked)?;
    }
    asked.max_tokens = body.count("max_tokens")?;
    let stop = body.list("stop_sequences")?.into_iter().map(Item::text).collect::<Read<_>>()?;
    asked.stop = ("stop_sequences", stop);
    for (setting, name) in SETTINGS {
        if let Some(item) = body.take(name) {
            asked.knobs.push(Knob { at: item.at.clone(), setting, value: item.json() });
        }
    }
    asked.reasoning = read_reasoning(&mut body)?;
    read_format(&mut body, &mut asked)?;
    if let Some(mut metadata) = body.object("metadata")? {
        let at = metadata.path("user_id");
        asked.user = metadata.text("user_id")?.map(|user| (at, user));
        metadata.rest(&mut asked.ledger);
    }
    body.hints(&["service_tier", "cache_control"], &mut asked.ledger);
    body.done()?;
    Ok(asked)
}

fn read_content(content: Item<'_>, ledger: &mut Ledger) -> Read<Vec<Part>> {
    if let Some(text) = content.as_text() {
        return Ok(vec![Part::new(content.at.clone(), What::Text(text))]);
    }
    let mut parts = Vec::new();
    for block in content.list()? {
        read_block(block, &mut parts, ledger)?;
    }
    Ok(parts)
}

fn read_block(block: Item<'_>, parts: &mut Vec<Part>, ledger: &mut Ledger) -> Read<()> {
    let mut fields = block.clone().object()?;
    let at = fields.at.clone();
    let cache = Cache::read(&mut fields)?;
    let what = match fields.need_text("type")?.as_str() {
        "text" => {
            fields.hints(&["citations"], ledger);
            What::Text(fields.need_text("text")?)
        }
        "image" => What::Image(Media::new(read_source(fields.need("source")?)?)),
        "document" => {
            let mut document = read_document(&mut fields, ledger)?;
            if let Some(last) = document.last_mut() {
                last.cache = cache.or(last.cache);
            }
            parts.extend(document);
            return fields.done();
        }
        "tool_use" => {
            if let Some(mut caller) = fields.object("caller")? {
                // The model itself calls directly; code that Anthropic runs may call as well.
                if caller.text("type")?.as_deref() != Some("direct") {
                    ledger.note(caller.at);
                }
            }
            let (id, name) = (fields.need_text("id")?, fields.need_text("name")?);
            let arguments = fields.take("input").map_or_else(|| "{}".to_owned(), |input| input.raw().to_owned());
            What::Call(Call { id, name, arguments })
        }
        "tool_result" => {
            let id = fields.need_text("tool_use_id")?;
            let is_error = fields.flag("is_error")?.unwrap_or(false);
            let parts = fields.take("content").map_or_else(|| Ok(Vec::new()), |said| read_content(said, ledger))?;
            What::Result(Outcome { id, name: None, parts, is_error })
        }
        "thinking" => {
            let signature = fields.text("signature")?.unwrap_or_default();
            let said = fields.need_text("thinking")?;
            What::Thinking(said, Seal::unpack(signature, Maker::Anthropic, Kind::Thinking))
        }
        "redacted_thinking" => What::Sealed(Seal::unpack(fields.need_text("data")?, Maker::Anthropic, Kind::Redacted)),
        _ => return Err(block.refuse("what Anthropic's own tools and stores make has no place at another provider")),
    };
    fields.done()?;
    parts.push(Part { at, cache, what });
    Ok(())
}

fn read_source(source: Item<'_>) -> Read<Source> {
    let mut fields = source.clone().object()?;
    let found = match fields.need_text("type")?.as_str() {
        "base64" => Source::base64(fields.need_text("media_type")?, fields.need_text("data")?),
        "url" => Source::Url(fields.need_text("url")?),
        "text" => {
            fields.skip(&["media_type"]);
            Source::Text(fields.need_text("data")?)
        }
        "file" => {
            return Err(source.refuse("a file that lies with one provider is not known to another: send its data"));
        }
        _ => return Err(source.refuse("a source of this type is not known here and so cannot be carried over")),
    };
    fields.done()?;
    Ok(found)
}

/// A document. One that is given as blocks becomes these, behind what the client says of it: no other provider has a place for one.
fn read_document(fields: &mut Fields<'_>, ledger: &mut Ledger) -> Read<Vec<Part>> {
    if let Some(mut citations) = fields.object("citations")? {
        citations.neutral(&[("enabled", "false")])?;
    }
    let (at, source) = (fields.at.clone(), fields.need("source")?);
    let name = fields.text("title")?;
    let context = fields.text("context")?.filter(|context| !context.is_empty());
    let Some(blocks) = read_blocks(source.clone(), ledger)? else {
        return Ok(vec![Part::new(at, What::File(Media { name, context, ..Media::new(read_source(source)?) }))]);
    };
    let about = What::File(Media { name, context, ..Media::new(Source::Text(String::new())) });
    let told = Part::new(at.clone(), about).told(false).map(|told| Part::new(at, What::Text(told)));
    Ok(told.into_iter().chain(blocks).collect())
}

/// The texts and images that a document is given as; nothing if it is given otherwise.
fn read_blocks(source: Item<'_>, ledger: &mut Ledger) -> Read<Option<Vec<Part>>> {
    let mut fields = source.object()?;
    if fields.need_text("type")? != "content" {
        return Ok(None);
    }
    let blocks = read_content(fields.need("content")?, ledger)?;
    fields.done()?;
    match blocks.iter().find(|block| !matches!(block.what, What::Text(_) | What::Image(_))) {
        Some(other) => Err(Refused::form(other.at.clone(), "a document is made of texts and images only")),
        None => Ok(Some(blocks)),
    }
}

fn read_tool(tool: Item<'_>, ledger: &mut Ledger) -> Read<Tool> {
    let mut fields = tool.clone().object()?;
    if fields.text("type")?.is_some_and(|kind| kind != "custom") {
        return Err(tool.refuse("a tool that Anthropic runs or defines cannot be carried to another provider"));
    }
    let cache = Cache::read(&mut fields)?;
    fields.hints(&["eager_input_streaming", "defer_loading", "input_examples"], ledger);
    let tool = Tool {
        at: fields.at.clone(),
        name: fields.need_text("name")?,
        description: fields.text("description")?,
        schema: fields.json("input_schema"),
        strict: fields.flag("strict")?,
        cache,
    };
    fields.done()?;
    Ok(tool)
}

fn read_choice(mut fields: Fields<'_>, asked: &mut Conversation) -> Read<()> {
    let choice = match fields.need_text("type")?.as_str() {
        "auto" => Choice::Auto,
        "any" => Choice::Required,
        "none" => Choice::None,
        "tool" => Choice::Named(fields.need_text("name")?),
        _ => return Err(Refused::form(fields.path("type"), "no such choice is known")),
    };
    let at = fields.path("disable_parallel_tool_use");
    asked.parallel = fields.flag("disable_parallel_tool_use")?.map(|disable| (at, !disable));
    asked.choice = Some((fields.at.clone(), choice));
    fields.done()
}

fn read_reasoning(body: &mut Fields<'_>) -> Read<Option<Reasoning>> {
    let Some(mut thinking) = body.object("thinking")? else { return Ok(None) };
    let mut reasoning = Reasoning { at: thinking.at.clone(), ..Reasoning::default() };
    match thinking.need_text("type")?.as_str() {
        "enabled" => reasoning.budget = Some(thinking.count("budget_tokens")?.unwrap_or(Effort::Medium.budget())),
        "adaptive" => {}
        "disabled" => reasoning.off = true,
        _ => return Err(Refused::form(thinking.path("type"), "no such kind of thinking is known")),
    }
    reasoning.hidden = thinking.text("display")?.as_deref() == Some("omitted");
    reasoning.shown = !reasoning.hidden && !reasoning.off;
    thinking.done()?;
    Ok(Some(reasoning))
}

/// The form of the output and the effort, which stand together.
fn read_format(body: &mut Fields<'_>, asked: &mut Conversation) -> Read<()> {
    let mut format = body.take("output_format");
    if let Some(mut config) = body.object("output_config")? {
        format = config.take("format").or(format);
        let at = config.path("effort");
        if let Some(effort) = config.text("effort")? {
            let known = Effort::parse(&effort).ok_or_else(|| Refused::form(at.clone(), "no such effort is known"))?;
            let reasoning = asked.reasoning.get_or_insert_with(|| Reasoning { at, ..Reasoning::default() });
            reasoning.effort = Some(known);
        }
        config.done()?;
    }
    let Some(format) = format else { return Ok(()) };
    let mut fields = format.clone().object()?;
    if fields.need_text("type")? != "json_schema" {
        return Err(format.refuse("no other provider has a format of this type"));
    }
    let schema = fields.need("schema")?.json();
    fields.done()?;
    asked.format = Some((format.at, Format::Schema { name: None, description: None, schema, strict: None }));
    Ok(())
}
