//! Bedrock: Converse and its stream in Bedrock's own form, InvokeModel and its stream in the form of each model's maker.
//!
//! Converse counts input without what was cached, and each cache count under two names, which say the same. InvokeModel reports in
//! headers and its stream in `amazon-bedrock-invocationMetrics`, beside whatever the model's maker reports: the makers' reports count
//! where Bedrock says nothing, and for output where they say more. A guardrail that stops the prompt leaves both out: no model ran.
//! The tier that is charged is made of two words, the service tier and the latency: in the answer's head, or in Converse's answer.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem::Finder;
use schemas::{
    json::{Tree, Value},
    price::joined,
    tokens::{Part, Vector},
};

use super::{
    Seen,
    anthropic_messages::{self, Messages},
    fold::{Fold, Reported, Unreadable},
    openai_chat,
    shape::{Mark, Shape, at, first, in_front, untold, verbatim},
    tally::{Counts, Facts},
    tools::{Place, Tools, Where},
};
use crate::{
    failing::{self, Ended},
    json::{self, number},
};

/// An answer of Converse, or an event of its stream. Of a stream the last one, behind the one that says why it stops, has usage.
pub(super) static CONVERSE: Shape = Shape {
    text: LazyLock::new(|| ["\"text\"", "\"input\""].map(Finder::new).into()),
    sign: Some("\"usage\""),
    id: &[],
    model: &[],
    tier: &[&["serviceTier", "type"]],
    latency: &[&["performanceConfig", "latency"]],
    usage: &[&["usage"]],
    error: &[],
    failed: |facts, event, _| {
        let reason = at(event, &["stopReason"]).and_then(Value::word)?;
        let mut blocks = at(event, &["output", "message", "content"]).and_then(Value::items).into_iter().flatten();
        // In a stream thoughts are not told from the rest.
        let said = facts.may_have_said() || facts.visible.bytes() > 0;
        let said = said || blocks.any(|block| at(block, &["reasoningContent"]).is_none());
        (failing::converse(&reason, said) == Ended::Failed).then(|| reason.into_owned())
    },
    read: converse,
    raw: verbatim,
    tools: &TOOLS,
    mark: |name, _| if name == "metadata" { Mark::Last } else { Mark::None },
    call: untold,
    background: in_front,
};

static TOOLS: Tools = Tools { whole: &[&WHOLE], frame: &[&START] };

pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"toolUse\"")),
    places: &[Place::call(&["output", "message", "content", "*", "toolUse", "name"])],
};
static START: Where =
    Where { sign: LazyLock::new(|| Finder::new("\"toolUse\"")), places: &[Place::call(&["start", "toolUse", "name"])] };

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
    /// What the models of other makers report, and whether that is both input and output.
    native: Option<Reported>,
    /// Whether a guardrail stopped the prompt, so that no model ran.
    guarded: bool,
    /// The tier that served it, in the words of Bedrock's headers; what the makers call one is not Bedrock's.
    tier: String,
}

const METRICS: &str = "amazon-bedrock-invocationMetrics";
const METRICS_NAMES: [&str; 4] =
    ["inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"];

/// The members that hold output text of makers other than Anthropic.
static TEXT_KEYS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\"text\"", "\"outputText\"", "\"generation\""].map(Finder::new));

impl Fold for Invoke {
    fn header(&mut self, facts: &mut Facts, name: &str, value: &str) {
        if TIERS.contains(&name) {
            self.tier = joined(&self.tier, value);
            return self.served(facts);
        }
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
            facts.called.count(MAKERS_TOOLS.frame, &document);
            self.makers(facts, root)?;
        }
        self.served(facts);
        self.guarded |= is_stopped(root);
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
            facts.called.count(MAKERS_TOOLS.whole, document.raw().as_bytes());
            self.makers(facts, document)?;
        }
        self.served(facts);
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
                Counts::Whole(parts(self.native.map_or(reported, |native| with_native(reported, &native.vector))))
            }
            (None, Counts::None) if self.guarded => Counts::Whole(parts(Vector::default())),
            (None, Counts::None) => match self.native {
                Some(native) if facts.ended && native.whole => Counts::Whole(parts(native.vector)),
                Some(native) => Counts::Part(parts(native.vector)),
                None => Counts::None,
            },
            (None, by_messages) => by_messages,
        }
    }

    fn tools(&self) -> &'static Tools {
        &MAKERS_TOOLS
    }
}

