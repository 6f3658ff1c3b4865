//! OpenAI's chat completions, and whatever else of its APIs, or in its dialect, has its usage in `usage`.
//!
//! Usage comes in one frame, mostly with `choices: []` before `[DONE]`, at some beside the last choice, at Groq under `x_groq`;
//! every other frame may carry `usage: null`, at some what was used so far. Broken off before it, nothing is known, or so much at least; and it
//! is the count at the end only where every choice has ended. Ordinary frames are searched, and parsed only if they
//! name something.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schemas::{
    json::{Kind, Tree, Value},
    tokens::Part,
};

use super::{
    Seen,
    fold::{Fold, Reported, Unreadable, has_object, kind},
    openai_calls::Calls,
    openai_usage,
    shape::{at, first},
    tally::{Counts, Facts},
    tools::{Place, Tools, Where},
    visible::after_colon,
};
use crate::{
    failing::{self, Ended},
    json,
};

/// What is known of a chat completion.
#[derive(Debug, Default)]
pub(super) struct Chat {
    /// Whether there is no output, as with embeddings.
    embeds: bool,
    /// Whether the output is sound.
    sounds: bool,
    /// Whether it is images.
    paints: bool,
    /// What was reported last.
    reported: Option<Reported>,
    /// Whether what was reported is the count at the end and not one on the way.
    is_last: bool,
    /// Whether all of the stream came, marked or not: some do not send `[DONE]`.
    finished: bool,
    /// Whether usage came in a frame of its own, which ends a stream.
    alone: bool,
    /// Whether there is a list of choices, as chats have, which has something in it or the model has failed.
    chooses: bool,
    /// Which choices were seen, and which of them have said why they end.
    begun: u128,
    ended: u128,
    /// Whether it was marked.
    done: bool,
    /// How many frames were parsed only to learn who answers.
    introduced: u8,
    /// The calls of tools of a stream.
    calls: Calls,
}

/// Newer calls, those of before, and those of tools whose input is text.
static TOOLS: Tools = Tools { whole: &[&WHOLE], frame: &[&FRAME] };

pub(super) static WHOLE: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"name\"")),
    places: &[
        Place::call(&["choices", "*", "message", "tool_calls", "*", "function", "name"]),
        Place::call(&["choices", "*", "message", "tool_calls", "*", "custom", "name"]),
        Place::call(&["choices", "*", "message", "function_call", "name"]),
    ],
};

pub(super) static FRAME: Where = Where {
    sign: LazyLock::new(|| Finder::new("\"name\"")),
    places: &[
        Place::call(&["choices", "*", "delta", "tool_calls", "*", "function", "name"]),
        Place::call(&["choices", "*", "delta", "tool_calls", "*", "custom", "name"]),
        Place::call(&["choices", "*", "delta", "function_call", "name"]),
    ],
};

const NAMES: [&str; 13] = [
    "id",
    "model",
    "service_tier",
    "usage",
    "x_groq",
    "error",
    "choices",
    // Known to say nothing that a client would miss with the usage that it did not ask for.
    "object",
    "type",
    "created",
    "system_fingerprint",
    "obfuscation",
    "provider",
];
const ID: usize = 0;
const MODEL: usize = 1;
const SERVICE_TIER: usize = 2;
const USAGE: usize = 3;
const X_GROQ: usize = 4;
const ERROR: usize = 5;
const CHOICES: usize = 6;
const OBJECT: usize = 7;
const TYPE: usize = 8;

/// How many frames at the start are parsed to learn model and id; Azure's first has neither.
const INTRODUCTION: u8 = 3;

static USAGE_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static FINISH_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
/// The members that hold output text, the usual one first.
static TEXT_KEYS: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| {
    ["\"content\"", "\"arguments\"", "\"reasoning_content\"", "\"reasoning\"", "\"refusal\"", "\"text\""]
        .map(Finder::new)
});

/// Those of them that hold thoughts.
const THOUGHTS: [usize; 2] = [2, 3];

