//! An answer of Cohere's chat, whole or event by event.

use crate::{
    failing,
    translate::{
        fields::{Fields, Item, Ledger, Read},
        hub::{Block, Blocks, Event, Fault, end},
        ids::Ids,
        seal::{Kind, Maker},
    },
};

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    ids: Ids,
}

impl Reader {
    pub(crate) fn new(ids: Ids) -> Self {
        Self { blocks: Blocks::new(Maker::Cohere), ids }
    }

    pub(crate) fn whole(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let mut message = body.need("message")?.object()?;
        self.think(message.text("tool_plan")?.unwrap_or_default(), Kind::Plan, out);
        for part in message.list("content")? {
            self.blocks.close(out);
            self.content(part.object()?, out)?;
        }
        for call in message.list("tool_calls")? {
            self.call(call.object()?, out)?;
        }
        message.skip(&["role"]);
        message.rest(ledger);
        self.stop(&mut body, out, ledger)
    }

    pub(crate) fn read(&mut self, mut event: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let kind = event.text("type")?.unwrap_or_default();
        let Some(mut delta) = event.object("delta")? else { return self.ended(&kind, out) };
        if kind == "message-end" {
            if let Some(error) = delta.take("error") {
                let message = error.as_text().unwrap_or_else(|| error.raw().to_owned());
                out.push(Event::Fault(Fault { message, ..Fault::default() }));
                return Ok(());
            }
            self.stop(&mut delta, out, ledger)?;
            out.extend(event.take("tollgate").map(|aside| Event::Aside(aside.raw().to_owned())));
            return Ok(());
        }
        let Some(mut message) = delta.object("message")? else { return Ok(()) };
        match kind.as_str() {
            "message-start" => {}
            "content-start" | "content-delta" => {
                if let Some(content) = message.object("content")? {
                    if kind == "content-start" {
                        self.blocks.close(out);
                    }
                    self.content(content, out)?;
                }
            }
            "tool-plan-delta" => self.think(message.text("tool_plan")?.unwrap_or_default(), Kind::Plan, out),
            "tool-call-start" => {
                if let Some(call) = message.object("tool_calls")? {
                    self.call(call, out)?;
                }
            }
            "tool-call-delta" => {
                if let Some(mut call) = message.object("tool_calls")?
                    && let Some(function) = call.object("function")?
                {
                    self.arguments(function, out)?;
                }
            }
            other => ledger.note(format!("{other} of the answer")),
        }
        Ok(())
    }

    fn ended(&mut self, kind: &str, out: &mut Vec<Event>) -> Read<()> {
        if matches!(kind, "content-end" | "tool-call-end") {
            self.blocks.close(out);
        }
        Ok(())
    }

    fn content(&mut self, mut part: Fields<'_>, out: &mut Vec<Event>) -> Read<()> {
        self.think(part.text("thinking")?.unwrap_or_default(), Kind::Thinking, out);
        if let Some(text) = part.text("text")?.filter(|text| !text.is_empty()) {
            self.blocks.more(Block::Text, text, out);
        }
        Ok(())
    }

    fn think(&mut self, more: String, kind: Kind, out: &mut Vec<Event>) {
        if !more.is_empty() {
            self.blocks.more(Block::Thinking, more, out);
            self.blocks.prove(kind, "");
        }
    }

    fn call(&mut self, mut call: Fields<'_>, out: &mut Vec<Event>) -> Read<()> {
        self.blocks.close(out);
        let id = call.text("id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| self.ids.make());
        let mut function = call.need("function")?.object()?;
        self.blocks.open(Block::Call { id, name: function.need_text("name")? }, out);
        self.arguments(function, out)
    }

    fn arguments(&self, mut function: Fields<'_>, out: &mut Vec<Event>) -> Read<()> {
        let more = function.text("arguments")?.filter(|more| !more.is_empty() && self.blocks.is_open().is_some());
        out.extend(more.map(Event::More));
        Ok(())
    }

    fn stop(&mut self, body: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        self.blocks.close(out);
        let reason = body.need_text("finish_reason")?;
        let ended = failing::cohere(&reason, self.blocks.has_said());
        out.push(end(ended, ("finish_reason", &reason), None, ledger));
        Ok(())
    }
}

pub(crate) fn fault(mut error: Fields<'_>) -> Read<Fault> {
    let message = error.take("message").as_ref().and_then(Item::as_text).unwrap_or_default();
    Ok(Fault { message, ..Fault::default() })
}
