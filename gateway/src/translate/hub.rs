//! What every dialect can be read into and written from: a conversation, and the events of an answer ([`Event`]).
//!
//! The hub is the union of what at least two dialects can say; what only one of them can is refused or listed where it is read.
//! Texts are decoded; arguments, schemas and numbers stay as they were written. Every part knows its path in the client's
//! request, so that a target that has no place for it can say which part it was.

use crate::translate::{
    fields::{Ledger, Read, Refused},
    ids,
    json::Json,
    seal::Seal,
};

mod answer;
mod pairs;

pub(crate) use answer::{Answer, Block, Blocks, Event, Fault, Stop, Why, end};
pub(crate) use pairs::{Open, Pairs, own_ids};

/// A conversation to go on with, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Whether a stream is to end with its usage.
    pub(crate) wants_usage: bool,
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Option<(String, Choice)>,
    pub(crate) parallel: Option<(String, bool)>,
    pub(crate) max_tokens: Option<u64>,
    /// What ends an answer, and its path.
    pub(crate) stop: (&'static str, Vec<String>),
    pub(crate) knobs: Vec<Knob>,
    pub(crate) format: Option<(String, Format)>,
    pub(crate) reasoning: Option<Reasoning>,
    /// The message that the answer is to go on with.
    pub(crate) prefill: Option<String>,
    /// An opaque name of the end user.
    pub(crate) user: Option<(String, String)>,
    /// What was listed when it was read.
    pub(crate) ledger: Ledger,
    /// Members of the request that the answer repeats.
    pub(crate) echo: Vec<(&'static str, Json)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

impl Role {
    pub(crate) const fn instructs(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) at: String,
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) at: String,
    pub(crate) cache: Option<Cache>,
    pub(crate) what: What,
}

/// For how long a provider is asked to keep what stands up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Unsaid,
    Minutes5,
    Hour,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Text(String),
    Image(Media),
    File(Media),
    Audio(Media),
    Call(Call),
    Result(Outcome),
    /// Reasoning that was shown, with what proves it to who made it.
    Thinking(String, Seal),
    /// Reasoning that was not shown, or a proof that stands by itself.
    Sealed(Seal),
    Refusal(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) source: Source,
    pub(crate) name: Option<String>,
    /// What the client says of a document.
    pub(crate) context: Option<String>,
    pub(crate) detail: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Base64 { media: String, data: String },
    Url(String),
    Text(String),
}

/// The call of a tool; its arguments are the text that the model wrote, which should be a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// What a tool gave.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) id: String,
    /// The tool, if the client says so.
    pub(crate) name: Option<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) is_error: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) at: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) schema: Option<Json>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache: Option<Cache>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Auto,
    None,
    Required,
    Named(String),
    /// Only these, and at least one of them if `required`.
    Among {
        names: Vec<String>,
        required: bool,
    },
}

/// A setting of the sampler, as the number that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Knob {
    pub(crate) at: String,
    pub(crate) setting: Setting,
    pub(crate) value: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Temperature,
    TopP,
    TopK,
    Seed,
    FrequencyPenalty,
    PresencePenalty,
}

#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// JSON of any shape.
    Object,
    Schema {
        name: Option<String>,
        description: Option<String>,
        schema: Json,
        strict: Option<bool>,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reasoning {
    pub(crate) at: String,
    pub(crate) effort: Option<Effort>,
    /// The most tokens to reason with.
    pub(crate) budget: Option<u64>,
    pub(crate) off: bool,
    /// Whether the client asks to be shown it.
    pub(crate) shown: bool,
    /// Whether the client asks not to be shown it.
    pub(crate) hidden: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    const ALL: [Self; 6] = [Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    /// How many are less.
    fn place(self) -> usize {
        Self::ALL.into_iter().filter(|other| *other < self).count()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.name() == name)
    }

    /// The budget for an API that has no efforts: those which Google states for its OpenAI-compatible endpoint, and twice as much above.
    pub(crate) const fn budget(self) -> u64 {
        match self {
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::Xhigh | Self::Max => 49_152,
        }
    }

    /// The effort that has such a budget, for an API that has no budgets.
    pub(crate) fn of_budget(tokens: u64) -> Self {
        [Self::Low, Self::Medium].into_iter().find(|effort| tokens <= effort.budget()).unwrap_or(Self::High)
    }
}

impl Format {
    /// Lists what of a schema has no place at a target that takes it bare.
    pub(crate) fn note_names(&self, at: &str, ledger: &mut Ledger) {
        let Self::Schema { name, description, .. } = self else { return };
        match (name.is_some(), description.is_some()) {
            (true, true) => ledger.note(format!("{at} (its name and description)")),
            (true, false) => ledger.note(format!("{at} (its name)")),
            (false, true) => ledger.note(format!("{at} (its description)")),
            (false, false) => {}
        }
    }
}

impl Reasoning {
    /// Lists that a target shows its reasoning, asked or not.
    pub(crate) fn note_hidden(&self, ledger: &mut Ledger) {
        if self.hidden {
            ledger.note(format!("{}.display", self.at));
        }
    }

    /// The effort by its name, at a target that has only these, the least first. One that it has not is listed with the nearest, which it
    /// gets, and of two as near the greater.
    pub(crate) fn effort_of(&self, efforts: &[Effort], ledger: &mut Ledger) -> Option<&'static str> {
        let effort = self.effort()?;
        let nearest = efforts.iter().rev().min_by_key(|has| has.place().abs_diff(effort.place()))?;
        if *nearest != effort {
            ledger.note(format!("{} (its effort: {} in place of {})", self.at, nearest.name(), effort.name()));
        }
        Some(nearest.name())
    }

    /// The effort, stated or by its budget.
    pub(crate) fn effort(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget.map(Effort::of_budget))
    }

    /// The budget: as it was stated, or by its effort, which leaves half of the cap for the answer.
    pub(crate) fn budget_within(&self, cap: Option<u64>) -> Option<u64> {
        let by_effort = |effort: Effort| effort.budget().min(cap.map_or(u64::MAX, |cap| cap / 2));
        self.budget.or_else(|| self.effort.map(by_effort))
    }
}

