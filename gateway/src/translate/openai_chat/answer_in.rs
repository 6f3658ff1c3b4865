//! A provider's chat completion, whole or chunk by chunk: a chunk's `delta` is a piece of what `message` is at once.

use crate::{
    failing,
    translate::{
        fields::{Fields, Item, Ledger, Read},
        hub::{Block, Blocks, Event, Fault, Stop, end},
        ids::Ids,
        openai_chat::{calls::Calls, details::Detail},
        seal::Maker,
    },
};

/// Members that say nothing of the answer itself, or repeat what is said elsewhere.
pub(crate) const ASIDE: [&str; 10] = [
    "id",
    "created",
    "usage",
    "system_fingerprint",
    "service_tier",
    "obfuscation",
    "p",
    "x_groq",
    "provider",
    "prompt_filter_results",
];
/// Members of a message that providers have put in beside what is read.
const BESIDE: [&str; 4] = ["role", "index", "channel", "token_ids"];
/// Members of a choice that are about the answer and no part of it, or repeat it. What a filter found matters where it stopped the answer.
const ABOUT: [&str; 9] = [
    "logprobs",
    "text",
    "native_finish_reason",
    "stop_reason",
    "matched_stop",
    "seed",
    "token_ids",
    "content_filter_results",
    "content_filter_offsets",
];
/// The most that waits for a call to be whole, in bytes: ten thousand pieces of a text, or a hundred proofs of 10 KB.
const HELD_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    calls: Calls,
    /// The entry of the reasoning that is given, or was last.
    detail: Option<Detail>,
    /// What came within a call, behind which it is said: a call that another block has ended cannot go on.
    held: Vec<Event>,
    /// The size of that.
    held_bytes: usize,
    /// The blocks of that.
    behind: Blocks,
    has_model: bool,
}

impl Reader {
    pub(crate) fn new(ids: Ids) -> Self {
        let [blocks, behind] = [Blocks::new(Maker::Chat), Blocks::new(Maker::Chat)];
        let (calls, held) = (Calls::new(ids), Vec::new());
        Self { blocks, calls, detail: None, held, held_bytes: 0, behind, has_model: false }
    }

    pub(crate) fn read(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(error) = body.take("error") {
            out.push(Event::Fault(fault(error)?));
            return Ok(());
        }
        // Older servers of vLLM say it at the top, as they do where they refuse.
        if body.take("object").is_some_and(|object| object.as_text().as_deref() == Some("error")) {
            out.push(Event::Fault(refusal(body)?));
            return Ok(());
        }
        if let Some(model) = body.word("model")?.filter(|model| !self.has_model && !model.is_empty()) {
            self.has_model = true;
            out.push(Event::Model(model.into_owned()));
        }
        for choice in body.list("choices")? {
            let mut choice = choice.object()?;
            if choice.count("index")?.unwrap_or(0) > 0 {
                ledger.note(choice.at);
                continue;
            }
            self.choice(choice, out, ledger)?;
        }
        out.extend(body.take("tollgate").map(|aside| Event::Aside(aside.raw().to_owned())));
        body.skip(&ASIDE);
        body.rest(ledger);
        Ok(())
    }

    fn choice(&mut self, mut choice: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(mut said) =
            choice.object("delta")?.map_or_else(|| choice.object("message"), |said| Ok(Some(said)))?
        {
            let (calls, function) = self.beside(out, |reader, out| reader.words(&mut said, out, ledger))?;
            for call in calls {
                self.calls.read(call, &mut self.blocks, out, ledger)?;
            }
            // Before there were several it was the only one.
            if let Some(function) = function {
                self.calls.take((0, None), function, &mut self.blocks, out)?;
            }
            self.release(out);
            said.skip(&BESIDE);
            said.rest(ledger);
        }
        let reason = choice.word("finish_reason")?.filter(|reason| !reason.is_empty());
        if let Some(error) = choice.take("error") {
            self.finish(out);
            out.push(Event::Fault(failed(reason.as_deref(), error)?));
        } else if let Some(reason) = reason {
            self.finish(out);
            let ended = failing::chat(&reason, self.blocks.has_said());
            let stop = end(ended, ("finish_reason", &reason), None, ledger);
            if matches!(stop, Event::Stop(Stop::Filter(_))) {
                choice.hints(&["content_filter_results"], ledger);
            }
            out.push(stop);
        }
        choice.skip(&ABOUT);
        choice.rest(ledger);
        Ok(())
    }

