//! An answer of Converse, whole, or event by event of its stream, each named by the `:event-type` of its message.

use crate::{
    failing::{self, Ended},
    translate::{
        fields::{Fields, Item, Ledger, Read},
        hub::{Block, Blocks, Event, Fault, Stop, end},
        seal::{Kind, Maker},
    },
};

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    /// The block is one that is not carried.
    is_aside: bool,
}

impl Reader {
    pub(crate) const fn new(maker: Maker) -> Self {
        Self { blocks: Blocks::new(maker), is_aside: false }
    }

    pub(crate) fn whole(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(mut output) = body.object("output")?
            && let Some(mut message) = output.object("message")?
        {
            for block in message.list("content")? {
                self.block(block.object()?, out, ledger)?;
                self.blocks.close(out);
            }
        }
        self.stop(&mut body, out, ledger)?;
        note_trace(body, ledger);
        Ok(())
    }

    pub(crate) fn read(
        &mut self,
        name: &str,
        mut event: Fields<'_>,
        out: &mut Vec<Event>,
        ledger: &mut Ledger,
    ) -> Read<()> {
        match name {
            "contentBlockStart" => {
                self.blocks.close(out);
                self.is_aside = false;
                if let Some(start) = event.object("start")? {
                    self.block(start, out, ledger)?;
                }
            }
            "contentBlockDelta" => {
                if let Some(delta) = event.object("delta")?.filter(|_| !self.is_aside) {
                    self.block(delta, out, ledger)?;
                }
            }
            "contentBlockStop" => {
                self.blocks.close(out);
                self.is_aside = false;
            }
            "messageStop" => self.stop(&mut event, out, ledger)?,
            "metadata" => note_trace(event, ledger),
            "messageStart" | "initial-response" => {}
            other => ledger.note(format!("{other} of the answer")),
        }
        Ok(())
    }

    /// A block, the start of one or more of one: each has its kind as the name of its member.
    fn block(&mut self, mut block: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(text) = block.text("text")? {
            self.blocks.more(Block::Text, text, out);
        }
        if let Some(reasoning) = block.object("reasoningContent")? {
            self.reasoning(reasoning, out)?;
        }
        if let Some(call) = block.object("toolUse")? {
            self.call(call, out, ledger)?;
        }
        self.is_aside |= block.clone().take("toolResult").is_some();
        block.rest(ledger);
        Ok(())
    }

    fn reasoning(&mut self, mut reasoning: Fields<'_>, out: &mut Vec<Event>) -> Read<()> {
        if let Some(data) = reasoning.text("redactedContent")? {
            self.blocks.close(out);
            out.push(Event::Sealed(self.blocks.proof(Kind::Redacted, &data)));
        }
        let mut shown = match reasoning.object("reasoningText")? {
            Some(shown) => shown,
            None => reasoning,
        };
        self.blocks.more(Block::Thinking, shown.text("text")?.unwrap_or_default(), out);
        if let Some(signature) = shown.text("signature")? {
            self.blocks.open(Block::Thinking, out);
            self.blocks.prove(Kind::Thinking, &signature);
        }
        Ok(())
    }

    fn call(&mut self, mut call: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(id) = call.text("toolUseId")? {
            if call.text("type")?.as_deref() == Some("server_tool_use") {
                self.is_aside = true;
                ledger.note("server_tool_use of the answer");
                return Ok(());
            }
            self.blocks.close(out);
            self.blocks.open(Block::Call { id, name: call.need_text("name")? }, out);
        }
        if let Some(input) = call.take("input") {
            // In a stream it is text in pieces, in a whole answer the value itself.
            let more = input.as_text().unwrap_or_else(|| input.raw().to_owned());
            if !more.is_empty() {
                out.push(Event::More(more));
            }
        }
        Ok(())
    }

    fn stop(&mut self, body: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let reason = body.need_text("stopReason")?;
        self.blocks.close(out);
        let (mut aside, mut sequence) = (None, None);
        if let Some(mut more) = body.object("additionalModelResponseFields")? {
            aside = more.take("tollgate");
            if let Some(mut inner) = more.object("delta")? {
                sequence = inner.take("stop_sequence");
                inner.rest(ledger);
            } else {
                sequence = more.take("stop_sequence");
            }
            more.rest(ledger);
        }
        let sequence = sequence.and_then(|said| said.as_text());
        out.push(match failing::converse(&reason, self.blocks.has_said()) {
            Ended::Sequence => Event::Stop(Stop::Sequence(sequence)),
            ended => end(ended, ("stopReason", &reason), None, ledger),
        });
        out.extend(aside.map(|aside| Event::Aside(aside.raw().to_owned())));
        Ok(())
    }
}

/// Lists what is told of how an answer came about, such as what a guardrail found.
fn note_trace(mut told: Fields<'_>, ledger: &mut Ledger) {
    if let Some(trace) = told.take("trace").and_then(|trace| trace.object().ok()) {
        trace.rest(ledger);
    }
}

/// What Bedrock says is wrong: a message, under one of two spellings.
pub(crate) fn fault(mut error: Fields<'_>) -> Read<Fault> {
    let message = error.take_either("message", "Message").as_ref().and_then(Item::as_text).unwrap_or_default();
    let code = error.text("__type")?.map(|name| name.rsplit('#').next().unwrap_or_default().to_owned());
    Ok(Fault { message, code, status: None })
}