impl Outcome {
    /// What a tool said, for a target that has no word for that it failed: a model is told in the way in which tools do it.
    pub(crate) fn told(&self, said: String) -> String {
        match (self.is_error, said.is_empty()) {
            (false, _) => said,
            (true, false) => format!("Error: {said}"),
            (true, true) => "Error".to_owned(),
        }
    }

    /// Lists the marks for a cache within it, for a target that has no place for them.
    pub(crate) fn note_caches(&self, ledger: &mut Ledger) {
        for part in self.parts.iter().filter(|part| part.cache.is_some()) {
            ledger.note(format!("{}.cache_control", part.at));
        }
    }
}

impl Turn {
    /// Whether it says nothing, which is listed then: it is for a target that takes no such turn.
    pub(crate) fn note_empty(&self, ledger: &mut Ledger) -> bool {
        let says_nothing = self.parts.iter().all(Part::is_empty);
        if says_nothing {
            ledger.note(format!("{} (it says nothing)", self.at));
        }
        says_nothing
    }

    /// Whether nothing of it goes to a target that takes back this reasoning, and no turn of nothing. What it has is listed then.
    fn note_gone(&self, takes: impl Fn(&What) -> bool, ledger: &mut Ledger) -> bool {
        let is_foreign = |part: &&Part| matches!(part.what, What::Thinking(..) | What::Sealed(_)) && !takes(&part.what);
        let is_gone = self.parts.iter().all(|part| part.is_empty() || is_foreign(&part));
        if is_gone && !self.note_empty(ledger) {
            self.parts.iter().filter(is_foreign).for_each(|part| part.note_reasoning(ledger));
        }
        is_gone
    }
}

impl Part {
    pub(crate) fn new(at: impl Into<String>, what: What) -> Self {
        Self { at: at.into(), cache: None, what }
    }

    pub(crate) fn refuse(&self, why: &'static str) -> Refused {
        Refused::target(self.at.clone(), why)
    }

    /// Whether it is a text of nothing.
    fn is_empty(&self) -> bool {
        matches!(&self.what, What::Text(text) | What::Refusal(text) if text.is_empty())
    }

    /// Lists that it is reasoning that a target cannot check.
    pub(crate) fn note_reasoning(&self, ledger: &mut Ledger) {
        ledger.note(format!("{} (reasoning)", self.at));
    }

    /// What the client says of a document, as a text to stand in front of it, for a target that has no place for that, or for its name.
    pub(crate) fn told(&self, has_name: bool) -> Option<String> {
        let What::File(file) = &self.what else { return None };
        let name = file.name.as_ref().filter(|name| !has_name && !name.is_empty());
        let name = name.map(|name| format!("Document title: {name}"));
        let context = file.context.as_ref().map(|context| format!("Document context: {context}"));
        let lines: Vec<String> = name.into_iter().chain(context).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Lists that this stands behind what the tool said that gave it, for a target that takes only text from a tool.
    pub(crate) fn note_behind(&self, ledger: &mut Ledger) {
        ledger.note(format!("{} (its place: it follows in a message of the user)", self.at));
    }

    pub(crate) fn text(&self) -> Option<&String> {
        if let What::Text(text) = &self.what { Some(text) } else { None }
    }
}

impl Conversation {
    pub(crate) fn say(&mut self, at: impl Into<String>, role: Role, parts: Vec<Part>) {
        self.turns.push(Turn { at: at.into(), role, parts });
    }

    pub(crate) fn refuse_at(&self, at: &str, why: &'static str) -> Refused {
        Refused::target(at, why)
    }

