//! An answer of generateContent, whole or chunk by chunk: both are the same thing, a list of parts.
//!
//! Vertex AI can give enumerations as numbers. A prompt that was blocked is an answer without candidates.

use crate::{
    failing::{self, Ended, Said},
    translate::{
        fields::{Fields, Item, Ledger, Read, Refused},
        hub::{Block, Blocks, Event, Fault, Stop, Why, end},
        ids::Ids,
        seal::{Kind, Maker, Seal},
    },
};

/// Members of a candidate that are about the answer and no part of it. What it was rated matters where it was stopped for that.
const ASIDE: [&str; 4] = ["index", "avgLogprobs", "safetyRatings", "tokenCount"];

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    ids: Ids,
    has_model: bool,
    has_calls: bool,
    is_over: bool,
}

impl Reader {
    pub(crate) fn new(ids: Ids) -> Self {
        Self { blocks: Blocks::new(Maker::Google), ids, has_model: false, has_calls: false, is_over: false }
    }

    pub(crate) fn read(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(error) = body.take("error") {
            out.push(Event::Fault(fault(error)?));
            return Ok(());
        }
        if let Some(model) = body.text("modelVersion")?.filter(|_| !self.has_model) {
            self.has_model = true;
            out.push(Event::Model(model));
        }
        if let Some(mut feedback) = body.object("promptFeedback")?
            && let Some(reason) = feedback.take("blockReason")
            && !self.is_over
        {
            self.is_over = true;
            let more = feedback.take("blockReasonMessage").and_then(|more| more.as_text());
            out.push(Event::Stop(Stop::Filter(Why::filtered(&named(&reason), more.as_deref()))));
            feedback.rest(ledger);
        }
        for (place, candidate) in body.list("candidates")?.into_iter().enumerate() {
            let at = candidate.at.clone();
            let mut candidate = candidate.object()?;
            if place > 0 || candidate.count("index")?.unwrap_or(0) > 0 {
                ledger.note(at);
                continue;
            }
            self.candidate(candidate, out, ledger)?;
        }
        out.extend(body.take("tollgate").map(|aside| Event::Aside(aside.raw().to_owned())));
        Ok(())
    }

    fn candidate(&mut self, mut candidate: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(mut content) = candidate.object("content")? {
            for part in content.list("parts")? {
                self.part(part, out, ledger)?;
            }
        }
        let more = candidate.take("finishMessage");
        if let Some(reason) = candidate.take("finishReason") {
            let reason = named(&reason);
            self.blocks.close(out);
            if !self.is_over {
                self.is_over = true;
                let said = more.as_ref().and_then(Item::as_text);
                let stop = self.stop(&reason, said.as_deref(), ledger);
                match (&stop, more) {
                    (Event::Stop(Stop::Filter(_)), _) => candidate.hints(&["safetyRatings"], ledger),
                    // Of an answer that is whole it says what is there, such as calls.
                    (Event::Stop(_), Some(more)) if !matches!(reason.as_str(), "STOP" | "1") => ledger.note(more.at),
                    _ => {}
                }
                out.push(stop);
            }
        }
        candidate.skip(&ASIDE);
        candidate.rest(ledger);
        Ok(())
    }

    fn part(&mut self, part: Item<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let mut part = part.object()?;
        let proof = part.text("thoughtSignature")?.filter(|proof| !proof.is_empty());
        let seal = |kind| proof.as_ref().map(|proof| Seal::new(Maker::Google, kind, proof.clone()));
        if let Some(text) = part.text("text")? {
            if part.flag("thought")?.unwrap_or(false) {
                self.blocks.more(Block::Thinking, text, out);
                if let (Some(proof), Some(Block::Thinking)) = (&proof, self.blocks.is_open()) {
                    self.blocks.prove(Kind::Thinking, proof);
                }
                return Ok(());
            }
            self.blocks.more(Block::Text, text, out);
            if let Some(seal) = seal(Kind::Text) {
                self.blocks.close(out);
                out.push(Event::Sealed(seal));
            }
        } else if let Some(call) = part.object("functionCall")? {
            self.call(call, seal(Kind::Call), out)?;
        } else {
            self.blocks.close(out);
            if let Some(seal) = seal(Kind::Text) {
                out.push(Event::Sealed(seal));
            }
            // What the client's dialect has no place for was said all the same.
            if !part.flag("thought")?.unwrap_or(false) && part.tells() {
                self.blocks.say();
            }
        }
        part.rest(ledger);
        Ok(())
    }

    fn call(&mut self, mut call: Fields<'_>, seal: Option<Seal>, out: &mut Vec<Event>) -> Read<()> {
        if call.take("partialArgs").is_some() || call.flag("willContinue")?.unwrap_or(false) {
            return Err(Refused::form(call.at, "arguments come in pieces, which nobody asked for"));
        }
        let id = call.text("id")?.unwrap_or_else(|| self.ids.make());
        self.blocks.close(out);
        out.extend(seal.map(Event::Sealed));
        self.has_calls = true;
        self.blocks.open(Block::Call { id, name: call.need_text("name")? }, out);
        out.push(Event::More(call.take("args").map_or_else(|| "{}".to_owned(), |args| args.raw().to_owned())));
        self.blocks.close(out);
        Ok(())
    }

    /// Why it ended, by name or by number.
    fn stop(&self, reason: &str, more: Option<&str>, ledger: &mut Ledger) -> Event {
        match failing::gemini(reason, Said { calls: self.has_calls, anything: self.blocks.has_said() }) {
            Ended::Filter => Event::Stop(Stop::Filter(Why::filtered(reason, more))),
            ended => end(ended, ("finishReason", reason), more, ledger),
        }
    }
}

/// A reason by its name, or by its number.
fn named(reason: &Item<'_>) -> String {
    reason.as_text().unwrap_or_else(|| reason.raw().to_owned())
}

pub(crate) fn fault(error: Item<'_>) -> Read<Fault> {
    let mut error = error.object()?;
    let message = error.text("message")?.unwrap_or_default();
    let status = error.count("code")?.and_then(|code| u16::try_from(code).ok());
    Ok(Fault { message, code: error.text("status")?, status })
}
