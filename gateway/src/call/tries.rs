//! The attempts of a call: one target after the other, until one answers or none is left to be tried.
//!
//! Each attempt is admitted, recorded, sent and charged by itself; a next one takes its own holds or is not made. It follows only
//! before the first token, for the causes that the model names, so often and so long as it says. To another target it goes at once, to
//! the same one again after a pause, which is as long as the target asked for if that is short, unless it says that this will not help
//! (`x-should-retry`). What the client is told in the end is
//! what the last attempt came to, or the first refusal if there was none.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use schemas::{
    config::{Cause, Retry, Timeouts, UsageInStream},
    error_code::ErrorCode,
    id::{CallId, InstanceId},
    limit::OnExceed,
    time::now,
};

use super::{
    Arrival,
    aim::{self, Aim, Spot},
    panel,
};
use crate::{
    admit::NotAdmitted,
    attempt::{Attempt, Used},
    carry,
    error::Fault,
    heading::{self, Failed, Plan},
    request::{Cap, Edits},
    route::{self, Order},
    settlement::End,
    worker::Worker,
};

/// The header that tells a client that the output of its call was capped.
const CAPPED: HeaderName = HeaderName::from_static("x-tollgate-capped");
/// The headers that tell a client which model its call was made with instead, and which limit said so.
const DOWNGRADED: HeaderName = HeaderName::from_static("x-tollgate-downgraded");
const DOWNGRADED_BY: HeaderName = HeaderName::from_static("x-tollgate-downgraded-by");
/// The headers that say who answered, and at the how manieth attempt, if not at the first.
pub(super) const SERVED_BY: HeaderName = HeaderName::from_static("x-tollgate-served-by");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");

/// The longest that a call waits because a target asks it to; one that asks for more is not tried again.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(10);
/// The longest pause before a target is asked again.
const MOST_BACKOFF: Duration = Duration::from_secs(5);

/// What came of the targets of a model.
pub(super) enum Came {
    Answered(Response<Body>),
    /// The last attempt failed.
    Failed(Box<Failed>),
    /// Not one was admitted.
    Refused(Box<NotAdmitted>),
}

/// Makes a call, or, where a limit that is reached says so, once as if another model had been asked for.
pub(super) async fn answer(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: Aim,
    order: Order,
) -> Result<Response<Body>, Fault> {
    let (body, mut seen) = (aim.asked.body().clone(), Vec::new());
    let first = match over(worker, arrival, (aim, order), &mut seen).await? {
        Came::Answered(response) => return Ok(response),
        Came::Failed(failed) => return failed.told(arrival.call).await,
        Came::Refused(first) => first,
    };
    let reached = matches!(first.refusal.code, ErrorCode::HardLimitReached | ErrorCode::SoftLimitReached);
    let OnExceed::Downgrade(model) = &first.refusal.on_exceed else { return Err(first.tell(worker)) };
    // Where that model cannot be asked this call, the client is told why its own could not.
    let other = aim::aim(worker, arrival, body, Some(model.clone())).await.ok().filter(|_| reached);
    let Some((aim, order)) = other else { return Err(first.tell(worker)) };
    // The call was not refused, and would have been.
    first.observe(worker, &mut seen);
    match over(worker, arrival, (aim, order), &mut seen).await? {
        Came::Answered(mut response) => {
            set(response.headers_mut(), DOWNGRADED, model);
            set(response.headers_mut(), DOWNGRADED_BY, &first.refusal.limit);
            Ok(response)
        }
        Came::Failed(failed) => failed.told(arrival.call).await,
        Came::Refused(second) => Err(second.tell(worker)),
    }
}

/// Tries the targets of a model in their order.
async fn over(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    (aim, order): (Aim, Order),
    seen: &mut Vec<InstanceId>,
) -> Result<Came, Fault> {
    let route = arrival.view.policy.models.get(order.route);
    if let Some(judge) = route.and_then(|route| route.judge.as_deref()).filter(|_| !arrival.way.api.is_free()) {
        return panel::over(worker, arrival, (&aim, &order), judge, seen).await;
    }
    // What goes to no model's targets is tried once.
    let once = Retry::default();
    let tries = Tries { retry: route.map_or(&once, |route| &route.retry), at: Progress::of(order) };
    going(worker, arrival, (aim, None), tries, seen).await
}

