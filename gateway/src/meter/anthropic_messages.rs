//! Anthropic's messages, and what others send in that format.
//!
//! A stream reports twice: `message_start` at the beginning, and `message_delta`, cumulative, at the end; each field of the
//! delta replaces that of the start, up or down. With the start alone the counts are a lower bound, often by far. Where
//! `usage.iterations` is given, the sum over it is the bill: it holds work, also of other models, that the top level leaves out.
//! The tier that is charged is made of up to three words: the service tier, the speed, and the region that inference was kept in.
//! Code that Anthropic runs is billed by the time of its container, which no answer states, unless the request has the newer tools of the web;
//! so an answer with any is one unit of a class of its own, and its tokens are not in doubt. A container is billed where files were put into
//! it, whether anything ran there or not. What was asked for decides; of a request that was not read the answer shows what called what.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Tree, Value},
    price::joined,
    tokens::{Part, Vector},
};

use super::{
    Seen,
    fold::{Fold, Unreadable, has_object, kind},
    shape::{Mark, Shape, at, in_front, never, untold, verbatim},
    tally::{Counts, Facts},
    tools::{Place, Tools, Where},
};
use crate::json;

/// What is known of a message.
#[derive(Debug, Default)]
pub(super) struct Messages {
    fields: Fields,
    /// Whether anything was reported.
    reported: bool,
    /// Whether the message has said why it stopped, so that what is reported is the whole.
    stopped: bool,
    /// Whether it had a container.
    contained: bool,
    /// The tier and the speed that served it, each as it was said last.
    tier: String,
    speed: String,
}

/// The fields of usage objects, the later over the earlier.
#[derive(Clone, Debug, Default)]
struct Fields {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    /// Written to the cache, for however long.
    cache_write: Option<u64>,
    /// Written for five minutes and for an hour.
    split: Option<(u64, u64)>,
    thinking: Option<u64>,
    web_searches: Option<u64>,
    web_fetches: Option<u64>,
    /// The list of passes, verbatim.
    iterations: Option<String>,
}

/// Tools of the client, of Anthropic and of others' servers.
static TOOLS: Tools = Tools { whole: &[&WHOLE, &RAN, &WITHIN], frame: &[&BLOCK, &BLOCK_RAN, &BLOCK_WITHIN] };

pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("tool_use\"")),
    places: &[Place::call_of(&["content", "*", "type"], "tool_use")],
};
static BLOCK: Where = Where {
    sign: LazyLock::new(|| Finder::new("tool_use\"")),
    places: &[Place::call_of(&["content_block", "type"], "tool_use")],
};

/// The results of code, of its shell and of its editor.
const RESULT: &str = "execution_tool_result";
pub(super) static RAN: Where = Where {
    sign: LazyLock::new(|| Finder::new("execution_tool_result\"")),
    places: &[Place::ran_of(&["content", "*", "type"], RESULT)],
};
static BLOCK_RAN: Where = Where {
    sign: LazyLock::new(|| Finder::new("execution_tool_result\"")),
    places: &[Place::ran_of(&["content_block", "type"], RESULT)],
};
/// Only the newer tools of the web, and those of clients, are called by code. Whether the web was looked into at all the usage says.
pub(super) static WITHIN: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"web_")),
    places: &[Place::within(&["content", "*", "caller", "type"])],
};
static BLOCK_WITHIN: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"web_")),
    places: &[Place::within(&["content_block", "caller", "type"])],
};

const FRAME: [&str; 5] = ["type", "message", "usage", "delta", "error"];
const MESSAGE: [&str; 6] = ["id", "model", "usage", "stop_reason", "error", "container"];
const USAGE: [&str; 11] = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "service_tier",
    "inference_geo",
    "speed",
];

static USAGE_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
/// The members that hold output text, the usual one first.
static TEXT_KEYS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\"text\"", "\"partial_json\"", "\"thinking\""].map(Finder::new));

