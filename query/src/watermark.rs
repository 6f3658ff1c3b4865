//! How complete an answer is: up to which moment every call that was admitted is in it, and who holds that back.
//!
//! Each gateway says every second, in every lane, before which moment nothing of it is still to come. The answer is complete
//! through the least of what live gateways say. One that is silent holds it back until `abandon_after`; after that it does
//! not any more, but stays listed as incomplete until its journal is recovered (its successor closes it).
//!
//! Who may not read every tenant must not learn when others have a call open. For these the moment is reckoned from when gateways were
//! heard, which nothing that anybody calls changes: less what a call lasts at most, so that it is never a moment which is not complete.
//!
//! It must be read before the cut is pinned and told of entries after the tail has them, so that it never promises more than
//! the cut holds. Pure: the moment is an input.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemas::{
    decision::LaneState,
    id::{Lane, ProducerId},
    ledger::Heard,
    time::Time,
};
use serde::Serialize;

/// A gateway that was not heard for this long is called silent, and one whose oldest call is older is waited for. Gateways
/// report every second; the rest is for the way to here.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long calls last, unless a provider's `timeouts.total` is raised. Where one is open for longer, or was not shipped for so long,
/// who may not know of it sees the hour.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How exactly the moments are told to who may not know of the calls of others, as long as none is older than [`LONGEST`].
const MINUTE: Duration = Duration::from_secs(60);

/// What gateways said last.
#[derive(Debug, Default)]
pub struct Watermark {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    marks: BTreeMap<(Lane, ProducerId), Heard>,
    /// Whether the gateways are known that were last heard before this process began.
    restored: bool,
}

/// How complete an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Every call admitted before this is in the answer; nothing while no gateway has ever been heard.
    pub complete_through: Option<Time>,
    /// The same, or an earlier moment, that says nothing of whose calls are open.
    pub apart_through: Option<Time>,
    /// Who holds it back.
    pub waiting_for: Vec<Waiting>,
}

/// A gateway that an answer waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Its name.
    pub gateway: String,
    /// Since when: the admission of its oldest open call, or when it was last heard.
    pub since: Time,
    /// Why.
    pub why: Why,
}

/// Why an answer waits for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A call of it is still running, or was not shipped.
    OpenCall,
    /// It does not report.
    Silent,
    /// It has not reported for so long that the answer waits no more, though calls of it may be missing.
    Incomplete,
}

impl Watermark {
    /// Takes what a gateway said; the latest word of a producer in a lane counts.
    pub fn heard(&self, lane: Lane, heard: &Heard) {
        self.lock().heard(lane, heard);
    }

    /// Takes what metering remembers of every lane, for gateways that were last heard before this process began. It comes before
    /// anything that the ledger says: what was true when it was read is older than that.
    pub fn remember(&self, states: &[(Lane, LaneState)]) {
        let mut inner = self.lock();
        for (lane, mark) in states.iter().flat_map(|(lane, state)| state.producers.iter().map(|mark| (*lane, mark))) {
            let heard = Heard {
                producer: mark.producer,
                gateway: mark.gateway.clone(),
                at: mark.heard_at,
                low_watermark: mark.low_watermark,
                closed: mark.closed,
            };
            inner.heard(lane, &heard);
        }
    }

    /// The tail is as far as the ledger was when what metering remembers was read. Until then no answer is called complete.
    pub fn restored(&self) {
        self.lock().restored = true;
    }

    /// Whether what was in the ledger when this process began is known. Until then an answer may lack any of its rows.
    pub fn is_restored(&self) -> bool {
        self.lock().restored
    }

