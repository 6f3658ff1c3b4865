//! Bedrock: Converse and its stream in Bedrock's own form, InvokeModel and its stream in the form of each model's maker.
//!
//! Converse counts input without what was cached, and each cache count under two names, which say the same. InvokeModel reports in
//! headers and its stream in `amazon-bedrock-invocationMetrics`, beside whatever the model's maker reports: the makers' reports count
//! where Bedrock says nothing, and for output where they say more. A guardrail that stops the prompt leaves both out: no model ran.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem::Finder;
use schemas::{
    json::{Tree, Value},
    tokens::{Part, Vector},
};

use super::{
    Seen,
    anthropic_messages::Messages,
    fold::{Fold, Reported, Unreadable},
    shape::{Mark, Shape, at, first, in_front, verbatim},
    tally::{Counts, Facts},
};
use crate::json::{self, number};

/// An answer of Converse, or an event of its stream. Of a stream the last one, behind the one that says why it stops, has usage.
pub(super) static CONVERSE: Shape = Shape {
    text: LazyLock::new(|| ["\"text\"", "\"input\""].map(Finder::new).into()),
    sign: Some("\"usage\""),
    id: &[],
    model: &[],
    tier: &[&["serviceTier", "type"]],
    usage: &[&["usage"]],
    error: &[],
    read: converse,
    raw: verbatim,
    mark: |name, _| if name == "metadata" { Mark::Last } else { Mark::None },
    background: in_front,
};

const CONVERSE_NAMES: [&str; 7] = [
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
    "cacheWriteInputTokens",
    "cacheWriteInputTokenCount",
    "cacheDetails",
];

fn converse(usage: Value<'_>) -> Result<Option<Reported>, Unreadable> {
    let named = json::members(usage, &CONVERSE_NAMES).ok_or(Unreadable)?;
    if (0..=5).all(|place| named.value(place).is_none()) {
        return Ok(None);
    }
    let either = |one, other| named.count(one).or_else(|| named.count(other)).unwrap_or(0);
    let written = either(4, 5);
    let hourly = |detail: Value<'_>| {
        let named = json::members(detail, &["ttl", "inputTokens"])?;
        named.text(0).filter(|ttl| ttl == "1h").and_then(|_| named.count(1))
    };
    let details = named.value(6).and_then(Value::items).into_iter().flatten();
    let cache_write_1h = details.filter_map(hourly).fold(0, u64::saturating_add).min(written);
    let vector = Vector {
        uncached_input: named.count(0).unwrap_or(0),
        cache_read: either(2, 3),
        cache_write_5m: written - cache_write_1h,
        cache_write_1h,
        output: named.count(1).unwrap_or(0),
        ..Vector::default()
    };
    let says = named.value(0).is_some() && named.value(1).is_some();
    Ok(Some(Reported::of(vector, says && !(0..=5).any(|place| named.miscounts(place)))))
}

/// What was found of an answer of InvokeModel.
#[derive(Debug, Default)]
pub(super) struct Invoke {
    /// What Bedrock reports.
    reported: Option<Vector>,
    /// The headers that report, as members of an object.
    headers: Vec<String>,
    /// What Anthropic's models report.
    messages: Messages,
    /// What the models of other makers report.
    native: Option<Vector>,
    /// Whether a guardrail stepped in.
    guarded: bool,
}

const METRICS: &str = "amazon-bedrock-invocationMetrics";
const METRICS_NAMES: [&str; 4] =
    ["inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"];

/// The members that hold output text of makers other than Anthropic.
static TEXT_KEYS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\"text\"", "\"outputText\"", "\"generation\""].map(Finder::new));

impl Fold for Invoke {
    fn header(&mut self, name: &str, value: &str) {
        let kind = name.strip_prefix("x-amzn-bedrock-").and_then(|name| name.strip_suffix("-token-count"));
        let (Some(kind), Ok(count)) = (kind, number::count(value)) else { return };
        let reported = self.reported.get_or_insert_default();
        match kind {
            "input" => reported.uncached_input = count,
            "output" => reported.output = count,
            "cache-read-input" => reported.cache_read = count,
            "cache-write-input" => reported.cache_write_5m = count,
            _ => {}
        }
        self.headers.push(format!("\"{name}\":\"{value}\""));
    }

