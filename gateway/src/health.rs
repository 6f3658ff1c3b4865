//! How the targets of a model are doing, as far as this process has seen: time to the first token, open calls, failures.
//!
//! Only models with several targets are watched, and a target is remembered as long as the policy names it, so the book is as large as
//! the configuration. What a target says of itself (429, 503 with `retry-after`) and three failures in a row open its circuit for a
//! while: then it is passed over, until one call tries it again. An open circuit changes an order and refuses nobody: where all are
//! open, the calls go on to be tried. Nothing here reads a clock; it takes part in no decision about money.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use schemas::{
    config::{ModelRoute, Target},
    map::Map,
};

use crate::settlement::End;

/// So many failures in a row open a circuit.
const FAILURES: u32 = 3;
/// How long it stays open, where the target does not say; twice as long each time that a trial fails, up to eight times.
const COOLDOWN: Duration = Duration::from_secs(30);
const MOST_DOUBLINGS: u32 = 3;
/// However long a provider asks to be left alone.
const LONGEST: Duration = Duration::from_secs(600);
/// What is known of a latency counts for half after this long, so that a target that was slow once is tried again.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// The targets of all models, by provider and model.
#[derive(Default)]
pub(crate) struct Health(Mutex<Map<(String, String), Arc<Standing>>>);

/// The targets of each model with several, in the order of the policy; nothing for the others.
pub(crate) type Standings = Vec<Vec<Arc<Standing>>>;

/// One target.
#[derive(Debug)]
pub(crate) struct Standing {
    state: Mutex<State>,
    cooldown: Duration,
}

/// What is known of it.
#[derive(Debug, Default)]
struct State {
    open: u32,
    /// Of whole answers, and of streams.
    latency: [Option<Latency>; 2],
    failures: u32,
    /// How often its circuit opened without a success since.
    opened: u32,
    until: Option<Instant>,
    /// Whether a call tries it just now.
    on_trial: bool,
}

#[derive(Clone, Copy, Debug)]
struct Latency {
    ms: u64,
    at: Instant,
}

/// What a choice may depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Milliseconds until its circuit closes, if it is open.
    pub(crate) cools_ms: Option<u64>,
    /// The time to its first token, if it is known.
    pub(crate) ttft_ms: Option<u64>,
    /// The calls that are open there.
    pub(crate) open: u32,
}

/// One attempt at a target, from its begin to its end, or until it is dropped.
#[derive(Debug)]
pub(crate) struct Ride {
    standing: Arc<Standing>,
    is_stream: bool,
    is_trial: bool,
}

impl Health {
    /// The targets of these models. Those that were known before keep what is known of them; the others are forgotten.
    pub(crate) fn of(&self, models: &[ModelRoute]) -> Standings {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *known);
        let mut standing = |route: &ModelRoute, target: &Target| {
            let name = (target.provider.clone(), target.model.clone().unwrap_or_else(|| route.name.clone()));
            let cooldown = target.cooldown.unwrap_or(COOLDOWN);
            let kept = known.get(&name).or_else(|| before.get(&name)).filter(|kept| kept.cooldown == cooldown);
            let standing = kept.map_or_else(|| Arc::new(Standing::new(cooldown)), Arc::clone);
            known.insert(name, Arc::clone(&standing));
            standing
        };
        let several = |route: &ModelRoute| route.targets.len() > 1;
        models
            .iter()
            .map(|route| {
                let targets = route.targets.iter().filter(|_| several(route));
                targets.map(|target| standing(route, target)).collect()
            })
            .collect()
    }
}

