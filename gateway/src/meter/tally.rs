//! What was learnt of an answer so far, whatever its dialect, and how it turns into [`Measured`].
//!
//! The dialects say what a frame or a body means; this file keeps what they found, decides whether a count is whole, and why
//! it is not. Every text that is kept is bounded.

use schemas::{
    event::Operation,
    json::Tree,
    money::Pico,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use super::{
    Answer, Begun, Finish, Measured, Seen,
    fold::{self, Fold, Reported},
    tools::{Counted, Tools},
    visible::Visible,
};

/// The longest name, id or tier that is kept.
const NAME_MAX: usize = 256;
/// How many usage objects of one answer are kept; Anthropic sends two.
const RAW_MAX: usize = 8;
/// How many calls are remembered by their places: more than answers have. Of those beyond, the end of the answer tells.
const TOLD_MAX: usize = 512;
/// The largest usage object that is kept; one of a hundred passes has 25 kB.
const RAW_BYTES_MAX: usize = 64 * 1024;

/// What was learnt so far.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) facts: Facts,
    /// What the answer is read with; nothing where it costs nothing: a refusal, or tokens counted.
    fold: Option<Box<dyn Fold>>,
    operation: Operation,
    /// Whether a guardrail looked at it, which is charged apart.
    guarded: bool,
}

/// What every dialect may find.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) service_tier: String,
    pub(super) region: String,
    pub(super) cost: Option<Pico>,
    /// The usage objects that count, verbatim.
    pub(super) raw: Vec<String>,
    pub(super) visible: Visible,
    /// What no usage object counts.
    pub(super) called: Counted,
    /// Whether the usage object has all searches of it all the same.
    states_searches: bool,
    /// The places of the calls that were told of by theirs.
    told: Vec<u64>,
    /// The error that the answer ends with, by the provider's name for it.
    pub(super) error: Option<String>,
    /// Whether there was anything but thoughts, where a dialect has to know it.
    pub(super) said: bool,
    /// Whether the mark that ends the answer came.
    pub(super) ended: bool,
    /// Whether it was too large to be read, but for some of its members.
    pub(super) is_brief: bool,
    /// How many answers were asked for in one, at least; 0 where nobody says.
    pub(super) asked: u64,
    /// Whether code that the provider runs costs nothing, if the request was read for that.
    pub(super) code_is_free: Option<bool>,
    /// Whether an answer of an API that is not known is a response of OpenAI's form.
    pub(super) is_response: bool,
    /// When it was begun, if the answer is worked on apart from this exchange.
    pub(super) background: Option<Begun>,
    /// Why usage may have gone by unread, or uncounted.
    unread: Option<Doubt>,
    /// Whether it ended within a frame.
    cut: bool,
}

/// What a dialect knows of the counts.
#[derive(Debug)]
pub(super) enum Counts {
    /// Nothing was reported.
    None,
    /// So much, and it is all.
    Whole(Vec<Part>),
    /// So much at least.
    Part(Vec<Part>),
}

impl Tally {
    pub(super) fn new(answer: Answer) -> Self {
        let fold = if answer.status < 400 { fold::of(answer.api) } else { None };
        Self { facts: Facts::default(), fold, operation: answer.api.operation(), guarded: false }
    }