    /// Says all that waits: nothing more comes.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        self.beside(out, Self::end_detail);
        self.calls.end(&mut self.blocks, out);
        self.blocks.close(out);
        self.release(out);
        self.blocks.close(out);
    }

    /// Says what is no call: behind the one that has more to come, if there is one.
    fn beside<T>(&mut self, out: &mut Vec<Event>, say: impl FnOnce(&mut Self, &mut Vec<Event>) -> T) -> T {
        if !self.calls.goes_on(&self.blocks) {
            return say(self, out);
        }
        let mut held = std::mem::take(&mut self.held);
        let before = held.len();
        std::mem::swap(&mut self.blocks, &mut self.behind);
        let said = say(self, &mut held);
        std::mem::swap(&mut self.blocks, &mut self.behind);
        self.held_bytes += held.iter().skip(before).map(size).sum::<usize>();
        self.held = held;
        said
    }

    /// What a message says and thinks. Gives its calls, and the one of before there were several.
    fn words<'t>(
        &mut self,
        said: &mut Fields<'t>,
        out: &mut Vec<Event>,
        ledger: &mut Ledger,
    ) -> Read<(Vec<Item<'t>>, Option<Fields<'t>>)> {
        self.reasoning(said, out, ledger)?;
        let (content, refusal) = (said.take("content"), said.text("refusal")?.unwrap_or_default());
        let (calls, function) = (said.list("tool_calls")?, said.object("function_call")?);
        let is_said = content.as_ref().is_some_and(|content| content.raw() != "\"\"") || !refusal.is_empty();
        if is_said || !calls.is_empty() || function.is_some() {
            self.end_detail(out);
        }
        if let Some(content) = content {
            self.content(content, out, ledger)?;
        }
        self.blocks.more(Block::Refusal, refusal, out);
        Ok((calls, function))
    }

    /// Reasoning has two names, and servers that know both say the same under each, and in the entries that have its proofs. An entry of
    /// which the server says another text proves nothing of that.
    fn reasoning(&mut self, said: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let [first, second] =
            [said.text("reasoning_content")?, said.text("reasoning")?].map(|text| text.filter(|text| !text.is_empty()));
        if matches!((&first, &second), (Some(first), Some(second)) if first != second) {
            ledger.note(said.path("reasoning"));
        }
        let mut details = Vec::new();
        for detail in said.list("reasoning_details")? {
            let detail = Detail::read(detail.object()?, ledger)?;
            details.extend(detail.filter(|detail| detail.proves() || !detail.text.is_empty()));
        }
        let shown: String = details.iter().map(|detail| detail.text.as_str()).collect();
        if let Some(told) = first.or(second).filter(|told| *told != shown) {
            if !shown.is_empty() {
                if details.iter().any(Detail::proves) {
                    ledger.note(format!("{} (what proves the reasoning)", said.path("reasoning_details")));
                }
                details.clear();
            }
            if self.detail.as_ref().is_some_and(Detail::is_hidden) {
                self.end_detail(out);
            }
            self.blocks.more(Block::Thinking, told, out);
        }
        for detail in details {
            self.detail(detail, out);
        }
        Ok(())
    }

    /// An entry of the reasoning, or a piece of one.
    fn detail(&mut self, mut detail: Detail, out: &mut Vec<Event>) {
        let text = std::mem::take(&mut detail.text);
        let is_open = detail.is_hidden() || self.blocks.is_open() == Some(&Block::Thinking);
        let goes_on = self.detail.as_ref().is_some_and(|given| is_open && given.goes_on_with(&detail));
        if !goes_on {
            self.end_detail(out);
        }
        if let Some(given) = &mut self.detail {
            given.take(detail);
        } else {
            self.detail = Some(detail);
        }
        if let Some(given) = self.detail.as_ref().filter(|given| !given.is_hidden()) {
            self.blocks.open(Block::Thinking, out);
            self.blocks.prove_by(given.seal());
            out.extend(Some(text).filter(|text| !text.is_empty()).map(Event::More));
        }
    }

    /// Ends the entry that is given: what is not shown is known when all of it has come.
    fn end_detail(&mut self, out: &mut Vec<Event>) {
        let Some(detail) = self.detail.take() else { return };
        if detail.is_hidden() {
            self.blocks.close(out);
            out.push(Event::Sealed(detail.seal()));
        } else if self.blocks.is_open() == Some(&Block::Thinking) {
            self.blocks.close(out);
        }
    }

    /// Says what is held, unless a call has more to come. What was open of it goes on.
    fn release(&mut self, out: &mut Vec<Event>) {
        let waits = self.calls.goes_on(&self.blocks) && self.held_bytes < HELD_MAX;
        if self.held.is_empty() || waits {
            return;
        }
        self.blocks.close(out);
        out.append(&mut self.held);
        self.held_bytes = 0;
        self.blocks = std::mem::replace(&mut self.behind, Blocks::new(Maker::Chat));
        // The call was said.
        self.blocks.say();
    }

    fn content(&mut self, content: Item<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(text) = content.as_text() {
            self.blocks.more(Block::Text, text, out);
            return Ok(());
        }
        // Mistral gives a list where there is reasoning.
        for part in content.list()? {
            let mut part = part.object()?;
            match part.need_text("type")?.as_str() {
                "text" => self.blocks.more(Block::Text, part.need_text("text")?, out),
                "thinking" => {
                    for thought in part.list("thinking")? {
                        let text = thought.object()?.text("text")?.unwrap_or_default();
                        self.blocks.more(Block::Thinking, text, out);
                    }
                }
                _ => ledger.note(part.at.clone()),
            }
        }
        Ok(())
    }
}