impl Fold for Chat {
    fn event(&mut self, facts: &mut Facts, _: &str, data: &[u8]) -> Result<Seen, Unreadable> {
        if data == b"[DONE]" {
            (facts.ended, self.done) = (true, true);
            let is_nothing = self.ended == 0 && facts.visible.bytes() == 0 && facts.called.calls == 0;
            if self.chooses && is_nothing && facts.error.is_none() {
                facts.fail(None);
            }
            return Ok(Seen::End);
        }
        let reports = has_object(data, &USAGE_KEY);
        let keep = self.reported.is_none();
        if facts.asked > 1 && keep {
            facts.visible.says(speaker(data));
        }
        let said = TEXT_KEYS.iter().position(|key| facts.visible.take(data, key, keep));
        facts.said |= said.is_some_and(|place| !THOUGHTS.contains(&place));
        let says = said.is_some();
        let known = !facts.model.is_empty() && !facts.id.is_empty();
        // Why it finishes may be that it has failed.
        let ordinary = says && !reports && (known || self.introduced >= INTRODUCTION) && !says_why(data);
        // Behind the end of one choice another one may go on.
        let ordinary = ordinary && self.ended == 0;
        let names = FRAME.sign.find(data).is_some();
        let tree = if ordinary && !names { None } else { Tree::read_answer(data).ok() };
        match &tree {
            Some(tree) if names => {
                let begun = self.calls.begun(tree.root());
                facts.called.calls = facts.called.calls.saturating_add(begun);
            }
            // It was cut: what has come of it is followed byte by byte.
            None if names => facts.called.count(TOOLS.frame, data),
            Some(_) | None => {}
        }
        if ordinary {
            return Ok(Seen::Ordinary);
        }
        self.introduced = self.introduced.saturating_add(1);
        self.parsed(facts, &tree.ok_or(Unreadable)?)
    }

    fn whole(&mut self, facts: &mut Facts, document: Value<'_>) -> Result<(), Unreadable> {
        let named = json::members(document, &NAMES).ok_or(Unreadable)?;
        facts.called.count(TOOLS.whole, document.raw().as_bytes());
        Facts::name(&mut facts.id, named.text(ID));
        Facts::name(&mut facts.model, named.text(MODEL));
        Facts::name(&mut facts.service_tier, named.text(SERVICE_TIER));
        fail(facts, &named);
        let choices = named.value(CHOICES).and_then(Value::items);
        if facts.error.is_none() && choices.is_some_and(|mut choices| choices.next().is_none()) {
            facts.fail(None);
        }
        let Some(usage) = usage(&named) else { return Ok(()) };
        match openai_usage::read(usage, !self.embeds)? {
            Some(reported) => {
                self.is_last = true;
                self.take(facts, usage, reported);
            }
            None => uncounted(facts, usage),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.finished
    }

    fn tools(&self) -> &'static Tools {
        // Vectors, sound and images are large, and call nothing.
        if self.embeds || self.sounds || self.paints { &Tools::NONE } else { &TOOLS }
    }

    fn counts(&self, facts: &Facts) -> Counts {
        let Some(Reported { mut vector, whole, .. }) = self.reported else { return Counts::None };
        // They look into the web for every answer, and no usage says so.
        let searches = ["-search-preview", "-search-api"].iter().any(|kind| facts.model.contains(kind));
        vector.web_searches = vector.web_searches.max(searches.into());
        let parts = vec![Part { model: None, vector }];
        if whole && (self.is_last || self.done) { Counts::Whole(parts) } else { Counts::Part(parts) }
    }
}

impl Chat {
    /// For an API that has no output.
    pub(super) fn without_output() -> Self {
        Self { embeds: true, ..Self::default() }
    }

    /// For an API whose output is images.
    pub(super) fn of_images() -> Self {
        Self { paints: true, ..Self::default() }
    }

    /// For an API whose output is sound.
    pub(super) fn of_sound() -> Self {
        Self { sounds: true, ..Self::default() }
    }

    /// Takes a frame that is worth parsing.
    fn parsed(&mut self, facts: &mut Facts, tree: &Tree<'_>) -> Result<Seen, Unreadable> {
        let named = json::members(tree.root(), &NAMES).ok_or(Unreadable)?;
        Facts::name(&mut facts.id, named.text(ID));
        Facts::name(&mut facts.model, named.text(MODEL));
        Facts::rename(&mut facts.service_tier, named.text(SERVICE_TIER));
        fail(facts, &named);
        let choices = named.value(CHOICES);
        self.chooses |= choices.is_some();
        self.follow(choices);
        self.finished = self.alone || self.have_ended(facts.asked);
        self.is_last &= self.finished;
        let Some(usage) = usage(&named) else { return Ok(Seen::Ordinary) };
        let Some(reported) = openai_usage::read(usage, true)? else {
            if openai_usage::says_time(usage) {
                uncounted(facts, usage);
            }
            return Ok(Seen::Ordinary);
        };
        let alone = choices.is_none_or(|choices| choices.items().is_some_and(|mut items| items.next().is_none()));
        self.alone |= alone;
        self.finished |= alone;
        self.is_last = self.finished;
        self.take(facts, usage, reported);
        let bare = named.value(USAGE).is_some() && choices.is_some() && alone;
        let silent = [X_GROQ, ERROR].into_iter().all(|place| named.value(place).is_none()) && !named.others;
        Ok(if bare && silent { Seen::UsageOnly } else { Seen::Ordinary })
    }