/// Goes on with a call whose answer broke off on its way to the client; `aim` is what is asked from here on, at the target that failed.
pub(super) async fn further(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    (aim, at): (Aim, Progress),
    mut failed: Box<Failed>,
) -> Result<Came, Fault> {
    let once = Retry::default();
    let route = arrival.view.policy.models.get(at.order.route);
    let mut tries = Tries { retry: route.map_or(&once, |route| &route.retry), at };
    tries.note(&failed);
    if failed.may_be_followed(tries.retry)
        && let Some(next) = tries.next(worker, arrival, &aim).await
    {
        return going(worker, arrival, (next, Some(failed)), tries, &mut Vec::new()).await;
    }
    Ok(Came::Failed(failed))
}

/// Makes one attempt after the other, the first of them after one that failed, if there was one.
async fn going(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    (mut aim, mut failed): (Aim, Option<Box<Failed>>),
    mut tries: Tries<'_>,
    seen: &mut Vec<InstanceId>,
) -> Result<Came, Fault> {
    let mut first_refusal: Option<Box<NotAdmitted>> = None;
    // What would have followed an attempt that failed: whether a limit has refused the call is known at its end.
    let mut refused: Vec<NotAdmitted> = Vec::new();
    loop {
        let before = failed.as_mut().and_then(|failed| failed.attempt());
        match arrival.candidate(&aim).admit(worker, before, seen).await {
            Ok(Ok((attempt, cap))) => {
                // With it goes the answer that nobody will be told.
                drop(failed.take());
                if let Some(not) = first_refusal.take() {
                    not.observe(worker, seen);
                }
                tries.at.made += 1;
                match attempt_at(worker, arrival, &aim, (attempt, cap), &tries).await {
                    Ok(response) => {
                        refused.iter().for_each(|not| not.observe(worker, seen));
                        if let Some(onward) = &arrival.onward {
                            onward.note(aim, tries.at);
                        }
                        return Ok(Came::Answered(response));
                    }
                    Err(mut next) => {
                        tries.note(&next);
                        served_by(&mut next.beside, &aim.upstream.provider.name, &aim.model, tries.at.made);
                        let follows = failed.insert(next).may_be_followed(tries.retry);
                        if !follows {
                            break;
                        }
                    }
                }
            }
            Ok(Err(not)) if failed.is_some() => {
                tries.leave_out();
                refused.push(*not);
            }
            Ok(Err(not)) => {
                tries.leave_out();
                first_refusal.get_or_insert(not);
                if !tries.retry.on.contains(&Cause::Limit) {
                    break;
                }
            }
            Err(fault) if failed.is_none() => return Err(fault),
            Err(_) => break,
        }
        match tries.next(worker, arrival, &aim).await {
            Some(next) => aim = next,
            None => break,
        }
    }
    match (failed, first_refusal) {
        (Some(failed), _) => {
            let mut counted = Vec::new();
            refused.iter().for_each(|not| not.refuse(worker, &mut counted));
            Ok(Came::Failed(failed))
        }
        (None, Some(first)) => Ok(Came::Refused(first)),
        (None, None) => Err(Fault::new(ErrorCode::TooBusy, "the call could not be made; try again")),
    }
}

/// Makes one attempt that has been admitted.
async fn attempt_at(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: &Aim,
    (mut attempt, cap): (Attempt, Option<Cap>),
    tries: &Tries<'_>,
) -> Result<Response<Body>, Box<Failed>> {
    if attempt.admitted().await.is_err() {
        drop(attempt.settle(End::NotSent, None));
        return Err(Failed::ours(attempt, unwritten(), &aim.upstream));
    }
    if tries.may_go_on() {
        attempt.may_go_on();
        if let Some(onward) = &arrival.onward {
            attempt.leaves(&onward.wreck);
        }
    }
    let how = How { timeouts: tries.patience(arrival, aim), retry: tries.retry, number: tries.at.made };
    send(worker, arrival, aim, (attempt, cap), &how).await
}

/// What is not written down is not made.
pub(super) fn unwritten() -> Fault {
    Fault::new(ErrorCode::JournalFull, "the call cannot be written down, so it is not made; try again")
}

