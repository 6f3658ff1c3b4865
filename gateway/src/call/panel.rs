//! A call of a model with a judge: its members are all asked at once, and the judge, who is shown what they answered, answers the client.
//!
//! Members and judge are admitted as a whole before any of them is asked, for the most that all of them can use; each is an attempt of its
//! own, which settles and is charged by itself. A member is asked for a whole answer, and one that fails leaves the rest: only where none has
//! answered the call fails. One that cannot be asked is left out, which the client is told; where that leaves fewer than two nobody is asked.
//! What the judge answers is relayed like any answer, so a stream begins when the judge begins.

use std::sync::Arc;

use futures::future::join_all;
use http::HeaderName;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemas::{
    bound::most_seen,
    config::{Judge, Retry},
    error_code::ErrorCode,
    id::InstanceId,
};

use super::{
    Arrival,
    aim::{self, Aim, Spot},
    tries::{self, Came, How, unwritten},
};
use crate::{
    admit::{Candidate, Together, together},
    attempt::{Attempt, Baton},
    carry, ensemble,
    error::{Fault, Retry as Again},
    heading::Failed,
    request::Cap,
    route::{Order, short},
    settlement::End,
    worker::{Taken, Worker},
};

/// The header that says which members were left out of a call, and why.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-tollgate-left-out");

/// Why a member has not answered.
struct Missed {
    why: String,
    /// Whether it has turned the request down, so that it would do so again.
    is_of_request: bool,
}

/// A member that cannot be asked.
struct LeftOut {
    who: String,
    why: Fault,
}

impl LeftOut {
    /// Who, and the code of why.
    fn short(&self) -> String {
        format!("{} ({})", self.who, self.why.code.code())
    }

    fn missed(&self) -> Missed {
        Missed { why: format!("{} was left out", self.short()), is_of_request: self.why.retry == Again::Never }
    }
}

/// Makes a call of a model with a judge; `like` is the call as it came, at whichever target.
pub(super) async fn over(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    (like, order): (&Aim, &Order),
    judge: &Judge,
    seen: &mut Vec<InstanceId>,
) -> Result<Came, Fault> {
    let (members, left_out) = enough(like, members(worker, arrival, like, order).await?)?;
    let mut taken = Taken::nothing(Arc::clone(&worker.shared));
    if !taken.grow(judge.max_answer.saturating_mul(members.len() as u64)) {
        let message = "the bodies of other calls fill the memory set aside for them; try again";
        return Err(Fault::new(ErrorCode::TooBusy, message));
    }
    let judging = Spot::Judge(order.route);
    let longest = ensemble::longest(&like.asked, judge, members.len()).ok_or_else(|| not_judged(like))?;
    let at_most = aim::part(worker, arrival, like, longest, judging).await?;
    let candidates = members.iter().map(|aim| arrival.candidate(aim)).collect();
    // How many tokens the longest answers have nobody can count.
    let then = Candidate { body: None, ..arrival.candidate(&at_most) };
    let Together { baton, attempts, then } = match together(worker, candidates, then, seen).await? {
        Ok(together) => together,
        Err(not) => return Ok(Came::Refused(not)),
    };
    drop(at_most);
    let answers = answers(worker, arrival, &members, attempts, judge.max_answer).await;
    let question = answers.and_then(|answers| question(like, judge, answers, &left_out));
    let aim = match question {
        Ok(question) => aim::part(worker, arrival, like, question, judging).await,
        Err(fault) => Err(fault),
    };
    drop(taken);
    let aim = concluding(&baton, aim).await?;
    let over = || Fault::new(ErrorCode::TooBusy, "the call is over; try again");
    let (mut attempt, cap) = then.take(&baton).ok_or_else(over)?;
    if attempt.admitted().await.is_err() {
        drop(attempt.settle(End::NotSent, None));
        return Ok(Came::Failed(Failed::ours(attempt, unwritten(), &aim.upstream)));
    }
    let how = How { timeouts: aim.timeouts, retry: &Retry::default(), number: attempt.facts.attempt };
    Ok(match tries::send(worker, arrival, &aim, (attempt, cap), &how).await {
        Ok(mut response) => {
            let left_out: Vec<String> = left_out.iter().map(LeftOut::short).collect();
            if let Some(list) = carry::listed(&left_out) {
                response.headers_mut().insert(LEFT_OUT, list);
            }
            Came::Answered(response)
        }
        Err(failed) => Came::Failed(failed),
    })
}

/// The members of a model for a call: what each of the targets that take it is asked, and those of them that cannot be.
async fn members(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    like: &Aim,
    order: &Order,
) -> Result<(Vec<Aim>, Vec<LeftOut>), Fault> {
    if !ensemble::can(arrival.way.api) || like.asked.n > 1 {
        return Err(not_judged(like));
    }
    let (body, route) = (like.asked.unstreamed(), arrival.view.policy.models.get(order.route));
    let targets = route.map_or(&[][..], |route| route.targets.as_slice());
    let mut places: Vec<usize> = (0..order.len()).filter_map(|turn| order.turn(turn)).collect();
    // Who is not in the order cannot be asked either, or not this, unless its `when` lets no such call to it.
    for (place, target) in targets.iter().enumerate() {
        if !places.contains(&place) && aim::takes(worker, arrival, target, like.name()) {
            places.push(place);
        }
    }
    let (mut members, mut left_out) = (Vec::with_capacity(places.len()), Vec::new());
    for (place, target) in places.into_iter().filter_map(|place| Some((place, targets.get(place)?))) {
        match aim::part(worker, arrival, like, body.clone(), Spot::Target(order.route, place)).await {
            Ok(aim) => members.push(aim),
            Err(why) => {
                let model = target.model.as_deref().unwrap_or(like.name());
                left_out.push(LeftOut { who: format!("{}/{}", target.provider, short(model)), why });
            }
        }
    }
    Ok((members, left_out))
}

