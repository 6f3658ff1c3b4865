//! What becomes of a question: the same limits, journal and price book as for a call that passes here.
//!
//! A check is in the journal before it is answered. What is asked about a body is bounded by the same function that bounds our own
//! calls' bodies, which has to see the very bytes that are sent.

use std::sync::Arc;

use bytes::Bytes;
use schemas::{
    bound::{self, Beside, Bound},
    error_code::ErrorCode,
    event::{Api, Hold},
    id::CallId,
    price::{Encoding, Key, ModelFacts},
    time::{Time, now},
};

use super::{
    Check, Most, Name, Settlement, Told,
    asker::{Asker, fault},
    open::Found,
    wrong,
};
use crate::{
    admit::{Candidate, bound_of, off_thread},
    attempt::Attempt,
    call::OFFLOAD,
    emit::Ticket,
    error::{Dialect, Fault},
    obey::{Caller, PolicyView},
    request::{Cap, Given, Parsed, read},
    route,
    settlement::End,
    worker::Worker,
};

/// A check that passed.
pub(super) struct Passed {
    pub(super) expires_at: Time,
    /// The cap that has to be written into the request.
    pub(super) cap: Option<Cap>,
    pub(super) holds: Vec<Hold>,
}

/// Opens a check, or says why the call may not be made.
pub(super) async fn check(
    worker: &Arc<Worker>,
    view: &Arc<PolicyView>,
    asker: &Asker,
    call: CallId,
    mut check: Check,
) -> Result<Passed, Fault> {
    let place = worker.shared.checks.place(call, asker.owner(), check.call.take())?;
    let expires_in = check.expires_in;
    let (mut attempt, cap) = admit(worker, view, asker, call, check).await?;
    let holds = attempt.holds().to_vec();
    // From here on a proxy may make the call, whatever we hear of it.
    attempt.was_sent = true;
    let expires_at = now().after(expires_in);
    if let Err(mut attempt) = place.open(Box::new(attempt), expires_in) {
        drop(attempt.settle(End::NotSent, None));
        return Err(Fault::new(ErrorCode::TooManyChecks, "this gateway is going down; ask another"));
    }
    Ok(Passed { expires_at, cap, holds })
}

/// Takes a call that is made whatever else is heard of it, and used what it says.
pub(super) async fn take(
    worker: &Arc<Worker>,
    view: &Arc<PolicyView>,
    asker: &Asker,
    call: CallId,
    (check, told): (Check, Told),
) -> Result<Vec<Hold>, Fault> {
    let (mut attempt, _) = admit(worker, view, asker, call, check).await?;
    let holds = attempt.holds().to_vec();
    written(settle_as(&mut attempt, told)).await?;
    Ok(holds)
}

/// Settles a check.
pub(super) async fn settle(worker: &Worker, asker: &Asker, settlement: Settlement) -> Result<CallId, Fault> {
    match worker.shared.checks.settle(&asker.owner(), &settlement)? {
        Some((call, Found::Open(mut attempt))) => {
            written(settle_as(&mut attempt, settlement.told)).await?;
            Ok(call)
        }
        // It waits in the journal's buffer, where what was said first may be waiting as well.
        Some((_, Found::Again)) if worker.emitter.failing() => Err(unwritten()),
        Some((call, Found::Again)) => Ok(call),
        None => settle_late(worker, asker, settlement),
    }
}

/// Answers a settlement of what is not open here: by what the journal of this gateway's earlier processes says of it, as far as it
/// still has that.
fn settle_late(worker: &Worker, asker: &Asker, settlement: Settlement) -> Result<CallId, Fault> {
    let shared = &worker.shared;
    let call = if let Name::Id(call) = settlement.name { Some(call) } else { None };
    let past = call.and_then(|call| Some((call, shared.earlier.of(call)?)));
    let Some((call, past)) = past.filter(|(_, past)| asker.may_hear_of(&past.tenant)) else {
        let (gateway, since) = (&shared.gateway, shared.since);
        let what = format!(
            "it was refused, or it ended at its deadline and what it held stays held, or another gateway than this one, `{gateway}`, \
             answered it. This one has run since {since}: of checks before that it knows what its journal still has, by `call_id`. {AMEND}"
        );
        return Err(Fault::new(ErrorCode::CheckNotOpen, what));
    };
    if past.is_said_by(settlement.told) {
        return Ok(call);
    }
    Err(if past.is_unknown {
        let what = format!(
            "nobody had settled it when it ended: at its deadline, or with its process, after which this gateway started again at {}. \
             It is recorded with its usage unknown, and what it held stays held. {AMEND}",
            shared.since,
        );
        Fault::new(ErrorCode::CheckNotOpen, what)
    } else {
        let what = "it was settled before this gateway started again, by other words, which stand";
        Fault::new(ErrorCode::CheckConflict, what)
    })
}

