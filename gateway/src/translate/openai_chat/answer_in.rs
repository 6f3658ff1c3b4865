//! A provider's chat completion, whole or chunk by chunk: a chunk's `delta` is a piece of what `message` is at once.

use crate::{
    failing,
    translate::{
        fields::{Fields, Item, Ledger, Read},
        hub::{Block, Blocks, Event, Fault, Stop, Why},
        ids::Ids,
        openai_chat::calls::Calls,
        seal::Maker,
    },
};

/// Members that say nothing of the answer itself, or repeat what is said elsewhere.
pub(crate) const ASIDE: [&str; 11] = [
    "id",
    "object",
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

#[derive(Debug)]
pub(crate) struct Reader {
    blocks: Blocks,
    calls: Calls,
    has_model: bool,
}

impl Reader {
    pub(crate) fn new(ids: Ids) -> Self {
        Self { blocks: Blocks::new(Maker::Chat), calls: Calls::new(ids), has_model: false }
    }

    pub(crate) fn read(&mut self, mut body: Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(error) = body.take("error") {
            out.push(Event::Fault(fault(error)?));
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
            self.choice(&mut choice, out, ledger)?;
        }
        out.extend(body.take("tollgate").map(|aside| Event::Aside(aside.raw().to_owned())));
        body.skip(&ASIDE);
        body.rest(ledger);
        Ok(())
    }

    fn choice(&mut self, choice: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        if let Some(mut said) =
            choice.object("delta")?.map_or_else(|| choice.object("message"), |said| Ok(Some(said)))?
        {
            self.reasoning(&mut said, out, ledger)?;
            if let Some(content) = said.take("content") {
                self.content(content, out, ledger)?;
            }
            let refusal = said.text("refusal")?.unwrap_or_default();
            self.blocks.more(Block::Refusal, refusal, out);
            for call in said.list("tool_calls")? {
                self.calls.read(call, &mut self.blocks, out, ledger)?;
            }
            // Before there were several it was the only one.
            if let Some(function) = said.object("function_call")? {
                self.calls.take((0, None), function, &mut self.blocks, out)?;
            }
            said.skip(&BESIDE);
            said.rest(ledger);
        }
        if let Some(reason) = choice.word("finish_reason")?.filter(|reason| !reason.is_empty()) {
            self.calls.end(&mut self.blocks, out);
            self.blocks.close(out);
            out.push(self.stop(&reason, ledger));
        }
        Ok(())
    }

    /// Reasoning has two names, and servers that know both say the same under each. What proves it is worth something only to whom the
    /// server asked, and goes back in a form that no other has.
    fn reasoning(&mut self, said: &mut Fields<'_>, out: &mut Vec<Event>, ledger: &mut Ledger) -> Read<()> {
        let [first, second] =
            [said.text("reasoning_content")?, said.text("reasoning")?].map(|text| text.filter(|text| !text.is_empty()));
        if matches!((&first, &second), (Some(first), Some(second)) if first != second) {
            ledger.note(said.path("reasoning"));
        }
        let mut text = first.or(second);
        let is_told = text.is_some();
        for detail in said.list("reasoning_details")? {
            let mut detail = detail.object()?;
            let mut word = |name| detail.take(name).and_then(|item| item.as_text()).filter(|text| !text.is_empty());
            let (shown, signed, hidden) = (word("text").or(word("summary")), word("signature"), word("data"));
            if signed.is_some() || hidden.is_some() {
                ledger.note(format!("{} (what proves the reasoning)", said.path("reasoning_details")));
            }
            if let Some(shown) = shown.filter(|_| !is_told) {
                text.get_or_insert_default().push_str(&shown);
            }
        }
        self.blocks.more(Block::Thinking, text.unwrap_or_default(), out);
        Ok(())
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

    fn stop(&self, reason: &str, ledger: &mut Ledger) -> Event {
        match reason {
            "stop" | "eos" | "end_turn" => Event::Stop(Stop::End),
            "length" | "max_tokens" | "model_length" => Event::Stop(Stop::Length),
            "tool_calls" | "function_call" => Event::Stop(Stop::Tool),
            "content_filter" => Event::Stop(Stop::Filter(Why::default())),
            failed if failing::chat(failed) => Event::Fault(Fault::failed(failed, None)),
            other => self.blocks.ended_by("finish_reason", other, None, ledger),
        }
    }
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
