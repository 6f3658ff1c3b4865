//! A streamed answer, translated event by event: what a provider's event says is written at once, and what its end depends on, the
//! usage that the meter finds, is written when the caller says that it is over.
//!
//! It keeps which block is open and what was not carried; only the Responses writer keeps the text, since its dialect repeats it.

use schemas::tokens::Vector;

use crate::translate::{
    Client, Provider, Reader, Refused, Told, anthropic,
    fields::Ledger,
    hub::{Block, Event, Fault, Stop},
    json::{Json, object},
    kind_of, openai_chat, openai_responses, read_fault,
    repeat::Repeat,
};

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The provider's stream was read to its end.
    Complete,
    /// It broke off, or could not be read.
    Broken(String),
}

#[derive(Debug)]
enum Writer {
    Chat(openai_chat::answer_out::Writer),
    Responses(openai_responses::answer_out::Writer),
    Messages(anthropic::answer_out::Writer),
}

/// A stream that is translated.
#[derive(Debug)]
pub struct Stream {
    to: Client,
    reader: Reader,
    writer: Writer,
    repeat: Repeat,
    /// What an event says; empty between two.
    said: Vec<Event>,
    block: Option<Block>,
    /// Whether there was a block.
    has_begun: bool,
    stop: Option<Stop>,
    /// Why it was cut, as JSON.
    why: Option<String>,
    ledger: Ledger,
    is_over: bool,
    /// Whether it is over with an error.
    has_failed: bool,
}

impl Stream {
    /// A stream of `model` that has not begun.
    pub fn new(from: Provider, model: &str, to: Client, told: Told) -> Self {
        let reader = Reader::new(from, &told, model);
        let writer = match to {
            Client::OpenAiChat => Writer::Chat(openai_chat::answer_out::Writer::new(told)),
            Client::OpenAiResponses => Writer::Responses(openai_responses::answer_out::Writer::new(told)),
            Client::AnthropicMessages => Writer::Messages(anthropic::answer_out::Writer::new(told)),
        };
        Self {
            to,
            reader,
            writer,
            repeat: Repeat::default(),
            said: Vec::new(),
            block: None,
            has_begun: false,
            stop: None,
            why: None,
            ledger: Ledger::default(),
            is_over: false,
            has_failed: false,
        }
    }

    /// Takes an event's data, and its name where that is not in the data (Bedrock), and gives the frames for the client.
    ///
    /// # Errors
    ///
    /// If it is no event of the provider's dialect: then the stream is to be ended as [`End::Broken`].
    pub fn push(&mut self, name: &str, data: &[u8]) -> Result<String, Refused> {
        let mut out = String::new();
        self.push_to(name, data, &mut out).map(|()| out)
    }

    /// The same, with the frames written behind what is there.
    pub(crate) fn push_to(&mut self, name: &str, data: &[u8], out: &mut String) -> Result<(), Refused> {
        let data = data.trim_ascii();
        if data == b"[DONE]" && self.stop.is_none() && self.has_begun {
            self.ledger.note("the reason for its end, which was not given");
            self.stop = Some(Stop::End);
        }
        if data.is_empty() || data == b"[DONE]" || self.is_over {
            return Ok(());
        }
        if let Some(text) = self.repeat.text(name, data) {
            self.write(Event::More(text.to_owned()), out);
            return Ok(());
        }
        let mut said = std::mem::take(&mut self.said);
        self.reader.event(name, data, &mut said, &mut self.ledger)?;
        match said.as_slice() {
            [Event::More(text)] if self.block == Some(Block::Text) => self.repeat.learn(name, data, text),
            _ => self.repeat.forget(),
        }
        said.drain(..).for_each(|event| self.write(event, out));
        self.said = said;
        Ok(())
    }

    /// Takes an error that stands in place of an event (Bedrock): its name, and what it says in words or in its data. Gives the frames
    /// that end the answer with it.
    pub fn fault(&mut self, name: &str, says: &str, data: &[u8]) -> String {
        let mut out = String::new();
        let mut fault = read_fault(Provider::BedrockConverse, data).unwrap_or_default();
        if !says.is_empty() {
            says.clone_into(&mut fault.message);
        }
        fault.code = Some(name.to_owned());
        if fault.message.is_empty() {
            fault = Fault::failed(name, None);
        }
        self.write(Event::Fault(fault), &mut out);
        out
    }

