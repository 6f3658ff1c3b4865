//! An amendment, held against what the ledger says of the attempt: refused by name, or made into the correction that it is.

use schemas::{
    error_code::ErrorCode,
    event::{Learned, Move, Posting, Settled, Why},
    limit::Unit,
    price::Cost,
    standing::{Clears, Key, Standing},
    subject::Subject,
    time::Time,
    tokens::{Completeness, Part, TokenClass, Usage, Vector},
};

use super::{External, Wrong, wrong};
use crate::{limits::Limits, obey::Books, settlement};

/// Who amends.
#[derive(Clone, Copy, Debug)]
pub struct Corrector<'a> {
    /// Whose key it is.
    pub subject: &'a Subject,
    /// Whether attempts that were made with other keys of its tenant are its to amend.
    pub of_all: bool,
    /// Whether what it says of attempts of its tenant is the whole.
    pub corrects: bool,
    /// The price books that attempts were admitted under.
    pub books: &'a Books,
}

/// What became of an amendment.
#[derive(Clone, Debug, PartialEq)]
pub enum Amended {
    /// It is a correction.
    Now(Box<Learned>),
    /// It was one before: this is the same event.
    Before,
}

impl External {
    /// Who says it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What its source calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The correction of an attempt that stands so in the ledger; `begins` is the first entry that is kept, where not all are.
    pub fn amend(
        self,
        corrector: Corrector<'_>,
        standing: Option<&Standing>,
        begins: Option<Time>,
        limits: &Limits,
    ) -> Result<Amended, Wrong> {
        let Corrector { subject, of_all, corrects, books } = corrector;
        let Some((call, attempt, was)) = self.amends else { return Err(wrong("the event amends nothing")) };
        let standing = standing.filter(|standing| standing.charged.settled.attempt.subject.tenant == subject.tenant);
        let standing = standing.ok_or_else(|| not_found((call, attempt), begins))?;
        let settled = &standing.charged.settled;
        if settled.attempt.subject.key != subject.key && !of_all {
            let what =
                "it was made with another key of the tenant; amend it with that, or with one that has `corrects: true`";
            return Err((ErrorCode::NotItsAttempt, what.into()));
        }
        if standing.amended.iter().any(|(source, id)| (source, id) == (&self.source, &self.id)) {
            return Ok(Amended::Before);
        }
        if settled.avoided.is_some() {
            let what = "it was answered from the cache, so it used nothing; amend the call whose answer was kept";
            return Err((ErrorCode::AmendsHit, what.into()));
        }
        self.is_of(settled)?;
        let stands = standing.usage().total().unwrap_or_default();
        if stands != was {
            let stands = stated(&stands);
            return Err(match standing.amended.back() {
                Some((source, id)) => {
                    let what = format!("event {id:?} of {source:?} amended it, and it stands at {stands} now");
                    (ErrorCode::AmendedOtherwise, what)
                }
                None => {
                    (ErrorCode::NotWhatStands, format!("it stands at {stands}, and `data.was` says {}", stated(&was)))
                }
            });
        }
        let whole_of_estimate = corrects && standing.is_estimate();
        let lowered = TokenClass::ALL.into_iter().find(|class| self.tokens.of(*class) < was.of(*class));
        if let Some(class) = lowered.filter(|_| !whole_of_estimate) {
            let said = format!("{} of {} is less than {}", self.tokens.of(class), class.name(), was.of(class));
            return Err((ErrorCode::EventLowers, said));
        }
        let completeness = if corrects { Completeness::Exact } else { standing.added() };
        let usage = Usage { parts: parts(standing.usage(), &was, &self.tokens), completeness };
        let of_answer = (settled.service_tier.as_str(), settled.model_answered.as_str());
        let book = books.get(settled.attempt.book).ok_or_else(|| {
            let what = "the price book that the attempt stands by is not known here yet; send the same again";
            (ErrorCode::LedgerNotRead, what.into())
        })?;
        let cost = settlement::rated(&book, &settled.attempt, of_answer, &usage);
        if standing.posted().iter().any(|posting| limits.is_nameless(&subject.tenant, posting)) {
            let what = "a limit that counted the attempt is not known here yet; send the same again";
            return Err((ErrorCode::LedgerNotRead, what.into()));
        }
        let clears = if corrects { Clears::Known } else { Clears::Added };
        let said = (self.source, self.id, self.content);
        let name = |posting: &Posting| limits.named(&subject.tenant, posting);
        let mut learned = standing.correct((usage, cost), (Why::Amended, clears), said, self.said_at, name);
        if settled.is_told() {
            learned.moves = moves_of_told(standing, (self.tokens, cost), limits);
        }
        learned.is.raw_usage = self.raw;
        learned.is.provider_cost = self.cost.or(learned.is.provider_cost);
        Ok(Amended::Now(Box::new(learned)))
    }

