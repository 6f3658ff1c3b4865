//! What an answer used: a meter watches the body of one attempt as it arrives and never changes it.
//!
//! Feed it with [`Meter::push`] and send on what [`Meter::pop`] gives: the same bytes in the same order, but for the one frame
//! of usage that the client did not ask for. A frame is looked into only where a cheap search says that it matters. The piece
//! that ends the answer comes out apart as [`Verdict::Last`], so that the attempt can be settled before the client has it.
//! How a body is cut into documents (`whole`, `split`) and what a document says (`fold`, and a file for each dialect) meet only in
//! `tally`. Nothing here does I/O, reads a clock or knows a price; what was not reported is said to be missing, not zero.

use std::collections::VecDeque;

use bytes::Bytes;
use schemas::{
    event::Api,
    json::Value,
    money::Pico,
    tokens::{Doubt, Part, Usage, Vector},
};

mod anthropic_messages;
mod bedrock;
mod cohere;
pub mod estimate;
mod fold;
mod gemini;
mod gemini_interactions;
mod guess;
mod ollama;
mod openai_calls;
mod openai_chat;
mod openai_responses;
mod openai_usage;
mod shape;
mod split;
mod tally;
#[cfg(test)]
mod tests;
mod tools;
pub mod visible;
mod whole;

pub(crate) use bedrock::TIERS;
pub use estimate::tokens;
use split::Splitter;
pub use split::eventstream;
pub(crate) use split::sse::data as data_of;
use tally::Tally;
use visible::Visible;
use whole::Whole;

/// All output by the usage object of a chunk of a chat or of a response; nothing where it states none.
pub(crate) fn output_of_openai(usage: Value<'_>) -> Option<u64> {
    openai_usage::read(usage, true).ok().flatten().map(|reported| reported.vector.all_output())
}

/// All output by the usage object of a piece of Gemini's content; nothing where it states none.
pub(crate) fn output_of_gemini(usage: Value<'_>) -> Option<u64> {
    gemini::read(usage, true).ok().flatten().map(|reported| reported.vector.all_output())
}

/// The answer to be metered, known when its head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The API that was called.
    pub api: Api,
    /// The HTTP status.
    pub status: u16,
    /// How the body is cut into frames.
    pub framing: Framing,
    /// Whether to withhold the frame of usage, since we asked for it and the client did not.
    pub strip_usage: bool,
}

/// How a body is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: it is one document.
    Whole,
    /// Server-sent events.
    Events,
    /// Lines, each a document.
    Lines,
    /// Amazon's binary messages.
    Messages,
    /// One document that is a list, each item a document: what Gemini streams is told from what it answers whole by its first byte.
    List,
}

impl Framing {
    /// The framing of bodies of this content type.
    pub fn of(content_type: &[u8]) -> Self {
        let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
        match content_type.get(..end).unwrap_or_default().trim_ascii().to_ascii_lowercase().as_slice() {
            b"text/event-stream" => Self::Events,
            b"application/x-ndjson" | b"application/ndjson" | b"application/stream+json" => Self::Lines,
            b"application/vnd.amazon.eventstream" => Self::Messages,
            _ => Self::Whole,
        }
    }
}

/// A piece of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, as they came.
    pub bytes: Bytes,
    /// What to do with it.
    pub verdict: Verdict,
}

/// What to do with a piece of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on.
    Pass,
    /// Withhold it: it is the usage that the client did not ask for.
    Strip,
    /// Settle, then send it on: with it the client has the whole answer. Not every answer has such a piece.
    Last,
}

/// How the body came to its end, as the one who read it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended as bodies end, or its last frame has come.
    Closed,
    /// The connection to the provider broke, or we ended the answer.
    Broken,
    /// The client went away and the rest was not read.
    ClientLeft,
    /// A deadline passed.
    TimedOut,
}

/// How the answer ended, as its content says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// With the mark that ends answers of this API.
    Complete,
    /// Without it.
    Truncated,
    /// With an error although it began well.
    ErrorInStream {
        /// The provider's name for the error, empty if it gave none.
        kind: String,
    },
}

/// What an answer used, and what else it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The counts, and how sure they are.
    pub usage: Usage,
    /// The provider's usage object as it was sent; where it sent several that count, a JSON array of them in order. Empty if none.
    pub raw_usage: String,
    /// The model that answered, empty if it does not say.
    pub model_answered: String,
    /// The provider's id of the answer, empty if it does not say.
    pub response_id: String,
    /// The service tier, empty if it does not say.
    pub service_tier: String,
    /// Where it ran, empty if it does not say.
    pub region: String,
    /// The cost that the provider states.
    pub provider_cost: Option<Pico>,
    /// How it ended.
    pub finish: Finish,
    /// The output seen, for estimates and provisions.
    pub visible: Visible,
    /// When it was begun, if it is worked on apart from this answer: its usage is then known by its id, and may be told more than once.
    pub background: Option<Begun>,
    /// Whether it turned out to be a response of OpenAI's form, though it is of an API that is not known.
    pub is_response: bool,
}