    /// How complete an answer is whose cut is pinned after this call.
    pub fn at(&self, now: Time, abandon_after: Duration) -> Completeness {
        let inner = self.lock();
        let live: Vec<_> = inner.marks.values().filter(|mark| !mark.closed).collect();
        let counted = |mark: &&&Heard| now.since(mark.at) <= abandon_after;
        let least = live.iter().filter(counted).map(|mark| mark.low_watermark).min();
        let latest = || inner.marks.values().map(|mark| mark.low_watermark).max();
        let mut waiting: Vec<_> = live.iter().filter_map(|mark| waiting(mark, now, abandon_after)).collect();
        waiting.sort();
        waiting.dedup_by(|later, first| later.gateway == first.gateway && later.why == first.why);
        let complete_through = if inner.restored { least.or_else(latest) } else { None };
        let apart = live.iter().filter(counted).map(|mark| apart_of(mark)).min();
        let apart = apart.or_else(|| inner.marks.values().map(apart_of).max());
        let apart_through = complete_through.and(apart);
        Completeness { complete_through, apart_through, waiting_for: waiting }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn heard(&mut self, lane: Lane, heard: &Heard) {
        let marks = &mut self.marks;
        let mark = marks.entry((lane, heard.producer)).or_insert_with(|| heard.clone());
        mark.closed |= heard.closed;
        mark.at = mark.at.max(heard.at);
        mark.low_watermark = mark.low_watermark.max(heard.low_watermark);
        let closed: Vec<_> = marks.iter().filter(|(_, mark)| mark.closed).map(|(key, mark)| (mark.at, *key)).collect();
        // Of closed producers only the latest word matters; a journal that is opened often leaves many.
        if let Some((_, last)) = closed.iter().max() {
            marks.retain(|key, mark| !mark.closed || key == last);
        }
    }
}

/// What a gateway said of its low watermark, without the calls that hold it.
fn apart_of(mark: &Heard) -> Time {
    let bound = floor(mark.at.earlier(LONGEST), MINUTE);
    match mark.low_watermark {
        // Nothing is open any more.
        low if mark.closed => low.second(),
        low if low >= bound => bound,
        low => floor(low, LONGEST),
    }
}

fn floor(time: Time, span: Duration) -> Time {
    let micros = i64::try_from(span.as_micros()).unwrap_or(1);
    Time::from_micros(time.as_micros().saturating_sub(time.as_micros().rem_euclid(micros)))
}

fn waiting(mark: &Heard, now: Time, abandon_after: Duration) -> Option<Waiting> {
    let silence = now.since(mark.at);
    let (since, why) = if silence > abandon_after {
        (mark.at, Why::Incomplete)
    } else if silence > PATIENCE {
        (mark.at, Why::Silent)
    } else if now.since(mark.low_watermark) > PATIENCE {
        (mark.low_watermark, Why::OpenCall)
    } else {
        return None;
    };
    Some(Waiting { gateway: mark.gateway.clone(), since, why })
}

#[cfg(test)]
mod tests {
    use schemas::{decision::ProducerMark, id::Seq};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn second(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    fn heard(producer: u8, at: i64, low: i64, closed: bool) -> Heard {
        Heard {
            producer: ProducerId::from_bytes([producer; 16]),
            gateway: format!("gw-{producer}"),
            at: second(at),
            low_watermark: second(low),
            closed,
        }
    }

    #[test]
    fn the_slowest_live_gateway_decides() {
        let check = |said: &[Heard], now: i64, through: Option<i64>, waiting: &[(&str, i64, Why)]| {
            let watermark = Watermark::default();
            said.iter().for_each(|heard| watermark.heard(Lane(0), heard));
            assert_eq!(watermark.at(second(now), DAY).complete_through, None);
            watermark.restored();
            let got = watermark.at(second(now), DAY);
            assert_eq!(got.complete_through, through.map(second), "{said:?}");
            let waiting: Vec<_> = waiting
                .iter()
                .map(|(gateway, since, why)| Waiting { gateway: (*gateway).into(), since: second(*since), why: *why })
                .collect();
            assert_eq!(got.waiting_for, waiting, "{said:?}");
        };
        check(&[], 100, None, &[]);
        check(&[heard(1, 99, 99, false), heard(2, 99, 98, false)], 100, Some(98), &[]);
        check(&[heard(1, 99, 99, false), heard(2, 99, 50, false)], 100, Some(50), &[("gw-2", 50, Why::OpenCall)]);
        check(&[heard(1, 99, 99, false), heard(2, 60, 60, false)], 100, Some(60), &[("gw-2", 60, Why::Silent)]);
        check(&[heard(1, 99, 99, false), heard(2, 98, 98, false), heard(2, 60, 60, false)], 100, Some(98), &[]);
        check(&[heard(1, 90, 90, true), heard(2, 99, 99, false)], 100, Some(99), &[]);
        check(&[heard(1, 90, 90, true), heard(3, 91, 91, true)], 100, Some(91), &[]);
        check(
            &[heard(1, 90_000, 90_000, false), heard(2, 60, 60, false)],
            90_001,
            Some(90_000),
            &[("gw-2", 60, Why::Incomplete)],
        );
    }

    #[test]
    fn what_others_have_open_does_not_move_the_moment_of_who_may_not_know() {
        let at = |said: &[Heard], now: i64| {
            let watermark = Watermark::default();
            said.iter().for_each(|heard| watermark.heard(Lane(0), heard));
            watermark.restored();
            watermark.at(second(now), DAY)
        };
        let now = 100_000;
        let idle = at(&[heard(1, now, now, false)], now).apart_through;
        assert_eq!(idle, Some(second(now - 3_600 - 40)));
        for open in [1, 40, 600, 3_600] {
            assert_eq!(at(&[heard(1, now, now - open, false)], now).apart_through, idle, "{open}");
        }
        // What is open or unshipped for longer than calls last is not called complete.
        for stuck in [3_700, 10_000, 80_000] {
            let got = at(&[heard(1, now, now - stuck, false)], now);
            assert!(got.apart_through.is_some_and(|apart| Some(apart) <= got.complete_through), "{stuck}: {got:?}");
        }
        // Who is silent holds it back, and who has ended does not.
        let silent = at(&[heard(1, now, now, false), heard(2, now - 7_200, now - 7_200, false)], now).apart_through;
        assert!(silent.is_some_and(|apart| apart <= second(now - 7_200)));
        assert_eq!(at(&[heard(1, 90, 90, true)], now).apart_through, Some(second(90)));
    }

    #[test]
    fn a_gateway_that_ends_while_the_ledger_is_read_is_not_waited_for() {
        let watermark = Watermark::default();
        let state = |producer: u8, at: i64| ProducerMark {
            producer: ProducerId::from_bytes([producer; 16]),
            seq: Seq(1),
            hash: 0,
            gateway: format!("gw-{producer}"),
            low_watermark: second(at),
            heard_at: second(at),
            answered: 0,
            closed: false,
            forked: false,
            heir: None,
            copy: None,
            accepted_at: second(at),
        };
        let state = LaneState { producers: vec![state(1, 50), state(2, 50)], ..LaneState::default() };
        watermark.remember(&[(Lane(0), state)]);
        watermark.heard(Lane(0), &heard(1, 50, 50, true));
        watermark.heard(Lane(0), &heard(3, 99, 99, false));
        watermark.heard(Lane(0), &heard(2, 51, 51, true));
        watermark.restored();
        let got = watermark.at(second(100), DAY);
        assert_eq!((got.complete_through, got.waiting_for), (Some(second(99)), Vec::new()));
    }

    #[test]
    fn every_lane_counts() {
        let watermark = Watermark::default();
        watermark.restored();
        watermark.heard(Lane(0), &heard(1, 99, 99, false));
        watermark.heard(Lane(1), &heard(1, 97, 97, false));
        assert_eq!(watermark.at(second(100), DAY).complete_through, Some(second(97)));
    }
}
