//! The limits as this gateway sees them: which apply to a call, what is leased of them, what is spent.
//!
//! Everything stands behind one lock that is held for a few hundred nanoseconds and never across an await. A hold is taken on
//! every instance that a call falls under, or on none. What metering decides comes in through `obey`; what this gateway spends
//! goes out in the records of its calls and, for instances at home in another lane, in reports.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use journal::{Draft, Journal};
use schemas::{
    bound::{AtMost, Bound},
    decision::{Claim, ProducerMark},
    error_code::ErrorCode,
    event::{Attempt, Counter, Event, Hold, Learned, LeaseRequested, Posting, Reported},
    id::{InstanceId, Lane, ProducerId, Seq},
    limit::{Limit, OnExceed, Target, Unit},
    price::Cost,
    subject::Subject,
    time::Time,
    tokens::Usage,
    wire,
};
use tokio::sync::watch;

use crate::fault::{self, Fault};

mod amount;
mod book;
mod own;
mod settling;
mod slot;
mod split;
#[cfg(test)]
pub(crate) mod tests;
mod under;

/// How many tokens of output are held at a time. Half of it lasts a fast model for some seconds, and asking metering takes less.
pub const SLICE: u64 = 512;

pub use book::Tried;
pub(crate) use book::{Book, Contradicts, Number, Requests, Told};
pub use own::SUCCEEDED;
pub use settling::Settling;
use split::{calls_beyond, split};

/// What is asked before an attempt may be made.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The attempt, with its target chosen.
    pub attempt: &'a Attempt,
    /// The most it can use.
    pub bound: &'a Bound,
    /// How much of its output is held at a time where a limit says so; nothing where not all of it will be seen.
    pub slice: Option<u64>,
    /// Now, and the earliest instant that it can be admitted at.
    pub now: Time,
}

/// The right to make one attempt: a hold on every limit that it falls under. Settling it consumes it.
#[derive(Debug, Default)]
#[must_use = "a permit that is dropped keeps its holds until their windows end"]
pub struct Permit {
    /// When it was taken: the attempt is admitted then. It lies in the windows of all holds, as far as any instant does.
    pub admitted_at: Time,
    /// What is held.
    pub holds: Vec<Hold>,
    /// The age of the oldest balance behind the decision.
    pub balance_age_ms: u64,
    /// Whether a hard limit applies.
    pub hard: bool,
    /// How hard limits hold what it can answer.
    pub output: OutputHeld,
    /// What is held slice by slice, if anything is.
    pub sliced: Option<Box<Sliced>>,
    /// The most that it can answer, where that is known and each call of a tool is a part of it.
    pub answer: Option<u64>,
    /// What limits that only observe would have refused.
    pub observed: Vec<Refusal>,
}

/// How hard limits hold what a call can answer: the one that holds most of it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputHeld {
    /// No hard limit grows with it.
    #[default]
    Not,
    /// A slice at a time.
    BySlices,
    /// All of it.
    Whole,
}

impl Permit {
    /// Takes over what more is held, for so much output.
    pub fn grow(&mut self, more: Self, room: u64) {
        for hold in more.holds {
            if let Some(held) = self.holds.iter_mut().find(|held| held.instance == hold.instance) {
                held.amount += hold.amount;
            }
        }
        if let Some(sliced) = &mut self.sliced {
            sliced.room = room;
        }
    }
}

/// What an attempt holds slice by slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sliced {
    /// The most that it can use.
    pub most: AtMost,
    /// So much of its output is held for.
    pub room: u64,
    /// The instances of which a slice is held, and not all.
    pub of: Vec<InstanceId>,
}

/// More of what is held slice by slice: everything or nothing, in the windows of the admission.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Who calls.
    pub subject: Arc<Subject>,
    /// By how much each hold grows.
    pub growth: Vec<Hold>,
    /// Now.
    pub now: Time,
}

/// Why an attempt may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The instance, to count refusals by.
    pub instance: InstanceId,
    /// The limit's name.
    pub limit: String,
    /// Its unit.
    pub unit: Unit,
    /// Its amount.
    pub amount: i128,
    /// What is settled of it.
    pub settled: i128,
    /// What is held of it.
    pub held: i128,
    /// What the attempt would have held more.
    pub needed: i128,
    /// When its window ends, if it ends.
    pub reset_at: Option<Time>,
    /// When trying again may help, if it may.
    pub retry_after: Option<Duration>,
    /// The age of the balance behind the decision.
    pub balance_age_ms: u64,
    /// What is not known about the request, where that is the reason.
    pub detail: String,
    /// What the limit does with a call that does not fit.
    pub on_exceed: OnExceed,
}