/// The same, unless so many are left out that fewer than two are asked: what one says nobody can compare.
fn enough(like: &Aim, (members, left_out): (Vec<Aim>, Vec<LeftOut>)) -> Result<(Vec<Aim>, Vec<LeftOut>), Fault> {
    let Some(LeftOut { why, .. }) = left_out.first().filter(|_| members.len() < 2) else {
        return Ok((members, left_out));
    };
    let each: Vec<String> = left_out.iter().map(|left| format!("{}: {}", left.short(), left.why.message)).collect();
    let (name, all) = (short(like.name()), members.len() + left_out.len());
    let message = format!(
        "`{name}` has a judge, for which two members have to answer, and of {all} only {} can be asked: {}",
        members.len(),
        each.join("; ")
    );
    Err(Fault { message: message.into(), ..why.clone() })
}

fn not_judged(like: &Aim) -> Fault {
    let message = format!(
        "`{}` has a judge: it takes chat completions and Anthropic messages with a list of messages, and gives one answer (`n` is 1)",
        short(&like.asked.model)
    );
    Fault::new(ErrorCode::NotJudged, message)
}

/// What the members answer. None is asked before all of them are written down.
async fn answers(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    members: &[Aim],
    mut attempts: Vec<(Attempt, Option<Cap>)>,
    most: u64,
) -> Result<Vec<Result<String, Missed>>, Fault> {
    let tickets: Vec<_> = attempts.iter_mut().map(|(attempt, _)| attempt.admitted()).collect();
    if join_all(tickets).await.iter().any(Result::is_err) {
        attempts.iter_mut().for_each(|(attempt, _)| drop(attempt.settle(End::NotSent, None)));
        return Err(unwritten());
    }
    let asked = members.iter().zip(attempts).map(|(aim, attempt)| Box::pin(ask(worker, arrival, aim, attempt, most)));
    Ok(join_all(asked).await)
}

/// What one member answers, as the judge will see it.
async fn ask(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: &Aim,
    attempt: (Attempt, Option<Cap>),
    most: u64,
) -> Result<String, Missed> {
    let who = |why: &str| format!("{}/{} {why}", aim.upstream.provider.name, aim.model);
    let how = How { timeouts: aim.timeouts, retry: &Retry::default(), number: attempt.0.facts.attempt };
    let answered = tries::send(worker, arrival, aim, attempt, &how).await;
    let response = answered.map_err(|failed| Missed { why: failed.why(), is_of_request: false })?;
    let status = response.status();
    let whole = Limited::new(response.into_body(), usize::try_from(most).unwrap_or(usize::MAX)).collect().await;
    if !status.is_success() {
        let is_of_request = status.is_client_error() && !matches!(status.as_u16(), 408 | 409 | 429);
        return Err(Missed { why: who(&format!("answered {}", status.as_u16())), is_of_request });
    }
    let missed = |why: &str| Missed { why: who(why), is_of_request: false };
    let whole = whole.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => missed(&format!("answered with more than {most} bytes, which is the judge's `max_answer`")),
        None => missed("broke off"),
    })?;
    let said =
        ensemble::said(arrival.way.api, &whole.to_bytes()).ok_or_else(|| missed("said nothing that can be judged"))?;
    // A short answer of characters that a tokenizer may write out is as long as that: more was not held for.
    match most_seen(&said) <= most {
        true => Ok(said),
        false => Err(missed(&format!(
            "said what may be more than {most} bytes to a tokenizer, which is the judge's `max_answer`"
        ))),
    }
}

/// What the judge is asked, if anybody has answered.
fn question(
    like: &Aim,
    judge: &Judge,
    answers: Vec<Result<String, Missed>>,
    left_out: &[LeftOut],
) -> Result<bytes::Bytes, Fault> {
    let members = answers.len() + left_out.len();
    let mut missed: Vec<Missed> = left_out.iter().map(LeftOut::missed).collect();
    let mut said = Vec::with_capacity(answers.len());
    for answer in answers {
        match answer {
            Ok(answer) => said.push(answer),
            Err(why) => missed.push(why),
        }
    }
    if said.is_empty() {
        let why: Vec<&str> = missed.iter().map(|missed| missed.why.as_str()).collect();
        let message = format!("of {members} members none has: {}", why.join("; "));
        let fault = Fault::new(ErrorCode::NobodyAnswered, message);
        return Err(if missed.iter().all(|missed| missed.is_of_request) { fault.never() } else { fault });
    }
    ensemble::question(&like.asked, judge, &said).ok_or_else(|| not_judged(like))
}

/// The same, once the end of the call is written down if it ends here.
async fn concluding<T>(baton: &Baton, came: Result<T, Fault>) -> Result<T, Fault> {
    if came.is_err()
        && let Some(ticket) = baton.conclude()
    {
        // Whether or not it could be written now, the client is told the same; the record stays in the buffer.
        let _ = ticket.await;
    }
    came
}