/// How an attempt is made.
pub(super) struct How<'a> {
    pub(super) timeouts: Timeouts,
    pub(super) retry: &'a Retry,
    /// The how manieth of its call it is.
    pub(super) number: u16,
}

/// Sends an attempt that has been written down.
pub(super) async fn send(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: &Aim,
    (mut attempt, cap): (Attempt, Option<Cap>),
    how: &How<'_>,
) -> Result<Response<Body>, Box<Failed>> {
    let note = arrival.cache.note(aim);
    attempt.note(note.clone());
    attempt.rides(aim.standing.as_ref().map(|standing| standing.ride(aim.parsed.stream, std::time::Instant::now())));
    let ask_usage = aim.upstream.provider.usage_in_stream == UsageInStream::Ask;
    let carried = aim.carried.as_deref();
    let head = carried.map(|(_, back)| back.head(&arrival.head));
    let to = (aim.way(arrival), head.as_ref().unwrap_or(&arrival.head));
    let model = aim.upstream.is_named_in_body(to.0, to.1.uri.query()).then_some(aim.model.as_str());
    let edits = Edits { model, ask_usage, cap };
    let of = (&aim.facts, aim.beside.guarded, aim.carried.is_some());
    let plan = Plan::new(worker, &how.timeouts, &arrival.view, Arc::clone(&aim.parsed), of);
    let body = aim.parsed.edit(&edits);
    let used = carried.and_then(|(_, back)| back.needs_usage().then(Used::default));
    attempt.tells(used.clone());
    let comes_back = |failed: Box<Failed>| failed.carried(carried.map(|(_, back)| back.clone()));
    let heading = heading::send(&aim.upstream, attempt, plan, to, body).await.map_err(comes_back)?;
    let answered = heading::answer(heading, arrival.call, &aim.upstream, how.retry).await;
    let mut response = answered.map_err(comes_back)?;
    if let Some((_, back)) = carried {
        // Its attempt is over, or goes on by itself: what cannot be translated is told, and not tried again.
        let carried = back.clone().answer(response, note.clone(), used).await;
        response = carried.map_err(|fault| Failed::after(fault, &aim.upstream))?;
    }
    let headers = response.headers_mut();
    let lowered = cap.filter(|cap| aim.parsed.is_lowered_by(*cap));
    if let Some(tokens) = lowered.map(|cap| cap.tokens).or(aim.lowered) {
        headers.insert(CAPPED, HeaderValue::from(tokens));
    }
    carry::note(headers, &aim.left);
    served_by(headers, &aim.upstream.provider.name, &aim.model, how.number);
    Ok(arrival.cache.keep(response, note))
}

/// Says who answered.
fn served_by(headers: &mut HeaderMap, provider: &str, model: &str, attempts: u16) {
    let mut who = String::with_capacity(provider.len() + 1 + model.len());
    who.extend([provider, "/", model]);
    if let Ok(value) = HeaderValue::try_from(who) {
        headers.insert(SERVED_BY, value);
    }
    if attempts > 1 {
        headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The attempts of a call at the targets of its model. There are at most `retry.attempts`, and each target is left out once.
struct Tries<'a> {
    retry: &'a Retry,
    at: Progress,
}

/// How far a call is with the targets of its model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) order: Order,
    /// Whose turn it is, counted over all rounds.
    turn: usize,
    made: u16,
    /// The places that are not tried again, a bit each.
    left_out: u16,
    /// How long the targets asked to be left alone.
    rest: Duration,
}

impl Progress {
    /// Nothing is made yet.
    const fn of(order: Order) -> Self {
        Self { order, turn: 0, made: 0, left_out: 0, rest: Duration::ZERO }
    }

    /// Whether another attempt could follow the one that is made.
    pub(super) const fn may_go_on(&self, retry: &Retry) -> bool {
        self.made < retry.attempts
    }
}