/// The completions of before, which report no usage.
pub(super) static COMPLETION: Shape = Shape {
    text: LazyLock::new(|| vec![Finder::new("\"completion\"")]),
    sign: None,
    id: &[&["id"]],
    model: &[&["model"]],
    tier: &[],
    latency: &[],
    usage: &[],
    error: &[&["error"]],
    failed: never,
    read: |_| Ok(None),
    raw: verbatim,
    tools: &Tools::NONE,
    mark: |_, piece| if at(piece, &["stop_reason"]).is_some() { Mark::Finished } else { Mark::None },
    call: untold,
    background: in_front,
};

impl Fold for Messages {
    fn event(&mut self, facts: &mut Facts, _: &str, data: &[u8]) -> Result<Seen, Unreadable> {
        facts.called.count(TOOLS.frame, data);
        let keep = !self.reported;
        let says = TEXT_KEYS.iter().any(|key| facts.visible.take(data, key, keep));
        if says && !has_object(data, &USAGE_KEY) {
            return Ok(Seen::Ordinary);
        }
        let tree = Tree::read_answer(data).map_err(|_| Unreadable)?;
        let named = json::members(tree.root(), &FRAME).ok_or(Unreadable)?;
        match named.text(0).as_deref() {
            Some("message_start") => self.message(facts, named.value(1).ok_or(Unreadable)?)?,
            Some("message_delta") => {
                let delta = named.value(3).and_then(|delta| json::members(delta, &["stop_reason", "container"]));
                self.stopped |= delta.as_ref().is_some_and(|delta| delta.value(0).is_some());
                self.contained |= delta.is_some_and(|delta| delta.value(1).is_some());
                if let Some(usage) = named.value(2) {
                    self.take(facts, usage)?;
                }
            }
            Some("message_stop") => {
                facts.ended = true;
                return Ok(Seen::End);
            }
            Some("error") => {
                facts.fail(named.value(4).and_then(kind));
                return Ok(Seen::End);
            }
            _ => {}
        }
        Ok(Seen::Ordinary)
    }

    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        facts.called.count(TOOLS.whole, document.raw().as_bytes());
        self.message(facts, document)?;
        self.stopped = true;
        Ok(())
    }

    fn counts(&self, facts: &Facts) -> Counts {
        if !self.reported {
            return Counts::None;
        }
        let mut parts = self.fields.parts(&facts.model);
        if let Some(main) = parts.first_mut() {
            let is_free = facts.code_is_free.unwrap_or(facts.called.within && self.fields.used_web());
            main.vector.code_sessions = u64::from((facts.called.ran || self.contained) && !is_free);
        }
        let states = self.fields.input.is_some() && self.fields.output.is_some();
        let whole = self.stopped && states && self.fields.splits_all();
        if whole { Counts::Whole(parts) } else { Counts::Part(parts) }
    }

    fn tools(&self) -> &'static Tools {
        &TOOLS
    }
}

impl Messages {
    /// How fast it ran; empty where nothing says so.
    pub(super) fn speed(&self) -> &str {
        &self.speed
    }

    /// Takes a message: the whole answer, or what a stream begins with.
    fn message(&mut self, facts: &mut Facts, message: Value<'_>) -> Result<(), Unreadable> {
        let named = json::members(message, &MESSAGE).ok_or(Unreadable)?;
        Facts::name(&mut facts.id, named.text(0));
        Facts::name(&mut facts.model, named.text(1));
        self.stopped |= named.value(3).is_some();
        self.contained |= named.value(5).is_some();
        if let Some(error) = named.value(4) {
            facts.fail(kind(error));
        }
        named.value(2).map_or(Ok(()), |usage| self.take(facts, usage))
    }

    /// Takes a usage object, over those before it.
    fn take(&mut self, facts: &mut Facts, usage: Value<'_>) -> Result<(), Unreadable> {
        let named = json::members(usage, &USAGE).ok_or(Unreadable)?;
        self.fields.merge(&named);
        self.reported |= self.fields.input.is_some() || self.fields.output.is_some();
        Facts::rename(&mut self.tier, named.text(8));
        Facts::rename(&mut self.speed, named.text(10));
        Facts::rename(&mut facts.region, named.text(9).filter(|region| region != "not_available"));
        // Wherever there is room has no price of its own.
        let place = if facts.region == "global" { "" } else { facts.region.as_str() };
        let tier = joined(&joined(&self.tier, &self.speed), place);
        Facts::rename(&mut facts.service_tier, Some(tier));
        facts.raw(usage.raw());
        let states = (0..=1).any(|place| named.value(place).is_some());
        if states && !self.reported { Err(Unreadable) } else { Ok(()) }
    }
}