    /// Takes a header of the answer.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        if let Some(fold) = &mut self.fold {
            fold.header(&mut self.facts, name, value);
        }
    }

    /// The request has a guardrail look at it.
    pub(super) const fn guarded(&mut self) {
        self.guarded = true;
    }

    /// The request asks for so many answers in one, or for more.
    pub(super) const fn choices(&mut self, asked: u64) {
        self.facts.asked = asked;
    }

    /// The request says whether code that the provider runs costs nothing.
    pub(super) const fn code_is_free(&mut self, is_free: bool) {
        self.facts.code_is_free = Some(is_free);
    }

    /// Takes the data of a frame, and what its framing calls it. `tail` says that the stream ended before the frame did, so that
    /// it may be cut.
    pub(super) fn frame(&mut self, name: &str, data: &[u8], tail: bool) -> Seen {
        let data = data.trim_ascii();
        self.facts.cut |= tail && data.is_empty();
        let Some(fold) = self.fold.as_mut().filter(|_| !data.is_empty()) else { return Seen::Ordinary };
        fold.event(&mut self.facts, name, data).unwrap_or_else(|_| {
            if tail {
                self.facts.cut = true;
            } else {
                self.facts.unread = self.facts.unread.or(Some(Doubt::Unreadable));
            }
            Seen::Ordinary
        })
    }

    /// The framing says that the answer ends with an error.
    pub(super) fn fail(&mut self, kind: &str) -> Seen {
        self.facts.fail(Some(kind.to_owned()));
        Seen::End
    }

    /// The framing says that the answer ends.
    pub(super) const fn end(&mut self) -> Seen {
        self.facts.ended = true;
        Seen::End
    }

    /// Takes a whole answer, of which `document` has the members that matter. Returns whether it could be read.
    pub(super) fn whole(&mut self, document: &[u8]) -> bool {
        let Some(fold) = &mut self.fold else { return true };
        match Tree::read_answer(document) {
            Ok(tree) => fold.whole(&mut self.facts, tree.root()).is_ok(),
            Err(_) => false,
        }
    }

    /// A frame is too large to be read whole, so that what is not reported in the end may have stood in there.
    pub(super) const fn too_large(&mut self) {
        self.facts.unread = Some(Doubt::FrameTooLarge);
    }

    /// It ended within a frame, which cannot be read.
    pub(super) const fn cut(&mut self) {
        self.facts.cut = true;
    }

    /// The answer is not what its API answers.
    pub(super) const fn unreadable(&mut self) {
        self.facts.unread = Some(Doubt::Unreadable);
    }

    pub(super) const fn visible(&self) -> &Visible {
        &self.facts.visible
    }

    /// Takes the text of a whole answer that does not report its usage.
    pub(super) fn text(&mut self, text: &str) {
        self.facts.visible.add_text(text);
    }

    /// Where calls of tools stand in a document that is followed as it comes.
    pub(super) fn tools(&self) -> &'static Tools {
        self.fold.as_ref().map_or(&Tools::NONE, |fold| fold.tools())
    }

    /// Whether its API answers in other forms than JSON too.
    pub(super) const fn may_be_no_document(&self) -> bool {
        matches!(self.operation, Operation::Speech | Operation::Transcription)
    }

    /// Whether the counts have to be estimated from text.
    pub(super) fn wants_text(&self) -> bool {
        matches!(self.counts(), Counts::None)
    }

    fn counts(&self) -> Counts {
        let mut counts = self.of_models();
        if let (true, Counts::Whole(parts) | Counts::Part(parts)) = (self.fold.is_some(), &mut counts)
            && let Some(part) = parts.first_mut()
        {
            part.vector.guardrails = u64::from(self.guarded);
            part.vector.tool_calls = self.facts.called.calls;
            if !self.facts.states_searches {
                part.vector.web_searches = part.vector.web_searches.max(self.facts.called.billed(&self.facts.model));
                part.vector.search_units = part.vector.search_units.max(self.facts.called.others());
            }
        }
        // What else was used is not stated, so that it is so much at least.
        match counts {
            Counts::Whole(parts) if self.facts.used_more() => Counts::Part(parts),
            counts => counts,
        }
    }

    fn of_models(&self) -> Counts {
        match self.fold.as_ref().map(|fold| fold.counts(&self.facts)) {
            None => Counts::Whole(vec![Part::default()]),
            // OpenAI moderates for nothing; who charges for it reports.
            Some(Counts::None) if self.operation == Operation::Moderation && self.facts.ended => {
                Counts::Whole(vec![Part::default()])
            }
            // It is being worked on, and reported where it is asked for.
            Some(Counts::None) if self.facts.background.is_some() && self.facts.ended => {
                Counts::Whole(vec![Part::default()])
            }
            Some(counts) => counts,
        }
    }

    pub(super) fn reported(&self) -> Vec<Part> {
        match self.counts() {
            Counts::Whole(parts) | Counts::Part(parts) => parts,
            Counts::None => Vec::new(),
        }
    }

    pub(super) fn so_far(&self) -> Vector {
        let sum = |parts: Vec<Part>| parts.iter().fold(Vector::default(), |sum, part| sum + part.vector);
        match self.counts() {
            Counts::Whole(parts) => sum(parts),
            Counts::Part(parts) => {
                let reported = sum(parts);
                Vector { output: reported.output.max(self.facts.visible.tokens_at_least()), ..reported }
            }
            Counts::None => {
                let output = self.facts.visible.tokens_at_least();
                Vector { output, tool_calls: self.facts.called.calls, ..Vector::default() }
            }
        }
    }

    /// The result. `doubt` is why the body was not read to its end, if it was not.
    pub(super) fn measured(mut self, doubt: Option<Doubt>) -> Measured {
        let free = self.fold.is_none();
        self.facts.ended |= !self.facts.cut && self.fold.as_ref().is_some_and(|fold| fold.has_ended());
        let broken = if self.facts.ended { Doubt::NotReported } else { Doubt::Truncated };
        let doubt = self.facts.unread.or(doubt).unwrap_or(broken);
        let usage = match self.counts() {
            Counts::Whole(parts) => Usage { parts, completeness: Completeness::Exact },
            Counts::Part(parts) => Usage { parts, completeness: Completeness::LowerBound(doubt) },
            Counts::None => Usage::missing(doubt),
        };
        if !matches!(usage.completeness, Completeness::Missing(_)) {
            self.facts.visible.forget_text();
        }
        let mut facts = self.facts;
        facts.visible.called(facts.called.calls, facts.called.billed(&facts.model));
        Measured {
            usage,
            raw_usage: match facts.raw.as_slice() {
                [] => String::new(),
                [one] => one.clone(),
                several => format!("[{}]", several.join(",")),
            },
            model_answered: facts.model,
            response_id: facts.id,
            service_tier: facts.service_tier,
            region: facts.region,
            provider_cost: facts.cost,
            finish: match facts.error {
                Some(kind) => Finish::ErrorInStream { kind },
                None if facts.ended || free => Finish::Complete,
                None => Finish::Truncated,
            },
            visible: facts.visible,
            background: facts.background,
            is_response: facts.is_response,
        }
    }
}