    /// Notes which choices a frame has, and which of them say why they end.
    fn follow(&mut self, choices: Option<Value<'_>>) {
        for (place, choice) in (0_u64..).zip(choices.and_then(Value::items).into_iter().flatten()) {
            let Some(named) = json::members(choice, &["index", "finish_reason"]) else { continue };
            // Nobody gives more of them than there are bits.
            let index = named.count(0).unwrap_or(place);
            let bit = u32::try_from(index).ok().and_then(|index| 1_u128.checked_shl(index)).unwrap_or(0);
            self.begun |= bit;
            if named.value(1).and_then(Value::word).is_some_and(|why| !why.is_empty()) {
                self.ended |= bit;
            }
        }
    }

    /// Whether every choice has ended, of so many that were asked for at least.
    fn have_ended(&self, asked: u64) -> bool {
        let all = self.begun & !self.ended == 0;
        all && self.ended != 0 && (self.ended == u128::MAX || u64::from(self.ended.count_ones()) >= asked)
    }

    fn take(&mut self, facts: &mut Facts, usage: Value<'_>, reported: Reported) {
        facts.raw.clear();
        facts.raw(usage.raw());
        facts.report(&reported);
        self.reported = Some(match reported {
            reported if self.sounds => reported.as_sound(),
            reported if self.paints => reported.with_images(openai_usage::images(usage)),
            reported => reported,
        });
    }
}

/// Which of several answers a frame says more of: each has frames of its own.
fn speaker(data: &[u8]) -> u64 {
    let Ok(tree) = Tree::read_answer(data) else { return 0 };
    let choices = json::members(tree.root(), &["choices"]).and_then(|named| named.value(0));
    let first = choices.and_then(Value::items).and_then(|mut choices| choices.next());
    first.and_then(|choice| json::members(choice, &["index"])?.count(0)).unwrap_or(0)
}

/// Keeps usage that counts no tokens all the same, and what it costs.
fn uncounted(facts: &mut Facts, usage: Value<'_>) {
    facts.raw.clear();
    facts.raw(usage.raw());
    facts.cost = openai_usage::cost_of(usage).or(facts.cost);
    if openai_usage::says_time(usage) {
        facts.not_counted();
    }
}

/// Keeps the error that an answer or a frame has, or one of its choices.
fn fail(facts: &mut Facts, named: &json::Members<'_, 13>) {
    if let Some(error) = named.value(ERROR) {
        return facts.fail(kind(error));
    }
    // Older servers of vLLM say it at the top.
    if named.text(OBJECT).as_deref() == Some("error") {
        return facts.fail(named.text(TYPE));
    }
    let choices = || named.value(CHOICES).and_then(Value::items).into_iter().flatten();
    facts.said |= choices().any(says);
    let said = facts.may_have_said();
    for choice in choices() {
        let Some(choice) = json::members(choice, &["error", "finish_reason"]) else { continue };
        let reason = choice.value(1).and_then(Value::word);
        let reason = reason.filter(|reason| failing::chat(reason, said) == Ended::Failed);
        match (choice.value(0), reason) {
            (Some(error), _) => facts.fail(kind(error)),
            (None, Some(reason)) => facts.fail(Some(reason.into_owned())),
            (None, None) => {}
        }
    }
}

/// Whether a choice says anything, and does not only think.
fn says(choice: Value<'_>) -> bool {
    let said = first(choice, &[&["message"], &["delta"]]).unwrap_or(choice);
    ["content", "text", "refusal", "tool_calls", "function_call", "audio", "images"].into_iter().any(|name| {
        at(said, &[name]).is_some_and(|value| match value.kind() {
            Kind::Text(_) => value.word().is_some_and(|text| !text.is_empty()),
            Kind::List(mut items) => items.next().is_some(),
            Kind::Object(_) => true,
            _ => false,
        })
    })
}

fn says_why(choices: &[u8]) -> bool {
    FINISH_KEY.find_iter(choices).any(|at| after_colon(choices, at + FINISH_KEY.needle().len()).starts_with(b"\""))
}

/// The usage that an answer or a frame carries, at Groq under `x_groq`.
fn usage<'t>(named: &json::Members<'t, 13>) -> Option<Value<'t>> {
    named.value(USAGE).or_else(|| json::members(named.value(X_GROQ)?, &["usage"])?.value(0))
}
