//! What an attempt ends with: its usage, what that is of its limits, and its last record.
//!
//! Pure but for the limits, which it settles; `attempt` says when, and writes what this gives. Whatever the end, the permit is
//! consumed here and nowhere else. What is not known is never called zero: it stays held. It charges nobody: metering does, by the
//! same function of the same price book.

use schemas::{
    event::{Attempt, CallEnd, Hold, Outcome, Settled, Streamed},
    money::Pico,
    price::{self, Book, Cost, Key},
    time::Time,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::{
    attempt::Apart,
    fault::{self, Fault},
    limits::{Limits, Permit, Spent},
    meter::{self, Measured},
};

/// The ways in which an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer came to its end.
    Complete,
    /// The provider answered with an error. What that costs its status says.
    Refused,
    /// The provider never saw the request.
    NotSent,
    /// It may have seen it; no answer came.
    NoAnswer,
    /// Its answer broke off.
    Truncated,
    /// A deadline passed.
    TimedOut,
    /// The client went away before the request was sent.
    ClientGoneBefore,
    /// The client went away, and the answer was read to its end without it.
    ClientGoneDrained,
    /// The client went away, and so did we.
    ClientGone,
    /// We ended it.
    Cut,
}

impl End {
    /// Whether the provider failed, so that another may be asked.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::NotSent | Self::NoAnswer | Self::Truncated | Self::TimedOut)
    }

    /// What the row of the attempt says.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Complete => Outcome::Complete,
            Self::Refused | Self::NotSent | Self::NoAnswer | Self::Truncated => Outcome::ProviderError,
            Self::TimedOut => Outcome::Timeout,
            Self::ClientGoneBefore | Self::ClientGoneDrained | Self::ClientGone => Outcome::ClientGone,
            Self::Cut => Outcome::Cut,
        }
    }

    /// Why usage is not known, where there is no answer to say it.
    const fn doubt(self) -> Doubt {
        match self {
            Self::NoAnswer | Self::NotSent | Self::Refused => Doubt::NoAnswer,
            Self::Truncated | Self::Cut => Doubt::Truncated,
            Self::TimedOut => Doubt::TimedOut,
            Self::ClientGone | Self::ClientGoneBefore => Doubt::ClientLeft,
            Self::Complete | Self::ClientGoneDrained => Doubt::NotReported,
        }
    }

    /// How the body of the answer came to its end, for its meter.
    pub(crate) const fn of_body(self) -> meter::End {
        match self {
            Self::Complete | Self::ClientGoneDrained | Self::Refused => meter::End::Closed,
            Self::Truncated | Self::Cut | Self::NoAnswer | Self::NotSent => meter::End::Broken,
            Self::TimedOut => meter::End::TimedOut,
            Self::ClientGone | Self::ClientGoneBefore => meter::End::ClientLeft,
        }
    }
}

/// An attempt that has ended, as its last record will tell it.
#[derive(Debug)]
pub struct Ended {
    /// Its facts.
    pub attempt: Attempt,
    /// How it ended.
    pub end: End,
    /// What its meter read, if there was an answer.
    pub measured: Option<Measured>,
    /// The provider's HTTP status; 0 if it never answered.
    pub status: u16,
    /// Milliseconds to the first byte of the answer.
    pub ttft_ms: Option<u64>,
    /// When it ended.
    pub settled_at: Time,
    /// What is known of the call, and of its attempts before this one.
    pub call: CallEnd,
}

/// What an attempt came to, before its limits are settled: its last record without what that moves.
#[derive(Debug)]
pub struct Account {
    settled: Settled,
    cost: Cost,
    whole: bool,
    apart: Option<Box<Apart>>,
}

/// Ends an attempt, and its call: settles its limits and makes its last record. `book` is the one it was admitted under.
pub fn settle(limits: &Limits, permit: Permit, book: &Book, ended: Ended) -> Settled {
    account(book, ended).post(limits, permit)
}