    /// Whether there are tools, and one may be called at a time.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.parallel, Some((_, false))) && !self.tools.is_empty()
    }

    /// Refuses to have one call at a time, for a target that cannot promise it.
    pub(crate) fn must_be_parallel(&self) -> Read<()> {
        match &self.parallel {
            Some((at, false)) if self.is_single() => {
                Err(self.refuse_at(at, "the provider has no way to forbid parallel calls"))
            }
            _ => Ok(()),
        }
    }

    /// The name of the end user, for a target that takes at most so many characters: beyond that a hash, which stays the same and is listed.
    pub(crate) fn user_within(&self, max: usize, ledger: &mut Ledger) -> Option<String> {
        let (at, user) = self.user.as_ref()?;
        if user.chars().count() <= max {
            return Some(user.clone());
        }
        ledger.note(format!("{at} (a hash of it is sent: the provider takes {max} characters)"));
        Some(ids::hashed("user_", user))
    }

    /// Refuses to go on with a message of the assistant's, for a target that answers it instead.
    pub(crate) fn must_begin(&self) -> Read<()> {
        match &self.prefill {
            Some(at) => Err(self.refuse_at(
                at,
                "the provider does not go on with a message of the assistant: end with one of the user",
            )),
            None => Ok(()),
        }
    }

    /// The sequences that stop an answer, for a target that takes at most so many.
    pub(crate) fn stops(&self, max: usize) -> Read<Vec<Json>> {
        let (at, stop) = &self.stop;
        if stop.len() > max {
            return Err(self.refuse_at(at, "the provider takes fewer sequences"));
        }
        Ok(stop.iter().map(Json::from).collect())
    }

    /// Writes the settings that the target has, as it names them. One that it lacks is refused, but a seed, which no provider
    /// promises to follow, is listed, and what is the same as saying nothing is left away.
    pub(crate) fn settings(
        &self,
        names: &[(Setting, &'static str)],
        to: &mut Json,
        ledger: &mut Ledger,
    ) -> Result<(), Refused> {
        for knob in &self.knobs {
            let value = knob.value.to_string();
            let is_penalty = matches!(knob.setting, Setting::FrequencyPenalty | Setting::PresencePenalty);
            if let Some((_, name)) = names.iter().find(|(setting, _)| *setting == knob.setting) {
                to.put(*name, knob.value.clone());
            } else if knob.setting == Setting::Seed {
                ledger.note(knob.at.clone());
            } else if !(is_penalty && matches!(value.as_str(), "0" | "0.0")) {
                return Err(Refused::target(knob.at.clone(), "the provider's models have no such setting"));
            }
        }
        Ok(())
    }

    /// The tools that may be called: what a choice rules out need not be there.
    pub(crate) fn allowed(&self) -> Vec<&Tool> {
        let among = |tool: &&Tool| match &self.choice {
            Some((_, Choice::Among { names, .. })) => names.contains(&tool.name),
            _ => true,
        };
        self.tools.iter().filter(among).collect()
    }

    /// The instructions, and the turns between user and assistant with each run of one role as one turn: for targets that
    /// take instructions apart and want the roles to alternate. Instructions that come later are listed, since they move to the front, and
    /// turns of nothing, or of nothing but reasoning that the target does not take back: no such target takes them, and they are none
    /// between others.
    pub(crate) fn apart(
        &self,
        takes: impl Fn(&What) -> bool,
        ledger: &mut Ledger,
    ) -> (Vec<&Part>, Vec<(Role, Vec<&Part>)>) {
        let (mut instructions, mut turns) = (Vec::new(), Vec::<(Role, Vec<&Part>)>::new());
        for turn in &self.turns {
            if turn.note_gone(&takes, ledger) {
                continue;
            }
            if turn.role.instructs() {
                if !turns.is_empty() {
                    ledger.note(format!("{} (its place: it joins the system prompt)", turn.at));
                }
                instructions.extend(&turn.parts);
                continue;
            }
            match turns.last_mut() {
                Some((role, parts)) if *role == turn.role => parts.extend(&turn.parts),
                _ => turns.push((turn.role, turn.parts.iter().collect())),
            }
        }
        for (_, parts) in &mut turns {
            // What tools gave comes first: the targets want it right behind the calls.
            parts.sort_by_key(|part| !matches!(part.what, What::Result(_)));
        }
        (instructions, turns)
    }
}

/// Text of parts that can only be text, as one.
pub(crate) fn plain(parts: &[Part], why: &'static str) -> Read<String> {
    let texts = parts.iter().map(|part| match &part.what {
        What::Text(text) | What::Refusal(text) => Ok(text.as_str()),
        _ => Err(part.refuse(why)),
    });
    Ok(texts.collect::<Read<Vec<_>>>()?.join("\n"))
}
