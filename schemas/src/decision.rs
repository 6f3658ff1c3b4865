//! What gateways obey, and all that metering remembers: the state *is* what was published.
//!
//! The `decisions` topic is compacted: each record is the whole state under its key, so a reader that missed any number of
//! earlier ones is right as soon as it has the last. Per instance and producer there are four totals that only grow, each
//! with one writer: `granted` (metering), `returned`, and in each window `used` and `unknown` (the gateway). `unknown` is what attempts
//! may have used that ended without anybody knowing; what corrections clear of it is one more total, of the window (metering).
//!
//! L-1, before every grant: `adjusted − cleared + Σ max(granted − returned, used + unknown) ≤ amount`.
//! L-2, before every hold: `used + unknown + held ≤ granted − returned`, less what L-1 is broken by.

use std::time::Duration;

use crate::{
    event::{Learned, Want},
    id::{ClaimId, InstanceId, Lane, LimitId, Offset, ProducerId, Seq},
    limit::{Limit, Schedule, Share},
    time::Time,
};

/// The key of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The lane's own position.
    Lane(Lane),
    /// One counter of a limit.
    Instance(InstanceId),
    /// The windows of a limit, as the lane of this record published them.
    Schedule(Lane, LimitId),
    /// What this lane has learned once and takes no second time.
    Claim(Lane, ClaimId),
}

/// The state under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Under [`Key::Lane`].
    Lane(LaneState),
    /// Under [`Key::Instance`].
    Instance(Box<Instance>),
    /// Under [`Key::Schedule`].
    Schedule(Schedule),
    /// Under [`Key::Claim`].
    Claim(Claim),
    /// Under [`Key::Claim`], until it is claimed.
    Awaited(Awaited),
}

/// Something that was learned, for as long as it could be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// When it was taken.
    pub at: Time,
    /// The hash of what was said.
    pub content: u64,
    /// Whether some of what was told by an id had no price: what is held for it is not free then where dollars are counted.
    pub lacks: bool,
}

/// Attempts whose use will be told by an id: the first is charged, and what all of them hold is let go of then.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaited {
    /// They, as they said it.
    pub attempts: Vec<Learned>,
}

impl Claim {
    /// The most that a lane remembers before gateways take no more: some 75 bytes each in the memory of metering are 150 MB.
    pub const MOST: u64 = 2_000_000;

    /// How much later than its source's time something may be taken, beside `dedup_days`: what a gateway took may wait in its
    /// journal. Claims are remembered so much longer.
    pub const GRACE: Duration = Duration::from_secs(24 * 3_600);

    /// How far the clock of a source may be ahead.
    pub const SKEW: Duration = Duration::from_secs(300);
}

/// How far a lane is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// The next record of `usage` to read.
    pub input: Offset,
    /// The next record of `policy` to read.
    pub policy: Offset,
    /// The time of the last entry written; the next is not before it.
    pub recorded_at: Time,
    /// Every producer heard in this lane.
    pub producers: Vec<ProducerMark>,
    /// Lease requests that wait for returns, oldest first.
    pub waiting: Vec<Waiting>,
    /// How many claims are remembered.
    pub claims: u64,
    /// How far what it passed to other lanes goes, by the lane that it was passed to.
    pub passed: Vec<Passed>,
    /// How far it has taken what other lanes passed to it, by the lane that it came from.
    pub taken: Vec<Passed>,
}

/// How far what one lane passed to another goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The other lane.
    pub lane: Lane,
    /// The number of the last; they begin at 1.
    pub number: u64,
}

impl Passed {
    /// The last number of a lane in a list; 0 if there is none yet.
    pub fn number_of(list: &mut Vec<Self>, lane: Lane) -> &mut u64 {
        let known = list.iter().position(|passed| passed.lane == lane);
        let place = known.unwrap_or_else(|| {
            list.push(Self { lane, number: 0 });
            list.len() - 1
        });
        &mut list[place].number
    }
}

/// How far a producer is accepted in a lane. Only this word confirms an event and lets a journal trim it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerMark {
    /// Who.
    pub producer: ProducerId,
    /// The last accepted event.
    pub seq: Seq,
    /// Its hash: the same sequence with other bytes is a conflict, not a duplicate.
    pub hash: u64,
    /// The gateway's name.
    pub gateway: String,
    /// Its low watermark.
    pub low_watermark: Time,
    /// When it was last heard, by its own clock.
    pub heard_at: Time,
    /// When something of it was last accepted, by metering's clock.
    pub accepted_at: Time,
    /// The number of the last lease request that was answered: granted or denied.
    pub answered: u64,
    /// Whether its successor has taken over.
    pub closed: bool,
    /// Whether its journal was copied or restored when it opened it: it has not taken over, and what it found open is not its to end.
    pub forked: bool,
    /// Who has taken over.
    pub heir: Option<ProducerId>,
    /// Who opened its journal as a copy, and so did not take over: until somebody does nobody else ends what it has open.
    pub copy: Option<ProducerId>,
}