/// What a choice that has failed says of it, as who passes on other models' answers does.
fn failed(reason: Option<&str>, error: Item<'_>) -> Read<Fault> {
    let said = fault(error)?;
    let more = Some(said.message.as_str()).filter(|message| !message.is_empty());
    let failed = Fault::failed(reason.unwrap_or("error"), more);
    Ok(Fault { code: said.code.or(failed.code), status: said.status.or(failed.status), ..failed })
}

/// About as much memory as an event takes.
const fn size(event: &Event) -> usize {
    let more = match event {
        Event::More(text) => text.len(),
        Event::Seal(seal) | Event::Sealed(seal) => seal.data.len(),
        _ => 0,
    };
    size_of::<Event>() + more
}

/// What a provider says instead of an answer. Servers that only speak like OpenAI say it in other places: Mistral and vLLM at the top,
/// those made with FastAPI in `detail`, which lists what is wrong where it is more than a text.
pub(crate) fn refusal(mut fields: Fields<'_>) -> Read<Fault> {
    if let Some(error) = fields.take("error") {
        return fault(error);
    }
    let word = |item: Item<'_>| item.as_text().unwrap_or_else(|| item.raw().to_owned());
    let message = fields.take("message").or_else(|| fields.take("detail")).map(word).unwrap_or_default();
    let code = fields.take("code").map(word).or(fields.take("type").map(word));
    Ok(Fault { message, code, status: None })
}

/// What a provider says is wrong, in the form that the dialects of OpenAI have for it.
pub(crate) fn fault(error: Item<'_>) -> Read<Fault> {
    if let Some(message) = error.as_text() {
        return Ok(Fault { message, ..Fault::default() });
    }
    let mut error = error.object()?;
    let message = error.text("message")?.unwrap_or_default();
    let word = |item: Item<'_>| item.as_text().unwrap_or_else(|| item.raw().to_owned());
    let code = error.take("code").map(word).or(error.take("type").map(word));
    let status = error.count("status_code")?.and_then(|status| u16::try_from(status).ok());
    Ok(Fault { message, code, status })
}
