//! A message of Anthropic's, whole or event by event: a block of a whole one is a block that starts with all that it has.

use crate::{
    failing::Ended,
    translate::{
        fields::{Fields, Item, Ledger, Read},
        hub::{Block, Blocks, Event, Fault, Stop, Why, end},
        seal::{Kind, Maker},
    },
};

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    /// What the open block has been given at its start, where its input follows in pieces.
    input: Option<String>,
}

impl Reader {
    pub(crate) const fn new() -> Self {
        Self { blocks: Blocks::new(Maker::Anthropic), input: None }
    }

    pub(crate) fn whole(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        self.start(&mut body, out, ledger)
    }

    pub(crate) fn read(&mut self, mut event: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        match event.word("type")?.as_deref() {
            Some("message_start") => self.start(&mut event.need("message")?.object()?, out, ledger)?,
            Some("content_block_start") => self.block(event.need("content_block")?, out, ledger)?,
            Some("content_block_delta") => self.delta(event.need("delta")?, out, ledger)?,
            Some("content_block_stop") => self.close(out),
            Some("message_delta") => {
                self.stop(&mut event.need("delta")?.object()?, out, ledger)?;
                note_edits(&mut event, ledger);
                out.extend(event.take("tollgate").map(|aside| Event::Aside(aside.raw().to_owned())));
            }
            Some("error") => out.push(Event::Fault(fault(event.need("error")?)?)),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, message: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(model) = message.text("model")? {
            out.push(Event::Model(model));
        }
        for block in message.list("content")? {
            self.block(block, out, ledger)?;
            self.close(out);
        }
        note_edits(message, ledger);
        // A stream that goes on from a program's call can say all of it at its start.
        self.stop(message, out, ledger)
    }

    fn block(&mut self, block: Item<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let mut block = block.object()?;
        self.close(out);
        match block.word("type")?.as_deref() {
            Some("text") => {
                self.blocks.open(Block::Text, out);
                self.more(block.text("text")?.unwrap_or_default(), out);
                block.hints(&["citations"], ledger);
            }
            Some("thinking") => {
                self.blocks.open(Block::Thinking, out);
                self.more(block.text("thinking")?.unwrap_or_default(), out);
                self.blocks.prove(Kind::Thinking, &block.text("signature")?.unwrap_or_default());
            }
            Some("redacted_thinking") => {
                let data = block.text("data")?.unwrap_or_default();
                out.push(Event::Sealed(self.blocks.proof(Kind::Redacted, &data)));
            }
            Some("tool_use") => {
                self.blocks.open(Block::Call { id: block.need_text("id")?, name: block.need_text("name")? }, out);
                self.input = block.take("input").map(|input| input.raw().to_owned());
            }
            kind => ledger.note(format!("{} of the answer", kind.unwrap_or("a block"))),
        }
        Ok(())
    }

    fn delta(&mut self, delta: Item<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let mut delta = delta.object()?;
        if self.blocks.is_open().is_none() {
            return Ok(());
        }
        match delta.word("type")?.as_deref() {
            Some("text_delta") => self.more(delta.text("text")?.unwrap_or_default(), out),
            Some("thinking_delta") => self.more(delta.text("thinking")?.unwrap_or_default(), out),
            Some("input_json_delta") => {
                let more = delta.text("partial_json")?.unwrap_or_default();
                if !more.is_empty() {
                    self.input = None;
                }
                self.more(more, out);
            }
            Some("signature_delta") => {
                self.blocks.prove(Kind::Thinking, &delta.text("signature")?.unwrap_or_default());
            }
            kind => ledger.note(format!("{} of the answer", kind.unwrap_or("a delta"))),
        }
        Ok(())
    }

    fn more(&self, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            out.push(Event::More(text));
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some(input) = self.input.take() {
            out.push(Event::More(input));
        }
        self.blocks.close(out);
    }

    fn stop(&mut self, delta: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let Some(reason) = delta.text("stop_reason")? else { return Ok(()) };
        self.close(out);
        out.push(match reason.as_str() {
            "end_turn" => Event::Stop(Stop::End),
            "max_tokens" | "model_context_window_exceeded" => Event::Stop(Stop::Length),
            "tool_use" => Event::Stop(Stop::Tool),
            "stop_sequence" => Event::Stop(Stop::Sequence(delta.text("stop_sequence")?)),
            "refusal" => Event::Stop(Stop::Refusal(read_why(delta, ledger)?)),
            other => end(Ended::unknown(self.blocks.has_said()), ("stop_reason", other), None, ledger),
        });
        delta.hints(&["stop_details"], ledger);
        Ok(())
    }
}

fn read_why(delta: &mut Fields<'_>, ledger: &mut Ledger) -> Read<Why> {
    let Some(mut details) = delta.object("stop_details")? else { return Ok(Why::default()) };
    details.skip(&["type"]);
    let why = Why { category: details.text("category")?, explanation: details.text("explanation")? };
    details.rest(ledger);
    Ok(why)
}

/// Lists what Anthropic has left away of the conversation before it answered.
fn note_edits(told: &mut Fields<'_>, ledger: &mut Ledger) {
    if let Some(edits) = told.take("context_management").and_then(|edits| edits.object().ok()) {
        edits.rest(ledger);
    }
}

pub(crate) fn fault(error: Item<'_>) -> Read<Fault> {
    let mut error = error.object()?;
    let (message, code) = (error.text("message")?.unwrap_or_default(), error.text("type")?);
    let status = match code.as_deref() {
        Some("overloaded_error") => Some(529),
        Some("rate_limit_error") => Some(429),
        Some("invalid_request_error") => Some(400),
        _ => None,
    };
    Ok(Fault { message, code, status })
}