/// How a limit stands in one window, as far as is known here.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) limit: Arc<Limit>,
    pub(crate) settled: i128,
    pub(crate) held: i128,
    /// When the window ends, if it ends.
    pub(crate) reset_at: Option<Time>,
}

impl Standing {
    /// What is neither settled nor held.
    pub(crate) fn left(&self) -> i128 {
        (self.limit.amount - self.settled - self.held).max(0)
    }
}

/// How an attempt ended, for its limits.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    /// What it used.
    pub usage: &'a Usage,
    /// What that costs.
    pub cost: Cost,
    /// Whether this is all there can be: then nothing stays held.
    pub whole: bool,
}

/// Where the limits say what they ask for and how far they are, and who lets go of what metering has. The gateway's journal.
pub trait Outlet: Send + Sync {
    /// Writes events, all or none.
    fn append(&self, drafts: &[Draft<'_>]) -> Result<(), journal::Error>;

    /// Somebody waits for the answer to what was written last.
    fn awaited(&self) {}

    /// Metering has committed all events of a producer in a lane up to this one.
    fn confirm(&self, producer: ProducerId, lane: Lane, seq: Seq);
}

impl Outlet for Journal {
    fn append(&self, drafts: &[Draft<'_>]) -> Result<(), journal::Error> {
        Self::append(self, drafts).map(drop)
    }

    fn awaited(&self) {
        Self::awaited(self);
    }

    fn confirm(&self, producer: ProducerId, lane: Lane, seq: Seq) {
        Self::confirm(self, producer, lane, seq);
    }
}

/// The limits of one gateway.
pub struct Limits {
    me: ProducerId,
    book: Mutex<Book>,
    settling: Mutex<settling::Batch>,
    outlet: Arc<dyn Outlet>,
    changes: watch::Sender<u64>,
    own: own::Own,
}

impl Limits {
    /// The limits of the gateway that writes this journal.
    pub fn new(journal: Arc<Journal>, lanes: u16) -> Arc<Self> {
        Self::over(journal.producer(), journal, lanes)
    }

    /// The limits of this producer, with its journal behind them.
    pub fn over(me: ProducerId, outlet: Arc<dyn Outlet>, lanes: u16) -> Arc<Self> {
        let (book, changes) = (Mutex::new(Book::new(me, lanes)), watch::Sender::new(0));
        Arc::new(Self { me, book, settling: Mutex::default(), outlet, changes, own: own::Own::default() })
    }

    /// One try to hold everything that an attempt needs; what is short of it has been asked for. An error says that the journal
    /// did not take what was asked.
    pub fn try_admit(&self, ask: &Ask<'_>, at: Instant) -> (Tried, Result<(), journal::Error>) {
        let mut requests = Requests { at, now: ask.now, sent: Vec::new() };
        let tried = self.lock().try_hold(ask, &mut requests);
        (tried, self.send(requests.sent))
    }

    /// One try to hold more for an attempt that is under way.
    pub fn try_extend(&self, extension: &Extension, at: Instant) -> (Tried, Result<(), journal::Error>) {
        let mut requests = Requests { at, now: extension.now, sent: Vec::new() };
        let tried = self.lock().try_extend(extension, &mut requests);
        (tried, self.send(requests.sent))
    }

    /// By how much the holds grow with so much output; nothing where nothing is held slice by slice any more.
    pub fn extension(&self, permit: &Permit, subject: &Arc<Subject>, room: u64, now: Time) -> Option<Extension> {
        let sliced = permit.sliced.as_ref().filter(|sliced| !sliced.of.is_empty())?;
        let book = self.lock();
        let of = permit.holds.iter().filter(|hold| sliced.of.contains(&hold.instance));
        let grown = of.filter_map(|hold| {
            let unit = book.slot(hold.instance)?.terms.unit;
            let held = |output| amount::in_unit(unit, &sliced.most.with_output(output)).ok();
            let amount = held(room)? - held(sliced.room)?;
            Some(Hold { amount: if fault::is(Fault::ExtensionTooSmall) { amount / 2 } else { amount }, ..*hold })
        });
        Some(Extension { subject: Arc::clone(subject), growth: grown.collect(), now })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells everyone who waits that decisions changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Sends lease requests, each to its lane.
    fn send(&self, requests: Vec<(Lane, LeaseRequested)>) -> Result<(), journal::Error> {
        if requests.is_empty() {
            return Ok(());
        }
        requests.into_iter().try_for_each(|(lane, request)| self.append(lane, &Event::LeaseRequested(request)))?;
        self.outlet.awaited();
        Ok(())
    }

    fn append(&self, lane: Lane, event: &Event) -> Result<(), journal::Error> {
        let body = wire::encode_event(event);
        self.write(&[Draft { lane, body: &body }])
    }

    /// Hands events to the journal, all or none.
    pub(crate) fn write(&self, drafts: &[Draft<'_>]) -> Result<(), journal::Error> {
        self.outlet.append(drafts)
    }

    /// A limit by its name.
    pub fn limit(&self, name: &str) -> Option<Arc<Limit>> {
        self.lock().limit(name).cloned()
    }

    /// How much of a limit is left to an attempt, in percent of its amount, as far as is known here; nothing where it does not fall
    /// under it.
    pub(crate) fn left(&self, limit: &str, of: Target<'_>, now: Time) -> Option<u8> {
        self.lock().left(limit, of, now)
    }

    /// Takes note of all that is written down now, unless something contradicts what stands or was taken here before; then says which,
    /// and what it contradicts. Two requests cannot both take what contradicts each other.
    pub(crate) fn tell(&self, learned: &[&Learned]) -> Result<Vec<Number>, (usize, Contradicts)> {
        let told: Vec<Told> = learned.iter().map(|learned| Told::from(*learned)).collect();
        let mut book = self.lock();
        let wrong = |(place, told): (usize, &Told)| Some((place, book.claimed().contradicts(told)?));
        match told.iter().enumerate().find_map(wrong) {
            Some(wrong) => Err(wrong),
            None => Ok(told.into_iter().filter_map(|told| book.claimed_mut().tell(told)).collect()),
        }
    }

    /// None of that was written down.
    pub(crate) fn take_back(&self, told: &[Number]) {
        let mut book = self.lock();
        told.iter().for_each(|number| book.claimed_mut().take_back(*number));
    }

    /// Whether metering is known to have learned just this.
    pub(crate) fn has_learned(&self, learned: &Learned) -> bool {
        let told = Told::from(learned);
        self.lock().claimed().has(&told)
    }

    /// Whether a lane remembers as many external events as it can.
    pub(crate) fn remembers_enough(&self, lane: Lane) -> bool {
        self.lock().claims(lane) >= Claim::MOST
    }

    /// Ends an attempt: gives what its record posts. Until that is written ([`Self::settling`]) it is held.
    pub fn settle(&self, mut permit: Permit, spent: &Spent<'_>) -> Vec<Posting> {
        let posted = self.resize(&mut permit, spent);
        if fault::is(Fault::CountedUnwritten) {
            self.settling().too_early(&posted);
        }
        posted
    }

    /// Lets go of what an attempt that is over will not need of its holds. The rest stays held, not used, until it is settled. What was
    /// used beyond a hold is held from now on, so that who comes next meets it.
    pub(crate) fn let_go(&self, permit: &mut Permit, spent: &Spent<'_>) {
        drop(self.resize(permit, spent));
    }

    fn resize(&self, permit: &mut Permit, spent: &Spent<'_>) -> Vec<Posting> {
        let Permit { holds, sliced, answer, .. } = permit;
        let mut book = self.lock();
        let mut posted = Vec::with_capacity(holds.len());
        for hold in holds {
            let Some(slot) = book.slot_mut(hold.instance) else { continue };
            let (used, provision) = split(slot.terms.unit, hold.amount, spent);
            let provision = match slot.terms.unit {
                Unit::ToolCalls => {
                    let calls = calls_beyond(*answer, sliced.as_deref(), spent.usage);
                    provision.min(calls.map_or(i128::MAX, i128::from))
                }
                _ => provision,
            };
            slot.resize(hold, used + provision);
            posted.push(Posting { instance: hold.instance, window: hold.window, used, provision });
        }
        posted
    }

    /// Takes back a permit of which nothing was used: not even the request itself counts.
    pub fn give_back(&self, permit: Permit) {
        let mut book = self.lock();
        for mut hold in permit.holds {
            if let Some(slot) = book.slot_mut(hold.instance) {
                slot.resize(&mut hold, 0);
                slot.close(hold.window);
                // No record of a call will carry its counters.
                let home = slot.mark();
                book.hurry(home);
            }
        }
    }

    /// What ending an attempt with these holds would post, without ending it.
    pub(crate) fn would_post(&self, holds: &[Hold], spent: &Spent<'_>) -> Vec<Posting> {
        let book = self.lock();
        let posted = holds.iter().filter_map(|hold| {
            let (used, provision) = split(book.slot(hold.instance)?.terms.unit, hold.amount, spent);
            Some(Posting { instance: hold.instance, window: hold.window, used, provision })
        });
        posted.collect()
    }

    /// How the limit stands of which the smallest part is left, among those that are held.
    pub(crate) fn tightest(&self, holds: &[Hold]) -> Option<Standing> {
        let book = self.lock();
        let standings = holds.iter().filter_map(|hold| book.standing(hold));
        // a/b is less than c/d where ad is less than cb.
        standings.min_by(|one, other| {
            let part = |of: &Standing, with: &Standing| of.left().saturating_mul(with.limit.amount);
            part(one, other).cmp(&part(other, one))
        })
    }

    /// Counters that have to travel in a report to this lane, since no record of a call carries them there.
    pub fn report(&self, lane: Lane, now: Time) -> Vec<Counter> {
        self.lock().report(lane, now)
    }

    /// What every lane is told each second: the counters that changed, and the low watermark of the lane.
    pub fn reports(&self, at: Time, low_watermarks: &[Time]) -> Vec<(Lane, Event)> {
        let report = |(lane, low_watermark): (Lane, &Time)| {
            let counters = self.report(lane, at);
            (lane, Event::Reported(Reported { at, low_watermark: *low_watermark, counters, last: false }))
        };
        (0..).map(Lane).zip(low_watermarks).map(report).collect()
    }

    /// Sends what others wait for at once: leases that were called back, and use of instances at home in other lanes.
    ///
    /// `low_watermark` is what the last full report said, which is still true.
    pub(crate) fn report_dirty(&self, now: Time, low_watermark: Time) -> Result<(), journal::Error> {
        let lanes = self.lock().dirty_lanes();
        lanes.into_iter().try_for_each(|lane| {
            let counters = self.report(lane, now);
            let reported = Reported { at: now, low_watermark, counters, last: false };
            self.say(lane, reported)
        })
    }

    /// The last thing that a gateway does, when every attempt is settled: returns every lease as far as nothing is held of it, and
    /// says in every lane that nothing more comes.
    pub fn leave(&self, now: Time) -> Result<(), journal::Error> {
        let lanes = {
            let mut book = self.lock();
            book.return_all();
            book.lanes()
        };
        (0..lanes).map(Lane).try_for_each(|lane| {
            let counters = self.report(lane, now);
            self.say(lane, Reported { at: now, low_watermark: now, counters, last: true })
        })
    }

    /// Appends a report; counters that could not be said stay to be said.
    fn say(&self, lane: Lane, reported: Reported) -> Result<(), journal::Error> {
        let event = Event::Reported(reported);
        let said = self.append(lane, &event);
        if let (Err(_), Event::Reported(reported)) = (&said, &event) {
            let mut book = self.lock();
            for counter in &reported.counters {
                if let Some(slot) = book.slot_mut(counter.instance) {
                    let home = slot.mark();
                    book.hurry(home);
                }
            }
        }
        said
    }

    /// How long ago decisions of a lane were last seen; nothing if never.
    pub fn age(&self, lane: Lane) -> Option<Duration> {
        self.lock().seen(lane).map(|at| at.elapsed())
    }

    /// Heeds metering's word on a producer: what it has of it, and whether another speaks for it now.
    pub(crate) fn heed(&self, lane: Lane, mark: &ProducerMark) {
        self.outlet.confirm(mark.producer, lane, mark.seq);
        if mark.producer == self.me {
            self.own.hear(mark);
        }
    }

    /// Whether another has taken this gateway's place in the books: whatever it writes from then on is set aside.
    pub fn is_succeeded(&self) -> bool {
        self.own.is_succeeded()
    }
}

/// How old a balance is, in milliseconds.
pub(crate) fn age_ms(seen: Option<Instant>, at: Instant) -> u64 {
    seen.map_or(u64::MAX, |seen| u64::try_from(at.duration_since(seen).as_millis()).unwrap_or(u64::MAX))
}