impl Standing {
    pub(crate) fn new(cooldown: Duration) -> Self {
        Self { state: Mutex::default(), cooldown }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is doing for calls of this kind.
    pub(crate) fn seen(&self, is_stream: bool, at: Instant) -> Seen {
        let state = self.lock();
        let cools_ms = state.until.and_then(|until| match until.checked_duration_since(at) {
            Some(left) if !left.is_zero() => Some(millis(left)),
            _ => state.on_trial.then_some(0),
        });
        let ttft_ms = state.latency[usize::from(is_stream)].map(|latency| latency.of_late(at));
        Seen { cools_ms, ttft_ms, open: state.open }
    }

    /// An attempt begins there. The first one after a cooldown is its trial.
    pub(crate) fn ride(self: &Arc<Self>, is_stream: bool, at: Instant) -> Ride {
        let mut state = self.lock();
        state.open += 1;
        let is_trial = state.until.is_some_and(|until| until <= at) && !state.on_trial;
        state.on_trial |= is_trial;
        Ride { standing: Arc::clone(self), is_stream, is_trial }
    }
}

impl Latency {
    /// Halved with every half-life since.
    fn of_late(self, at: Instant) -> u64 {
        let halvings = at.saturating_duration_since(self.at).as_secs() / HALF_LIFE.as_secs();
        self.ms.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

impl Ride {
    /// The first byte of its answer came after so long: a moving average, in which the newest counts for a quarter.
    pub(crate) fn came(&self, ttft_ms: u64, at: Instant) {
        let mut state = self.standing.lock();
        let known = &mut state.latency[usize::from(self.is_stream)];
        let before = known.map_or(ttft_ms, |latency| latency.of_late(at));
        *known = Some(Latency { ms: (before.saturating_mul(3).saturating_add(ttft_ms)) / 4, at });
    }

    /// The target wants to be left alone: for so long, or as long as is usual. Says whether that opens its circuit.
    pub(crate) fn back_off(&mut self, wait: Option<Duration>, at: Instant) -> bool {
        let wait = wait.unwrap_or(self.standing.cooldown).min(LONGEST);
        let mut state = self.standing.lock();
        let before = state.until;
        state.until = at.checked_add(wait).max(state.until).filter(|_| !self.standing.cooldown.is_zero());
        let opened = state.until.is_some() && before.is_none_or(|before| before <= at);
        drop(state);
        self.release();
        opened
    }

    /// It is over, and says something of the target, or nothing. Says whether that opens its circuit.
    pub(crate) fn ended(&mut self, end: End, status: u16, at: Instant) -> bool {
        let cooldown = self.standing.cooldown;
        let mut state = self.standing.lock();
        let before = state.until;
        match good(end, status) {
            Some(true) => (state.failures, state.opened, state.until) = (0, 0, None),
            Some(false) => {
                state.failures = state.failures.saturating_add(1);
                if !cooldown.is_zero() && (self.is_trial || state.failures >= FAILURES) {
                    let wait =
                        cooldown.saturating_mul(1 << state.opened.min(MOST_DOUBLINGS)).min(LONGEST.max(cooldown));
                    state.until = at.checked_add(wait).max(state.until);
                    (state.opened, state.failures) = (state.opened.saturating_add(1), 0);
                }
            }
            None => {}
        }
        let opened = state.until.is_some_and(|until| until > at) && before.is_none_or(|before| before <= at);
        drop(state);
        self.release();
        opened
    }

    /// What it tried is known, or will not be.
    fn release(&mut self) {
        if std::mem::take(&mut self.is_trial) {
            self.standing.lock().on_trial = false;
        }
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.release();
        let mut state = self.standing.lock();
        state.open = state.open.saturating_sub(1);
    }
}

/// Whether an end speaks for the target or against it. What a client did, or we, says nothing.
const fn good(end: End, status: u16) -> Option<bool> {
    match end {
        End::Complete | End::ClientGoneDrained => Some(true),
        // The provider is there and has understood.
        End::Refused => Some(!matches!(status, 100..=399 | 401 | 403 | 408 | 429 | 500..)),
        End::NotSent | End::NoAnswer | End::Truncated | End::TimedOut => Some(false),
        End::ClientGoneBefore | End::ClientGone | End::Cut => None,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn standing() -> (Arc<Standing>, Instant) {
        (Arc::new(Standing::new(COOLDOWN)), Instant::now())
    }

    fn fail(standing: &Arc<Standing>, at: Instant) {
        let _ = standing.ride(false, at).ended(End::NoAnswer, 0, at);
    }

    fn cools(standing: &Standing, at: Instant) -> Option<u64> {
        standing.seen(false, at).cools_ms
    }

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_one_call_tries_it_again() {
        let (standing, at) = standing();
        fail(&standing, at);
        fail(&standing, at);
        standing.ride(false, at).ended(End::Complete, 200, at);
        fail(&standing, at);
        fail(&standing, at);
        assert_eq!(cools(&standing, at), None, "two are not three");
        assert!(standing.ride(false, at).ended(End::NoAnswer, 0, at), "it opens");
        assert!(!standing.ride(false, at).ended(End::NoAnswer, 0, at), "it is open");
        assert_eq!(cools(&standing, at), Some(30_000));
        let later = at + 30 * SECOND;
        assert_eq!(cools(&standing, later), None);
        let mut trial = standing.ride(false, later);
        assert_eq!(cools(&standing, later), Some(0), "it is being tried");
        trial.ended(End::TimedOut, 0, later);
        drop(trial);
        assert_eq!(cools(&standing, later), Some(60_000), "twice as long");
        let mut later = later + 60 * SECOND;
        for cools_s in [120, 240, 240] {
            fail(&standing, later);
            assert_eq!(cools(&standing, later), Some(cools_s * 1_000), "up to eight times");
            later += Duration::from_secs(cools_s);
        }
        drop(standing.ride(false, later));
        assert_eq!(cools(&standing, later), None, "a trial that says nothing leaves it to the next");
        standing.ride(false, later).ended(End::Complete, 200, later);
        fail(&standing, later);
        assert_eq!(cools(&standing, later), None);
    }

    #[test]
    fn what_a_client_did_and_what_it_asked_says_nothing_against_a_target() {
        let (standing, at) = standing();
        for _ in 0..5 {
            standing.ride(false, at).ended(End::ClientGone, 200, at);
            standing.ride(false, at).ended(End::Refused, 400, at);
        }
        assert_eq!(cools(&standing, at), None);
    }

    #[test]
    fn a_target_is_left_alone_for_as_long_as_it_asks_and_within_bounds() {
        let (standing, at) = standing();
        assert!(standing.ride(false, at).back_off(Some(7 * SECOND), at));
        assert_eq!(cools(&standing, at), Some(7_000));
        assert!(!standing.ride(false, at).back_off(Some(SECOND), at));
        assert_eq!(cools(&standing, at), Some(7_000), "the longer word counts");
        assert!(!standing.ride(false, at).back_off(Some(86_400 * SECOND), at));
        assert_eq!(cools(&standing, at), Some(600_000));
        let never = Arc::new(Standing::new(Duration::ZERO));
        assert!(!never.ride(false, at).back_off(Some(SECOND), at));
        (0..9).for_each(|_| fail(&never, at));
        assert_eq!(cools(&never, at), None, "a cooldown of nothing is none");
    }

    #[test]
    fn latencies_move_slowly_and_fade() {
        let (standing, at) = standing();
        assert_eq!(standing.seen(true, at).ttft_ms, None);
        standing.ride(true, at).came(400, at);
        standing.ride(true, at).came(800, at);
        assert_eq!(standing.seen(true, at).ttft_ms, Some(500));
        assert_eq!(standing.seen(false, at).ttft_ms, None, "whole answers take longer than streams begin");
        assert_eq!(standing.seen(true, at + 60 * SECOND).ttft_ms, Some(125));
        assert_eq!(standing.seen(true, at + 86_400 * SECOND).ttft_ms, Some(0));
    }

    #[test]
    fn open_calls_are_counted_until_they_are_over() {
        let (standing, at) = standing();
        let rides = [standing.ride(false, at), standing.ride(true, at)];
        assert_eq!(standing.seen(false, at).open, 2);
        drop(rides);
        assert_eq!(standing.seen(false, at).open, 0);
    }

    #[test]
    fn a_policy_forgets_what_it_does_not_name() {
        let health = Health::default();
        let route = |names: &[&str]| ModelRoute {
            name: "m".into(),
            targets: names.iter().map(|name| Target::new((*name).into(), None)).collect(),
            ..ModelRoute::default()
        };
        let first = health.of(&[route(&["a", "b"]), route(&["a"])]);
        assert_eq!((first[0].len(), first[1].len()), (2, 0), "a model with one target is not watched");
        let second = health.of(&[route(&["b", "c"])]);
        assert!(Arc::ptr_eq(&first[0][1], &second[0][0]));
        assert!(!Arc::ptr_eq(&first[0][0], &health.of(&[route(&["a", "b"])])[0][0]));
        assert_eq!(health.0.lock().unwrap().len(), 2);
    }
}