impl Tries<'_> {
    /// Whether another attempt could follow the one that is made.
    const fn may_go_on(&self) -> bool {
        self.at.may_go_on(self.retry)
    }

    /// How long the target whose turn it is may take: one that hangs is left while another one can still be asked.
    fn patience(&self, arrival: &Arrival, aim: &Aim) -> Timeouts {
        let here = self.at.order.turn(self.at.turn);
        let others =
            (0..self.at.order.len()).filter_map(|turn| self.at.order.turn(turn)).filter(|place| Some(*place) != here);
        let can_leave = self.may_go_on() && others.into_iter().any(|place| self.at.left_out & (1 << place) == 0);
        let spent = now().since(arrival.accepted_at);
        let most = self.retry.patience(aim.parsed.stream, spent).filter(|_| can_leave && !aim.waits);
        let first_byte = aim.timeouts.first_byte.min(most.unwrap_or(Duration::MAX));
        let first_token = aim.timeouts.first_token.filter(|_| aim.parsed.stream);
        Timeouts { first_byte, first_token, ..aim.timeouts }
    }

    /// The target whose turn it is is not asked again.
    fn leave_out(&mut self) {
        if let Some(place) = self.at.order.turn(self.at.turn) {
            self.at.left_out |= 1 << place;
        }
    }

    /// Takes note of how an attempt failed.
    fn note(&mut self, failed: &Failed) {
        match failed.retry_after {
            // Another target may answer all the same.
            _ if failed.again == Some(false) => self.leave_out(),
            Some(wait) if wait > MOST_RETRY_AFTER => self.leave_out(),
            Some(wait) => self.at.rest = self.at.rest.max(wait),
            // Nothing changes before somebody changes our key there.
            None if failed.cause == Some(Cause::Credentials) => self.leave_out(),
            None => {}
        }
    }

    /// The next target and what the call can use there, when it may be asked; nothing if no other attempt is made.
    async fn next(&mut self, worker: &Arc<Worker>, arrival: &Arrival, aim: &Aim) -> Option<Aim> {
        while let Some((place, wait)) = self.next_turn(arrival.call) {
            let spent = now().since(arrival.accepted_at);
            if spent.saturating_add(wait) > self.retry.within {
                return None;
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            match aim::further(worker, arrival, aim, Spot::Target(self.at.order.route, place)).await {
                Ok(aim) => return Some(aim),
                Err(_) => self.leave_out(),
            }
        }
        None
    }

    /// The place of the next target, and how long to wait for it.
    fn next_turn(&mut self, call: CallId) -> Option<(usize, Duration)> {
        if !self.may_go_on() {
            return None;
        }
        let len = self.at.order.len();
        for turn in self.at.turn + 1..=self.at.turn + len {
            let place = self.at.order.turn(turn)?;
            if self.at.left_out & (1 << place) != 0 {
                continue;
            }
            self.at.turn = turn;
            let round = u32::try_from(turn / len).unwrap_or(u32::MAX);
            if round == 0 {
                return Some((place, Duration::ZERO));
            }
            let longest = self.retry.backoff.saturating_mul(1 << (round - 1).min(8)).min(MOST_BACKOFF);
            let half = u64::try_from(longest.as_millis() / 2).unwrap_or(u64::MAX);
            // Half of it by lot, so that calls that failed together do not come again together; nor after a pause that they were asked for
            // together, to which a quarter of it may be added.
            let (half, rest) = (Duration::from_millis(half), std::mem::take(&mut self.at.rest));
            let most = half.max(rest / 4);
            let lot = route::drawn(call, self.at.made, u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1) + 1);
            return Some((place, half.max(rest) + Duration::from_millis(lot)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses of so many calls before they ask the one target of their model again, which asked them to wait for so long.
    fn pauses(rest: Duration) -> Vec<Duration> {
        let retry = Retry { attempts: 3, backoff: Duration::from_millis(400), ..Retry::default() };
        let pause = |call: u8| {
            let at = Progress { made: 1, rest, ..Progress::of(Order::one(0)) };
            Tries { retry: &retry, at }.next_turn(CallId::from_bytes([call; 16])).unwrap().1
        };
        (0..100).map(pause).collect()
    }

    #[test]
    fn calls_that_failed_together_come_again_one_by_one_and_never_sooner_than_they_were_asked_to() {
        for (rest, least, most) in [(0, 200, 400), (300, 300, 500), (8_000, 8_000, 10_000)] {
            let [rest, least, most] = [rest, least, most].map(Duration::from_millis);
            let mut pauses = pauses(rest);
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{rest:?}: {pauses:?}");
            pauses.sort_unstable();
            assert!(pauses[90] - pauses[10] > (most - least) / 2, "{rest:?}: they are spread");
        }
    }
}