/// What an attempt came to. Its call ends with it unless it is said to go on.
pub fn account(book: &Book, ended: Ended) -> Account {
    let Ended { attempt, end, measured, status, ttft_ms, settled_at, .. } = ended;
    let (read, said) = measured.map_or_else(|| (None, Said::default()), Said::of);
    // What is worked on apart is told by its id, once, and not with any of the answers that it stands in. Whoever had it made does not know
    // what it uses, and whoever only reads it uses nothing.
    let usage = if attempt.api.is_free() {
        Usage::none()
    } else if said.apart {
        Usage::missing(Doubt::NotReported)
    } else {
        usage(end, (attempt.api.vendor(), status), read)
    };
    // An estimate counts as all there is where the whole answer was seen, and not where it was ended.
    let known = matches!(usage.completeness, Completeness::Exact | Completeness::Estimated(Doubt::NotReported));
    // Until it has been told nobody knows what it uses, so what was held for it stays held.
    let whole = known && (attempt.api.is_free() || !said.apart);
    let cost = cost(book, &attempt, &said, &usage);
    // What something cost is told with each answer that shows it, and is the cost of the one that had it made.
    let provider_cost = said.cost.filter(|_| !attempt.api.is_free());
    let call = CallEnd { attempts: attempt.attempt, outcome: end.outcome(), ..ended.call };
    let settled = Settled {
        attempt,
        settled_at,
        outcome: end.outcome(),
        status,
        usage,
        raw_usage: said.raw_usage,
        model_answered: said.model,
        service_tier: said.service_tier,
        region: said.region,
        provider_cost,
        response_id: said.response_id,
        ttft_ms,
        posted: Vec::new(),
        counters: Vec::new(),
        call: Some(call),
        avoided: None,
        found: None,
        apart: false,
    };
    Account { settled, cost, whole, apart: None }
}

impl Account {
    /// The same of an answer that says this of something that is worked on apart from it.
    pub(crate) fn with(self, apart: Option<Apart>) -> Self {
        Self { apart: apart.map(Box::new), ..self }
    }

    /// What was said of that; once.
    pub(crate) const fn apart(&mut self) -> Option<Box<Apart>> {
        self.apart.take()
    }

    /// The record so far.
    pub const fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Whether all is known that it used.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// The end of the call, as long as that ends with it.
    pub const fn call(&mut self) -> Option<&mut CallEnd> {
        self.settled.call.as_mut()
    }

    /// The call goes on after this attempt. Gives what the next one has to know.
    pub fn go_on(&mut self) -> Option<CallEnd> {
        if fault::is(Fault::EndedWithEachAttempt) {
            return Some(self.settled.call.clone()?.goes_on(&self.settled.usage, self.cost.whole().ok()));
        }
        Some(self.settled.call.take()?.goes_on(&self.settled.usage, self.cost.whole().ok()))
    }

    /// Lets go of what will not be needed of the holds; the rest stays held until the record is made.
    pub fn let_go(&self, limits: &Limits, permit: &mut Permit) {
        limits.let_go(permit, &Spent { usage: &self.settled.usage, cost: self.cost, whole: self.whole });
    }

    /// Settles the limits, and gives the last record, but for the counters that are written with it.
    pub fn post(mut self, limits: &Limits, permit: Permit) -> Settled {
        if fault::is(Fault::CallLeftOpen) && self.settled.outcome == Outcome::ProviderError {
            self.settled.call = None;
        }
        if fault::is(Fault::SettleLostOnCancel) && self.settled.outcome == Outcome::ClientGone {
            return self.settled;
        }
        let spent = Spent { usage: &self.settled.usage, cost: self.cost, whole: self.whole };
        self.settled.posted = limits.settle(permit, &spent);
        self.settled
    }
}

/// Where an attempt stands: what was reported of it, what its holds would be settled with if nothing more were heard of it, and, where
/// it holds more than it was admitted with, what.
pub fn streamed(
    limits: &Limits,
    (holds, has_grown): (&[Hold], bool),
    (book, attempt): (&Book, &Attempt),
    (so_far, reported): (Vector, Vec<Part>),
    at: Time,
) -> Streamed {
    let mut posted = Vec::new();
    if !reported.is_empty() {
        let usage = Usage { parts: reported.clone(), completeness: Completeness::LowerBound(Doubt::Crashed) };
        let cost = cost(book, attempt, &Said::default(), &usage);
        posted = limits.would_post(holds, &Spent { usage: &usage, cost, whole: false });
    }
    let holds = if has_grown && !fault::is(Fault::ExtensionNotRecorded) { holds.to_vec() } else { Vec::new() };
    Streamed { call: attempt.call, attempt: attempt.attempt, at, so_far, reported, posted, holds }
}

/// What an attempt used, by how it ended and what its meter read.
pub(crate) fn usage(end: End, (vendor, status): (&str, u16), measured: Option<Usage>) -> Usage {
    match (end, measured) {
        (End::NotSent | End::ClientGoneBefore, _) => Usage::none(),
        (End::Refused, _) | (_, None) if is_free(vendor, status) => Usage::none(),
        (End::Refused, _) => Usage::missing(Doubt::NoAnswer),
        (_, Some(usage)) => usage,
        (_, None) => Usage::missing(end.doubt()),
    }
}