    fn event(&mut self, facts: &mut Facts, _: &str, data: &[u8]) -> Result<Seen, Unreadable> {
        let tree = Tree::read_answer(data).map_err(|_| Unreadable)?;
        let bytes = at(tree.root(), &["bytes"]).and_then(Value::word).ok_or(Unreadable)?;
        let document = STANDARD.decode(bytes.as_bytes()).map_err(|_| Unreadable)?;
        let tree = Tree::read_answer(&document).map_err(|_| Unreadable)?;
        let root = tree.root();
        if at(root, &["type"]).is_some() {
            // Its end is that of the messages, and not yet that of Bedrock's answer.
            self.messages.event(facts, "", &document)?;
            facts.ended = false;
        } else {
            TEXT_KEYS.iter().any(|key| facts.visible.take(&document, key, self.native.is_none()));
            self.makers(facts, root)?;
        }
        self.guarded |= at(root, &["amazon-bedrock-guardrailAction"]).is_some_and(is_intervention);
        if let Some(metrics) = at(root, &[METRICS]) {
            let named = json::members(metrics, &METRICS_NAMES).ok_or(Unreadable)?;
            let count = |place| named.count(place).unwrap_or(0);
            self.reported = Some(Vector {
                uncached_input: count(0),
                output: count(1),
                cache_read: count(2),
                cache_write_5m: count(3),
                ..Vector::default()
            });
            facts.raw(metrics.raw());
        }
        facts.ended = self.reported.is_some() || self.guarded;
        Ok(if self.reported.is_some() { Seen::End } else { Seen::Ordinary })
    }

    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        self.guarded = at(document, &["amazon-bedrock-guardrailAction"]).is_some_and(is_intervention);
        if at(document, &["type"]).and_then(Value::word).as_deref() == Some("message") {
            self.messages.whole(facts, document)?;
        } else {
            self.makers(facts, document)?;
        }
        if !self.headers.is_empty() {
            facts.raw.clear();
            facts.raw(&format!("{{{}}}", self.headers.join(",")));
        }
        Ok(())
    }

    fn counts(&self, facts: &Facts) -> Counts {
        let parts = |vector| vec![Part { model: None, vector }];
        let by_messages = self.messages.counts(facts);
        match (self.reported, by_messages) {
            (Some(reported), Counts::Whole(native) | Counts::Part(native)) => {
                let native = native.iter().fold(Vector::default(), |sum, part| sum + part.vector);
                Counts::Whole(parts(with_native(reported, &native)))
            }
            (Some(reported), Counts::None) => {
                Counts::Whole(parts(self.native.map_or(reported, |native| with_native(reported, &native))))
            }
            (None, Counts::None) => match self.native {
                Some(native) if facts.ended => Counts::Whole(parts(native)),
                Some(native) => Counts::Part(parts(native)),
                None if self.guarded => Counts::Whole(parts(Vector::default())),
                None => Counts::None,
            },
            (None, by_messages) => by_messages,
        }
    }
}

/// What Bedrock reports, with more output where the maker reports more, and with the lifetimes that only the maker knows.
fn with_native(reported: Vector, native: &Vector) -> Vector {
    let written = reported.cache_write_5m.saturating_add(reported.cache_write_1h);
    let cache_write_1h = native.cache_write_1h.min(written);
    let output = reported.output.max(native.output);
    let reasoning = native.reasoning.min(output);
    Vector { output, reasoning, cache_write_1h, cache_write_5m: written - cache_write_1h, ..reported }
}

fn is_intervention(action: Value<'_>) -> bool {
    action.text().is_some_and(|action| action == *"INTERVENED")
}

impl Invoke {
    /// Takes what makers other than Anthropic report.
    fn makers(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        Facts::name(&mut facts.model, at(document, &["model"]).and_then(Value::word).map(String::from));
        let usage = first(document, &[&["metadata", "usage"], &["usage"]]);
        if let Some(usage) = usage {
            facts.raw(usage.raw());
            let reported = match converse(usage)? {
                Some(reported) => Some(reported),
                None => super::openai_usage::read(usage, true)?,
            };
            self.native = reported.map(|reported| reported.vector).or(self.native);
        }
        let named = json::members(document, &["prompt_token_count", "generation_token_count"]).ok_or(Unreadable)?;
        if let (Some(uncached_input), Some(output)) = (named.count(0), named.count(1)) {
            self.native = Some(Vector { uncached_input, output, ..Vector::default() });
        }
        Ok(())
    }
}