/// The state of one counter of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its limit.
    pub limit: LimitId,
    /// The values of the limit's `*`.
    pub values: Vec<String>,
    /// The limit's amount now.
    pub amount: i128,
    /// The windows it counts: one, or the last few where leases stand; sorted by start.
    pub windows: Vec<WindowState>,
    /// The producers that hold or used some of it.
    pub holders: Vec<Holder>,
    /// Grows when gateways are asked to give back what they do not hold.
    pub recall: u64,
}

/// One window of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// Its start.
    pub start: Time,
    /// Its end.
    pub end: Time,
    /// Corrections and external use.
    pub adjusted: i128,
    /// What corrections have cleared of provisions. Only grows; it may come before the report of what it clears.
    pub cleared: i128,
    /// The highest share of the amount, as that is now, that was said to be reached.
    pub alerted: Share,
    /// The same of what it was passed by: above 100, or nothing.
    pub passed: Share,
    /// What ended up to here is counted in it whether it names it or not, by `backfill`, and so is what corrects that: zero where that
    /// never was so, and [`Time::MAX`] as long as it is.
    pub filled: Time,
}

impl WindowState {
    /// A window in which nothing has happened.
    pub const fn new(start: Time, end: Time) -> Self {
        Self { start, end, adjusted: 0, cleared: 0, alerted: Share(0), passed: Share(0), filled: Time::ZERO }
    }

    /// What corrections and external use take of it, in all.
    pub const fn moved(&self) -> i128 {
        self.adjusted - self.cleared
    }
}

/// What one producer has of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub producer: ProducerId,
    /// Granted, ever. Written by metering alone.
    pub granted: i128,
    /// Returned, ever, as the producer last said.
    pub returned: i128,
    /// Used, by window, as the producer last said.
    pub used: Vec<(Time, i128)>,
    /// What it may have used beyond that, by window, as the producer last said: for attempts that ended without anybody knowing.
    pub unknown: Vec<(Time, i128)>,
    /// Held by attempts that are open, as the producer last said.
    pub held: i128,
    /// The version of the report that said so.
    pub version: u64,
    /// The last recall that the producer obeyed.
    pub recall: u64,
}

/// A lease request that waits for others to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who asks.
    pub producer: ProducerId,
    /// The number of its request.
    pub number: u64,
    /// When metering accepted it.
    pub since: Time,
    /// What it asks for, whole or not at all.
    pub wants: Vec<Want>,
}

impl Holder {
    /// The version of a holder whose producer is gone: no report of it can come any more.
    pub const CLOSED: u64 = u64::MAX;

    /// A producer that has nothing yet.
    pub const fn new(producer: ProducerId) -> Self {
        Self {
            producer,
            granted: 0,
            returned: 0,
            used: Vec::new(),
            unknown: Vec::new(),
            held: 0,
            version: 0,
            recall: 0,
        }
    }

    /// Whether its producer is gone.
    pub const fn closed(&self) -> bool {
        self.version == Self::CLOSED
    }

    /// What it may spend of each window.
    pub fn lease(&self) -> i128 {
        self.granted - self.returned
    }

    /// What it used in a window.
    pub fn used_in(&self, window: Time) -> i128 {
        in_window(&self.used, window)
    }

    /// What it may have used in a window beyond that.
    pub fn unknown_in(&self, window: Time) -> i128 {
        in_window(&self.unknown, window)
    }

    /// What it used in a window at most.
    pub fn spent_in(&self, window: Time) -> i128 {
        self.used_in(window) + self.unknown_in(window)
    }

    /// What it used at most in the window in which that is the most.
    pub fn most_spent(&self) -> i128 {
        let windows = self.used.iter().chain(&self.unknown);
        windows.map(|(window, _)| self.spent_in(*window)).max().unwrap_or(0)
    }