/// Most makers call tools as OpenAI's chat does, Amazon's own models as Converse; a large answer may be Anthropic's as well.
static MAKERS_TOOLS: Tools =
    Tools { whole: &[&openai_chat::WHOLE, &WHOLE, &anthropic_messages::WHOLE], frame: &[&openai_chat::FRAME, &BLOCK] };
static BLOCK: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"toolUse\"")),
    places: &[Place::call(&["contentBlockStart", "start", "toolUse", "name"])],
};

/// What Bedrock reports, with more output and more of the cache where the maker reports more, and with the lifetimes that only the
/// maker knows. Both count input without what was cached.
fn with_native(reported: Vector, native: &Vector) -> Vector {
    let all = |vector: &Vector| vector.cache_write_5m.saturating_add(vector.cache_write_1h);
    let (written, cache_read) = (all(&reported).max(all(native)), reported.cache_read.max(native.cache_read));
    let cache_write_1h = native.cache_write_1h.min(written);
    let output = reported.output.max(native.output);
    let reasoning = native.reasoning.min(output);
    Vector { output, reasoning, cache_read, cache_write_1h, cache_write_5m: written - cache_write_1h, ..reported }
}

fn is_intervention(action: Value<'_>) -> bool {
    action.text().is_some_and(|action| action == *"INTERVENED")
}

/// Whether a piece of a stream says that the prompt was stopped. That a guardrail stepped in is said of each piece of an answer as well
/// in which it masked something, and then a model ran.
fn is_stopped(piece: Value<'_>) -> bool {
    let guardrail = at(piece, &["amazon-bedrock-trace", "guardrail"]);
    let ran = |guardrail| ["outputs", "modelOutput"].into_iter().any(|name| at(guardrail, &[name]).is_some());
    let stopped = guardrail.is_some_and(|guardrail| at(guardrail, &["input"]).is_some() && !ran(guardrail));
    stopped && at(piece, &["amazon-bedrock-guardrailAction"]).is_some_and(is_intervention)
}

/// The headers that say how an answer was served.
pub(crate) const TIERS: [&str; 2] = ["x-amzn-bedrock-service-tier", "x-amzn-bedrock-performanceconfig-latency"];

impl Invoke {
    /// Keeps the tier that the head names, and the speed, which only the model's maker does.
    fn served(&self, facts: &mut Facts) {
        let named = (!self.tier.is_empty()).then(|| joined(&self.tier, self.messages.speed()));
        Facts::rename(&mut facts.service_tier, named);
    }

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
            self.native = reported.or(self.native);
        }
        let named = json::members(document, &MAKERS).ok_or(Unreadable)?;
        let input = named.count(0).or_else(|| named.count(2));
        let vectors = named.value(5).or_else(|| named.value(6)).map(|_| 0);
        let output = named.count(1).or_else(|| named.count(3)).or_else(|| results(named.value(4)?)).or(vectors);
        if input.is_some() || output.is_some() {
            // Some say the input once and the output with every piece.
            let before = self.native.unwrap_or_default();
            let vector = Vector {
                uncached_input: input.unwrap_or(before.vector.uncached_input),
                output: output.unwrap_or(before.vector.output),
                ..before.vector
            };
            let whole = before.whole || (input.is_some() || before.vector.uncached_input > 0) && output.is_some();
            self.native = Some(Reported::of(vector, whole));
        }
        Ok(())
    }
}

/// What Meta's and Amazon's models say in members of the answer itself.
const MAKERS: [&str; 7] = [
    "prompt_token_count",
    "generation_token_count",
    "inputTextTokenCount",
    "totalOutputTextTokenCount",
    "results",
    "embedding",
    "embeddingsByType",
];

/// The output of Amazon's Titan, which counts that of each text.
fn results(list: Value<'_>) -> Option<u64> {
    let mut counts = list.items()?.map(|result| json::members(result, &["tokenCount"])?.count(0));
    counts.try_fold(0, |sum: u64, count| Some(sum.saturating_add(count?)))
}