impl Fields {
    fn merge(&mut self, named: &json::Members<'_, 11>) {
        let inner = |place, name: &str| json::members(named.value(place)?, &[name])?.count(0);
        self.input = named.count(0).or(self.input);
        self.output = named.count(1).or(self.output);
        self.cache_read = named.count(2).or(self.cache_read);
        self.cache_write = named.count(3).or(self.cache_write);
        let split = (inner(4, "ephemeral_5m_input_tokens"), inner(4, "ephemeral_1h_input_tokens"));
        if split != (None, None) {
            self.split = Some((split.0.unwrap_or(0), split.1.unwrap_or(0)));
        }
        self.thinking = inner(5, "thinking_tokens").or(self.thinking);
        self.web_searches = inner(6, "web_search_requests").or(self.web_searches);
        self.web_fetches = inner(6, "web_fetch_requests").or(self.web_fetches);
        if let Some(iterations) = named.value(7) {
            self.iterations = Some(iterations.raw().to_owned());
        }
    }

    /// Whether the web was looked into.
    fn used_web(&self) -> bool {
        [self.web_searches, self.web_fetches].into_iter().flatten().any(|requests| requests > 0)
    }

    /// Whether it is known for how long all was written. A stream splits at its beginning what was written by then, and tells at its end
    /// only how much that is in all; where some of it was for an hour, nobody knows of the rest.
    fn splits_all(&self) -> bool {
        let written = self.cache_write.unwrap_or(0);
        let is_split = |(minutes, hour): (u64, u64)| hour == 0 || written <= minutes.saturating_add(hour);
        // Each of several passes has its own.
        self.split.is_none_or(is_split) || self.passes("").is_some()
    }

    fn vector(&self) -> Vector {
        let (five_minutes, an_hour) = self.split.unwrap_or_default();
        let written = self.cache_write.unwrap_or_else(|| five_minutes.saturating_add(an_hour));
        let cache_write_1h = an_hour.min(written);
        let output = self.output.unwrap_or(0);
        Vector {
            uncached_input: self.input.unwrap_or(0),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: written - cache_write_1h,
            cache_write_1h,
            output,
            web_searches: self.web_searches.unwrap_or(0),
            reasoning: self.thinking.unwrap_or(0).min(output),
            ..Vector::default()
        }
    }

    /// The counts by model, those of the model that answered first.
    fn parts(&self, answered: &str) -> Vec<Part> {
        let top = self.vector();
        let Some(passes) = self.passes(answered) else { return vec![Part { model: None, vector: top }] };
        // Searches and thinking are stated for all passes together.
        let mut parts =
            vec![Part { model: None, vector: Vector { web_searches: top.web_searches, ..Vector::default() } }];
        for pass in passes {
            match parts.iter_mut().find(|part| part.model == pass.model) {
                Some(part) => part.vector = part.vector + pass.vector,
                None => parts.push(pass),
            }
        }
        if let Some(main) = parts.first_mut().filter(|main| main.vector.reasoning == 0) {
            main.vector.reasoning = top.reasoning.min(main.vector.output);
        }
        parts
    }

    /// The billed passes; nothing where they are not listed. A pass of another model that put nothing out, such as a fallback
    /// that failed, is not billed.
    fn passes(&self, answered: &str) -> Option<Vec<Part>> {
        let tree = Tree::read_answer(self.iterations.as_deref()?.as_bytes()).ok()?;
        let mut passes = Vec::new();
        for pass in tree.root().items()? {
            let mut fields = Self::default();
            fields.merge(&json::members(pass, &USAGE)?);
            let model = json::members(pass, &["model"])?.text(0).filter(|model| model != answered);
            if model.is_none() || fields.output.is_some_and(|output| output > 0) {
                passes.push(Part { model, vector: fields.vector() });
            }
        }
        (!passes.is_empty()).then_some(passes)
    }
}