    /// What it repeats of the attempt has to be of it.
    fn is_of(&self, settled: &Settled) -> Result<(), Wrong> {
        let attempt = &settled.attempt;
        let models = [&attempt.model, &attempt.model_requested, &settled.model_answered];
        let wrong = if !self.provider.is_empty() && self.provider != attempt.provider {
            format!("`data.provider` was {:?}", attempt.provider)
        } else if !self.model.is_empty() && !models.contains(&&self.model) {
            format!("`data.model` was {:?}", attempt.model)
        } else if self.api_stated && self.api != attempt.api {
            format!("`data.api` was {:?}", attempt.api.name())
        } else if !self.service_tier.is_empty() && self.service_tier != settled.service_tier {
            format!("`data.service_tier` was {:?}", settled.service_tier)
        } else {
            return Ok(());
        };
        Err((ErrorCode::NotWhatStands, wrong))
    }
}

/// What was told of is counted wherever it falls under a limit, and where it was counted.
fn moves_of_told(standing: &Standing, (tokens, cost): (Vector, Cost), limits: &Limits) -> Vec<Move> {
    let (stands, before) = (standing.usage().total().unwrap_or_default(), standing.cost());
    let more = |unit: Unit| {
        let amount = |total: &Vector, cost: Cost| unit.amount(total, Some(cost.known)).unwrap_or(0);
        (amount(&tokens, cost) - amount(&stands, before)).max(0)
    };
    let mut moves = limits.moves(&standing.charged.settled.attempt, more);
    moves.extend(limits.moves_of_past(&standing.counted, more));
    moves
}

fn not_found((call, attempt): Key, begins: Option<Time>) -> Wrong {
    let reach = match begins {
        Some(begins) => format!("the ledger goes back to {begins}"),
        None => "one that has just ended is there in a moment".into(),
    };
    (ErrorCode::NoSuchAttempt, format!("no attempt {attempt} of call {call} of this tenant has ended; {reach}"))
}

/// What stands by model, and what is added to it, which ran on the model that answered; what there is less of is taken from that one
/// first.
fn parts(stands: &Usage, was: &Vector, tokens: &Vector) -> Vec<Part> {
    let mut parts = stands.parts.clone();
    let place = parts.iter().position(|part| part.model.is_none()).unwrap_or_else(|| {
        parts.push(Part::default());
        parts.len() - 1
    });
    parts.swap(0, place);
    let (more, mut fewer) = (tokens.with(*was, u64::saturating_sub), was.with(*tokens, u64::saturating_sub));
    for part in &mut parts {
        let taken = part.vector.with(fewer, u64::min);
        part.vector = part.vector.with(taken, u64::saturating_sub);
        fewer = fewer.with(taken, u64::saturating_sub);
    }
    let part = &mut parts[0].vector;
    *part = *part + more;
    parts
}

/// Counts as an event states them.
fn stated(counts: &Vector) -> String {
    let classes = TokenClass::ALL.into_iter().map(|class| (class.name(), counts.of(class)));
    let all = classes
        .chain([("reasoning", counts.reasoning), ("tool_calls", counts.tool_calls)])
        .filter(|(_, count)| *count > 0);
    let list: Vec<String> = all.map(|(name, count)| format!("\"{name}\":{count}")).collect();
    format!("{{{}}}", list.join(","))
}
