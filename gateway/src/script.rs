//! What a stream says frame by frame, for one that may have to be ended in the middle: how much output is in it, what it has opened,
//! and the frames with which it would end properly.
//!
//! [`Count`] says how much output a frame can be billed as at most; a [`Tongue`], one for each dialect, what the frame opens and closes
//! for who reads it, and how a stream of which so much was given ends as one that reached its cap. It knows no limit and does no I/O.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use schemas::{
    event::Api,
    json::{Tree, Value},
    price::Encoding,
    tokens::Vector,
};
use serde_json::Value as Json;

use crate::meter::{data_of, eventstream};

mod chat;
mod cohere;
mod content;
mod converse;
mod count;
mod messages;
mod responses;

use count::{Count, size};

/// A stream as it was relayed so far.
#[derive(Debug)]
pub(crate) struct Script {
    count: Count,
    /// Whether its frames are Amazon's binary messages.
    is_binary: bool,
    tongue: Box<dyn Tongue>,
}

/// What a frame brings.
#[derive(Debug, Default)]
pub(crate) struct Brings {
    /// Output, in parts of a token.
    parts: u64,
    /// All output up to this frame, as the provider reports it.
    reported: Option<u64>,
    opens: Vec<Place>,
    closes: Vec<Place>,
    /// What it says of a response.
    said: Option<Box<responses::Said>>,
}

/// A choice, block or item by the event that ends it, if its dialect has one, and its index.
type Place = (&'static str, u64);

/// How a stream is to be ended.
pub(crate) struct Ending<'a> {
    /// Why, for the client.
    pub(crate) why: &'a Json,
    /// What was used so far, as far as that is known.
    pub(crate) usage: Option<&'a Vector>,
    /// Whether the client asked for that, where its dialect lets it choose.
    pub(crate) wants_usage: bool,
}

/// A dialect of streams that can be ended in the middle.
trait Tongue: fmt::Debug + Send {
    /// Looks into a document of the stream, by the name that its framing gives it; nothing if it is not of the dialect.
    fn look(&mut self, count: &Count, name: &str, root: Value<'_>) -> Option<Brings>;

    /// The frame was given to the client.
    fn pass(&mut self, brings: Brings);

    /// The frames that end the stream here.
    fn ending(&self, ending: &Ending<'_>) -> Vec<u8>;
}

/// The one table of the dialects that can be looked into; streams of others are held for whole.
fn tongue(api: Api) -> Option<fn() -> Box<dyn Tongue>> {
    let new: fn() -> Box<dyn Tongue> = match api {
        Api::OpenAiChat => || Box::<chat::Chat>::default(),
        Api::OpenAiResponses => || Box::<responses::Responses>::default(),
        Api::AnthropicMessages => || Box::<messages::Messages>::default(),
        Api::GeminiGenerateContent => || Box::<content::Content>::default(),
        Api::BedrockConverseStream => || Box::<converse::Converse>::default(),
        Api::CohereChat => || Box::<cohere::Chat>::default(),
        _ => return None,
    };
    Some(new)
}

impl Script {
    /// Whether streams of an API can be looked into, and ended in the middle.
    pub(crate) fn is_of(api: Api) -> bool {
        tongue(api).is_some()
    }

    /// For a model of this encoding, whose tokens have so many bytes each, or more; nothing where its streams cannot be looked into.
    pub(crate) fn new(api: Api, encoding: Encoding, bytes_per_token: u8) -> Option<Self> {
        let (count, is_binary) = (Count::new(encoding, bytes_per_token), api == Api::BedrockConverseStream);
        Some(Self { count, is_binary, tongue: tongue(api)?() })
    }

    /// Looks into a frame that has come.
    pub(crate) fn look(&mut self, frame: &[u8]) -> Brings {
        let message = if self.is_binary { eventstream::read(frame).ok() } else { None };
        let (name, data) = match &message {
            // An error is no output.
            Some(message) if !message.is_event() => return Brings::default(),
            Some(message) => (message.kind, Cow::Borrowed(message.payload)),
            None if self.is_binary => ("", Cow::Borrowed(frame)),
            None => ("", data_of(frame)),
        };
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Brings::default();
        }
        let tree = Tree::read_answer(data);
        let brings = tree.ok().and_then(|tree| self.tongue.look(&self.count, name, tree.root()));
        let all = || Brings { parts: self.count.tokens(size(data.len())), ..Brings::default() };
        let brings = brings.unwrap_or_else(all);
        self.count.take(&brings);
        brings
    }

    /// The most output that can be in what was looked into.
    pub(crate) const fn seen(&self) -> u64 {
        self.count.seen()
    }

    /// Whether the provider says on the way how much it is.
    pub(crate) const fn is_reported(&self) -> bool {
        self.count.is_reported()
    }

    /// The frame was given to the client.
    pub(crate) fn pass(&mut self, brings: Brings) {
        self.tongue.pass(brings);
    }

    /// The frames that end the stream here as one that reached its cap, with the usage so far; the reason goes along.
    pub(crate) fn ending(&self, ending: &Ending<'_>) -> Vec<u8> {
        self.tongue.ending(ending)
    }
}

impl Brings {
    fn add(&mut self, parts: impl IntoIterator<Item = u64>) {
        self.parts = parts.into_iter().fold(self.parts, u64::saturating_add);
    }

    fn place(&mut self, ended_by: &'static str, index: Option<u64>, ends: bool) {
        if ends { &mut self.closes } else { &mut self.opens }.push((ended_by, index.unwrap_or(0)));
    }
}

/// The places that have begun and not ended.
#[derive(Debug, Default)]
struct Places {
    open: BTreeSet<Place>,
    /// Whether any has begun.
    has_begun: bool,
}

impl Places {
    fn pass(&mut self, brings: Brings) {
        self.has_begun |= !(brings.opens.is_empty() && brings.closes.is_empty());
        self.open.extend(brings.opens);
        self.open.retain(|place| !brings.closes.contains(place));
    }

    fn iter(&self) -> impl Iterator<Item = Place> {
        self.open.iter().copied()
    }

    /// The indices of the choices to be ended: where none has begun that of the first, since an answer of no choice has no reason for its end.
    fn choices(&self) -> impl Iterator<Item = u64> {
        let first = (!self.has_begun).then_some(0);
        self.iter().map(|(_, index)| index).chain(first)
    }
}

/// What a stream calls itself, as JSON, as it said it first.
#[derive(Debug)]
struct Names<const N: usize>([Option<String>; N]);

impl<const N: usize> Default for Names<N> {
    fn default() -> Self {
        Self([const { None }; N])
    }
}

impl<const N: usize> Names<N> {
    fn keep<'t>(&mut self, named: impl Fn(usize) -> Option<Value<'t>>) {
        for (kept, place) in self.0.iter_mut().zip(0..) {
            *kept = kept.take().or_else(|| named(place).map(|value| value.raw().to_owned()));
        }
    }

    fn get(&self, place: usize) -> Json {
        let kept = self.0.get(place).and_then(Option::as_deref);
        kept.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
    }
}

/// A server-sent event; one without a name has only data.
fn event(name: &str, data: &Json) -> String {
    if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
}

#[cfg(test)]
mod tests;