    /// All frames of an answer that came whole although a stream was asked for.
    ///
    /// # Errors
    ///
    /// As of [`answer`](super::answer).
    pub fn whole(mut self, body: &[u8], usage: Option<&Vector>) -> Result<String, Refused> {
        let (said, mut out) = (self.reader.said(body, &mut self.ledger)?, String::new());
        said.into_iter().for_each(|event| self.write(event, &mut out));
        out.push_str(&self.end(End::Complete, usage));
        Ok(out)
    }

    fn write(&mut self, event: Event, out: &mut String) {
        if self.is_over {
            return;
        }
        match &event {
            Event::Open(block) => {
                self.block = Some(block.clone());
                self.has_begun = true;
            }
            Event::Stop(stop) => self.stop = Some(stop.clone()),
            Event::Fault(fault) => return self.fail(fault, out),
            Event::Aside(aside) => self.why = Some(aside.clone()),
            _ => {}
        }
        let closes = matches!(event, Event::Close);
        match &mut self.writer {
            Writer::Chat(writer) => writer.event(event, self.block.as_ref(), out),
            Writer::Responses(writer) => writer.event(event, out),
            Writer::Messages(writer) => writer.event(event, self.block.as_ref(), out),
        }
        if closes {
            self.block = None;
        }
    }

    /// The frames that end it. Usage is what the meter knows by now; unknown usage is not written as none.
    pub fn end(&mut self, end: End, usage: Option<&Vector>) -> String {
        let mut out = String::new();
        if self.is_over {
            return out;
        }
        let stop = match (end, self.stop.take()) {
            (End::Complete, Some(stop)) => stop,
            (End::Complete, None) => {
                self.break_off("the provider's answer ended before its end".to_owned(), &mut out);
                return out;
            }
            (End::Broken(why), _) => {
                self.break_off(why, &mut out);
                return out;
            }
        };
        let mut waiting = Vec::new();
        self.reader.finish(&mut waiting);
        waiting.into_iter().for_each(|event| self.write(event, &mut out));
        if self.block.is_some() {
            self.write(Event::Close, &mut out);
        }
        if let Some(refusal) = stop.refusal().filter(|_| self.to != Client::AnthropicMessages) {
            let said = [Event::Open(Block::Refusal), Event::More(refusal), Event::Close];
            said.into_iter().for_each(|event| self.write(event, &mut out));
        }
        self.is_over = true;
        let aside = self.aside();
        match &mut self.writer {
            Writer::Chat(writer) => writer.end(&stop, usage, aside, &mut out),
            Writer::Responses(writer) => writer.end(&stop, usage, aside, &mut out),
            Writer::Messages(writer) => writer.end(&stop, usage, aside, &mut out),
        }
        out
    }

    /// What the last frame says in a member of ours: why it was cut, and what of the answer was not carried.
    fn aside(&mut self) -> Option<Json> {
        let lines = std::mem::take(&mut self.ledger).lines();
        if let Some(why) = self.why.take().and_then(|why| Json::raw_object(&why)) {
            return Some(why);
        }
        let mut aside = object! {};
        aside.put_full("not_carried", lines.into_iter().map(Json::from).collect());
        (!aside.is_bare()).then_some(aside)
    }

    fn break_off(&mut self, message: String, out: &mut String) {
        self.fail(&Fault { message, code: None, status: Some(502) }, out);
    }

    /// Whether it has ended with an error for the client.
    pub const fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn fail(&mut self, fault: &Fault, out: &mut String) {
        (self.is_over, self.has_failed) = (true, true);
        let kind = kind_of(fault.status.unwrap_or(500), self.to);
        match &mut self.writer {
            Writer::Chat(writer) => writer.fail(fault, kind, out),
            Writer::Responses(writer) => writer.fail(fault, out),
            Writer::Messages(writer) => writer.fail(fault, kind, out),
        }
    }
}