/// Whether an answer of this status was not billed: because the request was turned down before anybody worked on it, or because the
/// provider says that it does not bill it. Of other failures nobody outside knows how far the work had come.
fn is_free(vendor: &str, status: u16) -> bool {
    match status {
        // Those who give up on work that they had begun: 408 at all (Amazon's ModelTimeoutException, Azure bills it), 424 at Amazon
        // (ModelErrorException: an error while the model worked), 499 at Google and proxies.
        408 | 424 | 499 => false,
        300..=499 => true,
        // Not the provider's word, but that of a proxy which waited for it.
        502 | 504 => false,
        // Not built, not spoken, and Anthropic's word for having no room.
        501 | 505 | 529 => true,
        // Google writes that requests which fail with 400 or 500 are not charged (ai.google.dev/gemini-api/docs/billing), and Vertex
        // that of all answers it charges 200 alone. The others write nothing of the kind.
        500..=599 => vendor == "google",
        _ => false,
    }
}

/// What metering will charge: the same function of the same book.
fn cost(book: &Book, attempt: &Attempt, said: &Said, usage: &Usage) -> Cost {
    rated(book, attempt, (&said.service_tier, &said.model), usage)
}

/// What usage costs that was answered in a tier by a model.
pub(crate) fn rated(book: &Book, attempt: &Attempt, (tier, answered): (&str, &str), usage: &Usage) -> Cost {
    let key = Key {
        provider: &attempt.provider,
        vendor: attempt.api.vendor(),
        model: &attempt.model,
        tier,
        at: attempt.admitted_at,
    };
    price::sum(&price::rate(Some(book), &key, answered, &usage.parts))
}

/// What an answer says of itself, beside what it used.
#[derive(Default)]
struct Said {
    raw_usage: String,
    model: String,
    service_tier: String,
    region: String,
    cost: Option<Pico>,
    response_id: String,
    /// Whether it is worked on apart from this answer.
    apart: bool,
}

impl Said {
    fn of(measured: Measured) -> (Option<Usage>, Self) {
        let apart = measured.background.is_some();
        let said = Self {
            apart,
            raw_usage: measured.raw_usage,
            model: measured.model_answered,
            service_tier: measured.service_tier,
            region: measured.region,
            cost: measured.provider_cost.filter(|_| !apart),
            response_id: measured.response_id,
        };
        (Some(measured.usage), said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(end: End, read: Option<&Usage>, wanted: &Completeness) {
        assert_eq!(usage(end, ("openai", 200), read.cloned()).completeness, *wanted, "{end:?}");
    }

    #[test]
    fn what_is_not_known_is_never_zero() {
        let known = Usage::exact(Vector { uncached_input: 5, ..Vector::default() });
        for end in [End::NotSent, End::ClientGoneBefore] {
            check(end, None, &Completeness::Exact);
            assert_eq!(usage(end, ("openai", 0), Some(known.clone())), Usage::none());
        }
        for (end, why) in [
            (End::NoAnswer, Doubt::NoAnswer),
            (End::Truncated, Doubt::Truncated),
            (End::Cut, Doubt::Truncated),
            (End::TimedOut, Doubt::TimedOut),
            (End::ClientGone, Doubt::ClientLeft),
            (End::Complete, Doubt::NotReported),
        ] {
            check(end, None, &Completeness::Missing(why));
            check(end, Some(&known), &Completeness::Exact);
        }
    }

    #[test]
    fn an_error_is_free_where_nobody_began_to_work_or_its_provider_says_so() {
        let check = |vendor: &str, free: &[u16], unknown: &[u16]| {
            for (statuses, wanted) in [(free, Usage::none()), (unknown, Usage::missing(Doubt::NoAnswer))] {
                for status in statuses {
                    assert_eq!(usage(End::Refused, (vendor, *status), None), wanted, "{vendor} {status}");
                }
            }
        };
        for vendor in ["openai", "anthropic", "bedrock", "cohere"] {
            check(vendor, &[302, 400, 401, 404, 413, 429, 501, 529], &[408, 424, 500, 502, 503, 504, 520]);
        }
        check("google", &[400, 429, 500, 503], &[408, 499, 502, 504]);
        // Whether or not all of the error came.
        assert_eq!(usage(End::Truncated, ("openai", 400), None), Usage::none());
        assert_eq!(usage(End::Truncated, ("openai", 500), None), Usage::missing(Doubt::Truncated));
        assert_eq!(usage(End::TimedOut, ("openai", 0), None), Usage::missing(Doubt::TimedOut));
        // What somebody else says that it used is what it used.
        let told = Usage::exact(Vector { output: 3, ..Vector::default() });
        assert_eq!(usage(End::Truncated, ("openai", 500), Some(told.clone())), told);
    }
}