/// When what is worked on apart from an answer was begun, as the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// In this second since 1970.
    At(u64),
    /// It does not say, or not so that it can be read.
    Unsaid,
}

/// The meter of one attempt.
#[derive(Debug)]
pub struct Meter {
    tally: Tally,
    body: Body,
    may_be_list: bool,
    out: VecDeque<Frame>,
}

#[derive(Debug)]
enum Body {
    Stream(Splitter),
    Whole(Box<Whole>),
}

/// What a frame is to the one who relays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Ordinary,
    /// Usage and nothing else.
    UsageOnly,
    /// The mark that ends the answer.
    End,
}

impl Meter {
    /// A meter for an answer whose head has come.
    pub fn new(answer: Answer) -> Self {
        let body = match answer.framing {
            _ if answer.status >= 400 => Body::Whole(Box::new(Whole::new(false))),
            Framing::Whole => Body::Whole(Box::new(Whole::new(true))),
            framing => Body::Stream(Splitter::new(framing, answer.strip_usage)),
        };
        let may_be_list = answer.api == Api::GeminiGenerateContent && answer.status < 400;
        Self { tally: Tally::new(answer), body, may_be_list, out: VecDeque::new() }
    }

    /// Takes a header of the answer, since some report there. Before the body.
    pub fn header(&mut self, name: &str, value: &str) {
        self.tally.header(name, value);
    }

    /// The request has a guardrail look at it, which no answer has to state. Before the body.
    pub const fn guarded(&mut self) {
        self.tally.guarded();
    }

    /// The request asks for so many answers in one, which a stream ends with. Before the body.
    pub const fn choices(&mut self, asked: u64) {
        self.tally.choices(asked);
    }

    /// The request says whether code that the provider runs costs nothing. Before the body.
    pub const fn code_is_free(&mut self, is_free: bool) {
        self.tally.code_is_free(is_free);
    }

    /// From now on each frame of a stream comes out by itself and whole.
    pub(crate) const fn by_frame(&mut self) {
        if let Body::Stream(splitter) = &mut self.body {
            splitter.by_frame();
        }
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, chunk: Bytes) {
        if let Body::Whole(whole) = &mut self.body
            && self.may_be_list
            && whole.begins_list(&chunk)
        {
            self.out.extend(whole.take_held().map(|bytes| Frame { bytes, verdict: Verdict::Pass }));
            self.body = Body::Stream(Splitter::new(Framing::List, false));
        }
        match &mut self.body {
            Body::Stream(splitter) => splitter.push(&chunk, &mut self.tally, &mut self.out),
            Body::Whole(whole) => whole.push(chunk, &self.tally, &mut self.out),
        }
    }

    /// The next piece to send on.
    pub fn pop(&mut self) -> Option<Frame> {
        self.out.pop_front()
    }

    /// The body has ended or will not be read further: what was held back comes out. Pop until nothing comes, then settle.
    pub fn close(&mut self) {
        match &mut self.body {
            Body::Stream(splitter) => splitter.close(&mut self.tally, &mut self.out),
            Body::Whole(whole) => whole.close(&mut self.tally, &mut self.out),
        }
    }

    /// Whether what came out so far ends between two frames, so that something may be put in there.
    pub const fn between_frames(&self) -> bool {
        match &self.body {
            Body::Stream(splitter) => splitter.between_frames(),
            Body::Whole(_) => false,
        }
    }

    /// The least that was used so far: what was reported, and a careful count of the text seen. Never to be settled.
    pub fn so_far(&self) -> Vector {
        self.tally.so_far()
    }

    /// What was reported so far; empty where nothing was.
    pub fn reported(&self) -> Vec<Part> {
        self.tally.reported()
    }

    /// The bytes of output text seen so far, which bound its tokens from above. Output that is not shown is not in it.
    pub const fn visible_output_bytes(&self) -> u64 {
        self.tally.visible().bytes()
    }

    /// What the answer used, given how its body came to its end. Call [`Self::close`] before.
    pub fn measured(self, end: End) -> Measured {
        let doubt = match end {
            End::ClientLeft => Some(Doubt::ClientLeft),
            End::TimedOut => Some(Doubt::TimedOut),
            End::Broken => Some(Doubt::Truncated),
            End::Closed => None,
        };
        self.tally.measured(doubt)
    }
}