impl Facts {
    /// Keeps a name where none is kept yet; an empty one says nothing.
    pub(super) fn name(kept: &mut String, found: Option<String>) {
        if let Some(found) = found.filter(|_| kept.is_empty()) {
            Self::rename(kept, Some(found));
        }
    }

    /// Keeps the name said last; an empty one says nothing.
    pub(super) fn rename(kept: &mut String, found: Option<String>) {
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            *kept = shortened(found);
        }
    }

    /// Keeps a usage object beside those before it, unless it is far larger than any known one.
    pub(super) fn raw(&mut self, usage: &str) {
        if usage.len() > RAW_BYTES_MAX {
            return;
        }
        if self.raw.len() >= RAW_MAX {
            self.raw.pop();
        }
        self.raw.push(usage.to_owned());
    }

    /// Counts the call at this place, once.
    pub(super) fn call(&mut self, place: u64) {
        if self.told.len() < TOLD_MAX && !self.told.contains(&place) {
            self.told.push(place);
            self.called.calls = self.called.calls.saturating_add(1);
        }
    }

    /// Whether anything may have been said: what was not read may have said it.
    pub(super) const fn may_have_said(&self) -> bool {
        self.said || self.is_brief || self.called.calls > 0
    }

    /// Takes what a usage object says beside its counts.
    pub(super) fn report(&mut self, reported: &Reported) {
        self.cost = reported.cost.or(self.cost);
        self.states_searches = reported.states_searches;
        if reported.not_counted {
            self.not_counted();
        }
    }

    /// Whether there is anything of which nobody says how much it was.
    const fn used_more(&self) -> bool {
        self.called.untold || self.called.searched && !self.states_searches
    }

    /// What was used is stated in what no class counts.
    pub(super) const fn not_counted(&mut self) {
        if self.unread.is_none() {
            self.unread = Some(Doubt::NotCounted);
        }
    }

    /// Keeps an error by its name.
    pub(super) fn fail(&mut self, kind: Option<String>) {
        self.error = Some(shortened(kind.unwrap_or_default()));
    }
}

fn shortened(mut name: String) -> String {
    if name.len() > NAME_MAX {
        let end = (0..=NAME_MAX).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
    }
    name
}