/// What remains to be done for a call that was made.
const AMEND: &str = "If the call was made, state what it used as an amendment: `tollgate.usage.amended.v1` to `POST /v1/events`, by its \
     `call_id`, with an empty `was`, and its `tenant` if you speak for several";

fn settle_as(attempt: &mut Attempt, told: Told) -> Option<Ticket> {
    attempt.status = told.status;
    let (end, measured) = told.ended();
    attempt.settle(end, measured)
}

/// Waits until a settlement is in the journal. If it cannot be written now it stays to be written; only the answer is in doubt.
async fn written(ticket: Option<Ticket>) -> Result<(), Fault> {
    let Some(ticket) = ticket else { return Ok(()) };
    ticket.await.map_err(|_| unwritten())
}

fn unwritten() -> Fault {
    Fault::new(ErrorCode::JournalFull, "it may not have been written down; send the same again")
}

/// What is asked of a model.
struct Aim {
    model: String,
    stream: bool,
    bound: Bound,
}

/// Looks at the body that will be sent, off this thread if it is long.
async fn look(
    view: &Arc<PolicyView>,
    (api, at): (Api, Time),
    (provider, model, stream): (&str, String, bool),
    (body, heeds_caps): (Bytes, bool),
) -> Result<Aim, Fault> {
    let (view, provider, is_long) = (Arc::clone(view), provider.to_owned(), body.len() > OFFLOAD);
    let work = move || {
        // Where the path names the model, and says whether the answer streams, the check has to.
        let in_path = matches!(route::dialect(api), Dialect::Gemini | Dialect::Bedrock);
        let given = Given {
            model: Some(model.as_str()).filter(|model| in_path && !model.is_empty()),
            streams: in_path.then_some(stream),
            content_type: "application/json",
        };
        let (parsed, tree) = read(api, &body, &given).map_err(|problem| Fault::new(problem.code, problem.message))?;
        if !model.is_empty() && model != parsed.model {
            return Err(fault(wrong("`model` and that of the `request` differ")));
        }
        let Parsed { model, stream, .. } = parsed;
        let facts = ModelFacts { heeds_caps, ..view.book.facts(&provider, api.vendor(), &model) };
        let bound =
            bound_of(api, (&tree, &Beside::default()), &view.book, (&provider, &model, at), &facts, Encoding::None)?;
        Ok(Aim { model, stream, bound })
    };
    if is_long { off_thread(work).await } else { work() }
}

/// Takes every hold of a call and writes down that it may be made.
async fn admit(
    worker: &Arc<Worker>,
    view: &Arc<PolicyView>,
    asker: &Asker,
    call: CallId,
    check: Check,
) -> Result<(Attempt, Option<Cap>), Fault> {
    let accepted_at = now();
    let Check { who, provider, model, api, stream, tags, most, .. } = check;
    let caller = asker.speaks_for(who, tags, view, accepted_at)?;
    // Where a provider is that is not configured here is not known.
    let heeds_caps = worker.upstreams.get(&provider).is_some_and(|upstream| upstream.provider.heeds_caps());
    let (body, aim) = match most {
        Most::Stated(most) => {
            let key = Key { provider: &provider, vendor: api.vendor(), model: &model, tier: "", at: accepted_at };
            let bound = bound::stated(api, &most, &view.book, &key);
            (None, Aim { model, stream, bound })
        }
        Most::Request(body) => {
            let asked = (body.clone(), heeds_caps);
            let aim = look(view, (api, accepted_at), (&provider, model, stream), asked).await?;
            (Some(body), aim)
        }
    };
    caller.may_use(Some(&aim.model))?;
    let Caller { subject, lane, .. } = caller;
    let facts = ModelFacts { heeds_caps, ..view.book.facts(&provider, api.vendor(), &aim.model) };
    let candidate = Candidate {
        call,
        accepted_at,
        view,
        subject: &subject,
        lane,
        api,
        provider: &provider,
        model: &aim.model,
        model_requested: &aim.model,
        stream: aim.stream,
        facts,
        bound: &aim.bound,
        // The request that the other proxy shows has no headers.
        beside: Beside::default(),
        body: body.as_ref(),
        // Only who sees the output can stop it.
        may_slice: false,
        session_id: String::new(),
    };
    let (mut attempt, cap) =
        candidate.admit(worker, None, &mut Vec::new()).await?.map_err(|refused| refused.tell(worker))?;
    if attempt.admitted().await.is_err() {
        drop(attempt.settle(End::NotSent, None));
        return Err(Fault::new(
            ErrorCode::JournalFull,
            "the call cannot be written down, so it may not be made; try again",
        ));
    }
    Ok((attempt, cap))
}