    /// Whether its producer may have some of its lease to give back, by the last recall: what it neither used nor holds, or what it held
    /// when it reported last and has not been asked for since. A lease that is used up is never given back, asked for or not.
    pub fn may_return(&self, window: Time, recall: u64) -> bool {
        let idle = self.lease() - self.spent_in(window);
        let unasked = self.recall < recall || recall == 0;
        !self.closed() && (idle > self.held || unasked && idle > 0)
    }

    /// What it takes of a window's amount: its lease, or what it used at most where that is more. One that is gone has no lease.
    pub fn taken(&self, window: Time) -> i128 {
        self.lease().max(self.spent_in(window))
    }
}

fn in_window(totals: &[(Time, i128)], window: Time) -> i128 {
    totals.iter().find(|(start, _)| *start == window).map_or(0, |(_, total)| *total)
}

impl Instance {
    /// The left side of L-1 for a window.
    pub fn taken(&self, window: &WindowState) -> i128 {
        window.moved() + self.holders.iter().map(|holder| holder.taken(window.start)).sum::<i128>()
    }

    /// What was settled in a window. Shown, and part of no safety rule.
    pub fn settled(&self, window: &WindowState) -> i128 {
        window.adjusted + self.holders.iter().map(|holder| holder.used_in(window.start)).sum::<i128>()
    }

    /// What is held in a window, as last reported: by attempts that are open, and for what nobody knows.
    pub fn held(&self, window: &WindowState) -> i128 {
        self.unknown(window) + self.holders.iter().map(|holder| holder.held).sum::<i128>()
    }

    /// What attempts of a window may have used that ended without anybody knowing, as far as no correction has cleared it.
    pub fn unknown(&self, window: &WindowState) -> i128 {
        self.holders.iter().map(|holder| holder.unknown_in(window.start)).sum::<i128>() - window.cleared
    }

    /// What is leased and not returned.
    pub fn leased(&self) -> i128 {
        self.holders.iter().map(Holder::lease).sum()
    }

    /// The counter of this limit that client tags share which have none of their own as this one; nothing if this is it. Such a
    /// counter has one window in its name, or none.
    pub fn shared(&self, limit: &Limit) -> Option<InstanceId> {
        limit.max_instances?;
        let window = self.windows.first().filter(|_| !limit.window.stands()).map(|window| window.start);
        Some(InstanceId::of(self.limit, &limit.shared(&self.values), window)).filter(|shared| *shared != self.id)
    }

    /// Its newest window.
    pub fn current(&self) -> Option<&WindowState> {
        self.windows.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_not_given_back_asked_for_or_not() {
        let holder = |used, held, recall| Holder {
            granted: 10,
            used: vec![(Time::ZERO, used)],
            held,
            recall,
            ..Holder::new(ProducerId::from_bytes([1; 16]))
        };
        for (used, held, obeyed, recall, wanted) in [
            (10, 0, 0, 1, false),
            (10, 0, 0, 0, false),
            (4, 5, 1, 1, true),
            (4, 6, 1, 1, false),
            (4, 6, 0, 1, true),
            (4, 6, 0, 0, true),
        ] {
            let got = holder(used, held, obeyed).may_return(Time::ZERO, recall);
            assert_eq!(got, wanted, "{used} used, {held} held, {obeyed} of {recall} obeyed");
        }
        let gone = Holder { version: Holder::CLOSED, ..holder(0, 0, 0) };
        assert!(!gone.may_return(Time::ZERO, 1));
    }

    #[test]
    fn what_a_producer_left_behind_counts_in_the_windows_it_was_in() {
        let at = Time::from_micros;
        let window = |start: i64, cleared: i128| WindowState { cleared, ..WindowState::new(at(start), at(start + 60)) };
        let gone = Holder {
            granted: 100,
            returned: 100,
            used: vec![(at(60), 20)],
            unknown: vec![(at(60), 50)],
            version: Holder::CLOSED,
            ..Holder::new(ProducerId::from_bytes([1; 16]))
        };
        let live = Holder { granted: 10, held: 4, ..Holder::new(ProducerId::from_bytes([2; 16])) };
        let instance = Instance {
            id: InstanceId([0; 16]),
            limit: LimitId([0; 16]),
            values: Vec::new(),
            amount: 1_000,
            windows: vec![window(60, 0), window(60, 30), window(120, 0)],
            holders: vec![gone, live],
            recall: 0,
        };
        let shown: Vec<_> =
            instance.windows.iter().map(|window| (instance.held(window), instance.taken(window))).collect();
        assert_eq!((shown, instance.leased()), (vec![(54, 80), (24, 50), (4, 10)], 10));
    }
}
