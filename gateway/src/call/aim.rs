//! What a call is aimed at: the targets that take it, in order, and what it can use at most at the one whose turn it is.
//!
//! A body is read once for the first target, and again for a further one: keeping every call's tree until it is answered would take
//! several times the memory of its body. Nothing is held, recorded or sent here.

use std::{borrow::Cow, sync::Arc, time::Instant};

use bytes::Bytes;
use http::header;
use schemas::{
    bound::{Beside, Bound},
    config::{MOST_TARGETS, ModelRoute, Strategy, Target, Timeouts, UsageInStream},
    error_code::ErrorCode,
    event::Api,
    json::Tree,
    limit,
    price::{self, CapField, Encoding, Key, ModelFacts},
    tokens::{Part, Vector},
};

use super::{Arrival, OFFLOAD};
use crate::{
    admit::{bound_of, off_thread, tree_of},
    beside,
    carry::{self, Back, Going},
    error::Fault,
    health::Standing,
    request::{Cap, CapMember, Edits, Given, Parsed, read},
    route::{self, Asker, Chance, Order, short},
    terms::may_use,
    translate::leave,
    upstream::{Lack, Upstream},
    way::Way,
    worker::Worker,
};

/// What costs are compared by: a quarter of the body's bytes as input, and as much output as the call allows, up to this.
const OUTPUT: u64 = 1_024;

/// What a call asks for, where it goes, and the most it can use there.
pub(super) struct Aim {
    /// What the client asked for.
    pub(super) asked: Arc<Parsed>,
    /// What the provider is asked: the same, unless it speaks another dialect.
    pub(super) parsed: Arc<Parsed>,
    /// Where that goes and how its answer comes back, if the provider speaks another dialect.
    pub(super) carried: Option<Box<(Way, Back)>>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) model: String,
    pub(super) facts: ModelFacts,
    pub(super) bound: Bound,
    /// What is asked beside the body.
    pub(super) beside: Beside,
    /// What was left away of a request that goes to a provider of its own dialect.
    pub(super) left: Vec<String>,
    pub(super) timeouts: Timeouts,
    /// Whether the target says itself how long it may take for its first byte.
    pub(super) waits: bool,
    /// Where what happens there is noted, if it is one of several targets.
    pub(super) standing: Option<Arc<Standing>>,
    /// The model that it is made with instead of the one that was asked for.
    instead: Option<String>,
    /// The cap that its own was lowered to, since that model cannot answer more.
    pub(super) lowered: Option<u64>,
}

impl Aim {
    /// Whether it is the call that was asked for, and not one that is made instead.
    pub(super) const fn is_as_asked(&self) -> bool {
        self.instead.is_none()
    }

    /// The name of the model that it is made with.
    pub(super) fn name(&self) -> &str {
        self.instead.as_deref().unwrap_or(&self.asked.model)
    }

    /// Whether a stream of it comes frame by frame: Gemini's is one array unless the query asks for events.
    pub(super) fn is_framed(&self, arrival: &Arrival) -> bool {
        let asks = |query: &str| query.split('&').any(|part| part == "alt=sse");
        self.carried.is_some()
            || self.way(arrival).api != Api::GeminiGenerateContent
            || arrival.head.uri.query().is_some_and(asks)
    }

    /// The way of what the provider is asked.
    pub(super) fn way<'a>(&'a self, arrival: &'a Arrival) -> &'a Way {
        self.carried.as_ref().map_or(&arrival.way, |carried| &carried.0)
    }
}

/// Where a target of a model is to be found: the place of the route among the models, and its own in the route.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    Target(usize, usize),
    /// The one that judges what the others answer.
    Judge(usize),
}

/// Looks at a body, on this thread if it is short, as if `instead` had been asked for, if that is given.
pub(super) async fn aim(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    body: Bytes,
    instead: Option<String>,
) -> Result<(Aim, Order), Fault> {
    let size = body.len();
    by_size(size, worker, arrival, move |worker, arrival| look(worker, arrival, &body, instead)).await
}

/// Looks at a body of this size: on this thread if it is short.
async fn by_size<T: Send + 'static>(
    size: usize,
    worker: &Arc<Worker>,
    arrival: &Arrival,
    look: impl FnOnce(&Worker, &Arrival) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    if size <= OFFLOAD {
        return look(worker, arrival);
    }
    let (worker, arrival) = (Arc::clone(worker), arrival.clone());
    off_thread(move || look(&worker, &arrival)).await
}

/// The same call at another of its targets.
pub(super) async fn further(worker: &Arc<Worker>, arrival: &Arrival, aim: &Aim, spot: Spot) -> Result<Aim, Fault> {
    let (asked, instead) = (Arc::clone(&aim.asked), aim.instead.clone());
    let again = move |worker: &Worker, arrival: &Arrival| {
        let tree = tree_of(asked.document())?;
        fitting(worker, arrival, (&asked, &tree), instead, spot)
    };
    by_size(aim.asked.body().len(), worker, arrival, again).await
}

/// The same with another body that is asked of whichever target comes next.
pub(super) async fn asking(worker: &Arc<Worker>, arrival: &Arrival, aim: Aim, body: Bytes) -> Result<Aim, Fault> {
    let size = body.len();
    let read = move |_: &Worker, arrival: &Arrival| Ok(parse(&arrival.way, &body, content_type(arrival))?.0);
    let asked = by_size(size, worker, arrival, read).await?;
    Ok(Aim { asked: Arc::new(asked), ..aim })
}

/// Whether every target that takes a call speaks its dialect.
pub(super) fn all_speak(worker: &Worker, arrival: &Arrival, order: &Order) -> bool {
    let route = arrival.view.policy.models.get(order.route);
    let mut targets = (0..order.len()).filter_map(|turn| route?.targets.get(order.turn(turn)?));
    targets.all(|target| worker.upstreams.get(&target.provider).is_some_and(|upstream| speaks(&arrival.way, upstream)))
}

/// Another body at a target of the model of a call: what its members and its judge are asked.
pub(super) async fn part(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    like: &Aim,
    body: Bytes,
    spot: Spot,
) -> Result<Aim, Fault> {
    let (size, instead) = (body.len(), like.instead.clone());
    let look = move |worker: &Worker, arrival: &Arrival| {
        let (parsed, tree) = parse(&arrival.way, &body, content_type(arrival))?;
        fitting(worker, arrival, (&Arc::new(parsed), &tree), instead, spot)
    };
    by_size(size, worker, arrival, look).await
}

/// Reads a body once for all that is asked of it: what is acted on, where it goes, and with that its bound.
fn look(worker: &Worker, arrival: &Arrival, body: &Bytes, instead: Option<String>) -> Result<(Aim, Order), Fault> {
    let (parsed, tree) = parse(&arrival.way, body, content_type(arrival))?;
    let mut order = order(worker, arrival, &parsed, instead.as_deref().unwrap_or(&parsed.model))?;
    let parsed = Arc::new(parsed);
    // What bounds a form is not the tree of its body, of which there is none.
    let tree = if parsed.is_form() { tree_of(parsed.document())? } else { tree };
    let mut first = None;
    loop {
        let spot = Spot::Target(order.route, order.turn(0).unwrap_or_default());
        match fitting(worker, arrival, (&parsed, &tree), instead.clone(), spot) {
            Ok(aim) => return Ok((aim, order)),
            // Another one may have a place for it, whichever is healthy, cheap or quick today.
            Err(fault) if fault.code == ErrorCode::NotCarried && order.len() > 1 => {
                first.get_or_insert(fault);
                order = order.behind();
            }
            Err(fault) => return Err(first.unwrap_or(fault)),
        }
    }
}

fn content_type(arrival: &Arrival) -> &str {
    arrival.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A call at one target. The cap of a call that is made with another model than was asked for was meant for that one: what this one
/// cannot answer is neither held nor asked of its provider.
fn fitting(
    worker: &Worker,
    arrival: &Arrival,
    (asked, tree): (&Arc<Parsed>, &Tree<'_>),
    instead: Option<String>,
    spot: Spot,
) -> Result<Aim, Fault> {
    let aim = there(worker, arrival, (asked, tree), instead, spot)?;
    let most = aim.facts.max_output_tokens.filter(|_| aim.instead.is_some());
    let Some(tokens) = most.filter(|most| asked.output_cap().is_some_and(|cap| cap > *most)) else { return Ok(aim) };
    let cap = Some(Cap { member: CapMember::for_model(asked.api(), aim.facts.cap_field), tokens });
    let lowered = asked.edit(&Edits { model: None, ask_usage: false, cap });
    let (parsed, tree) = parse(&arrival.way, &lowered, content_type(arrival))?;
    let aim = there(worker, arrival, (&Arc::new(parsed), &tree), aim.instead, spot)?;
    Ok(Aim { lowered: Some(tokens), ..aim })
}

fn parse<'b>(way: &Way, body: &'b Bytes, content_type: &str) -> Result<(Parsed, Tree<'b>), Fault> {
    let given = Given { model: way.model.as_deref(), streams: way.streams, content_type };
    read(way.api, body, &given).map_err(|problem| Fault::new(problem.code, problem.message))
}

/// The order of the targets of a model for a call; there is at least one.
fn order(worker: &Worker, arrival: &Arrival, parsed: &Parsed, name: &str) -> Result<Order, Fault> {
    match arrival.way.api {
        // It is where it was made, by whoever was let in then.
        Api::OpenAiResponsesRetrieve => {}
        api if api.is_passed_on() => may_use(arrival.terms.as_deref(), None)?,
        _ => may_use(arrival.terms.as_deref(), Some(name))?,
    }
    // What names no model goes where `target` says, and there is one such place.
    if arrival.way.api.is_passed_on() || arrival.way.api == Api::OpenAiResponsesRetrieve {
        return Ok(Order::one(usize::MAX));
    }
    let models = &arrival.view.policy.models;
    let Some((place, route)) = ModelRoute::place(models, name).and_then(|place| Some((place, models.get(place)?)))
    else {
        let message = format!("`{}` is not among the models of this gateway", short(name));
        return Err(Fault::new(ErrorCode::UnknownModel, message));
    };
    // What cannot be asked is told when it is aimed at.
    if let [only] = route.targets.as_slice()
        && only.when.is_empty()
    {
        return Ok(Order::one(place));
    }
    let serves = |target: &Target| destination(worker, &arrival.way, target, name).is_ok();
    let at = Instant::now();
    let mut chances = [Chance::default(); MOST_TARGETS];
    for ((spot, target), chance) in route.targets.iter().enumerate().zip(&mut chances) {
        let model = target.model.as_deref().unwrap_or(name);
        chance.serves = serves(target) && takes(worker, arrival, target, name);
        let standing = arrival.view.standings.get(place).and_then(|standings| standings.get(spot));
        chance.seen = standing.map(|standing| standing.seen(parsed.stream, at)).unwrap_or_default();
        if matches!(route.strategy, Strategy::LeastCost) {
            chance.cost = worker.upstreams.get(&target.provider).and_then(|to| cost(arrival, parsed, to, model));
        }
    }
    let order = route::order(place, route, &asker(arrival), &chances);
    match route.targets.first() {
        _ if order.len() > 0 => Ok(order),
        Some(first) if !route.targets.iter().any(serves) => {
            destination(worker, &arrival.way, first, name).map(|_| Order::one(place))
        }
        _ => {
            let message = format!("`{}` is served here, but not to this call", short(name));
            Err(Fault::new(ErrorCode::NoTarget, message))
        }
    }
}

/// Whether all that a target asks of a call for a model is so, whatever else speaks against it.
pub(super) fn takes(worker: &Worker, arrival: &Arrival, target: &Target, name: &str) -> bool {
    let model = target.model.as_deref().unwrap_or(name);
    let left = |limit: &str| {
        let of = limit::Target { subject: &arrival.subject, provider: &target.provider, model };
        worker.shared.limits.left(limit, of, arrival.accepted_at)
    };
    route::takes(target, &asker(arrival), left)
}

fn asker(arrival: &Arrival) -> Asker<'_> {
    Asker { call: arrival.call, subject: &arrival.subject, headers: &arrival.head.headers }
}

/// What a call of about this size costs, to compare targets by.
fn cost(arrival: &Arrival, parsed: &Parsed, to: &Upstream, model: &str) -> Option<i128> {
    // The price is that of the API by which it is asked there, as the charge will be.
    let (api, provider) = (asked_by(&arrival.way, to), to.provider.name.as_str());
    let key = Key { provider, vendor: api.vendor(), model, tier: "", at: arrival.accepted_at };
    let vector = Vector {
        uncached_input: parsed.body().len() as u64 / 4 + 1,
        output: parsed.output_cap().unwrap_or(OUTPUT).min(OUTPUT),
        ..Vector::default()
    };
    let charges = price::rate(Some(&arrival.view.book), &key, "", &[Part { model: None, vector }]);
    price::cost(&charges).ok().map(|cost| cost.0)
}

/// A call at one target.
fn there(
    worker: &Worker,
    arrival: &Arrival,
    (parsed, tree): (&Arc<Parsed>, &Tree<'_>),
    instead: Option<String>,
    spot: Spot,
) -> Result<Aim, Fault> {
    let view = &arrival.view;
    let name = instead.as_deref().unwrap_or(&parsed.model);
    let target = target_of(worker, arrival, name, spot)?;
    let upstream = Arc::clone(destination(worker, &arrival.way, &target, name)?);
    let model = target.model.as_deref().unwrap_or(name).to_owned();
    let (asked, mut parsed, mut carried) = (Arc::clone(parsed), Arc::clone(parsed), None);
    let at = (upstream.provider.name.as_str(), model.as_str(), arrival.accepted_at);
    let facts = |api: Api| ModelFacts {
        heeds_caps: upstream.provider.heeds_caps(),
        ..view.book.facts(&upstream.provider.name, api.vendor(), &model)
    };
    let (mut beside, mut left) = (Beside::default(), Vec::new());
    let (facts, bound) = if speaks(&arrival.way, &upstream) {
        let (api, facts) = (arrival.way.api, facts(arrival.way.api));
        beside = beside::of(api, &arrival.head.headers);
        let bound = |tree: &Tree<'_>| bound_of(api, (tree, &beside), &view.book, at, &facts, Encoding::None);
        match leave(api, upstream.provider.flavor(), asked.body(), tree.root()) {
            None => (facts, bound(tree)?),
            Some(without) => {
                let body = Bytes::from(without.body);
                let (read, tree) = parse(&arrival.way, &body, content_type(arrival))?;
                let bound = bound(&tree)?;
                (parsed, left) = (Arc::new(read), without.dropped);
                (facts, bound)
            }
        }
    } else {
        let (way, sent, back) = carry(arrival, &asked, &upstream, &model, facts)?;
        let (read, tree) = parse(&way, &sent, "application/json")?;
        let facts = facts(way.api);
        let bound = bound_of(way.api, (&tree, &beside), &view.book, at, &facts, Encoding::None)?;
        (parsed, carried) = (Arc::new(read), Some(Box::new((way, back))));
        (facts, bound)
    };
    let (timeouts, waits) = (target.timeouts.over(&upstream.provider.timeouts), target.timeouts.first_byte.is_some());
    let standing = match spot {
        Spot::Target(place, spot) => view.standings.get(place).and_then(|standings| standings.get(spot)),
        Spot::Judge(_) => None,
    };
    let standing = standing.map(Arc::clone);
    Ok(Aim {
        asked,
        parsed,
        carried,
        upstream,
        model,
        facts,
        bound,
        beside,
        left,
        timeouts,
        waits,
        standing,
        instead,
        lowered: None,
    })
}

/// The request as it goes to a provider of another dialect.
fn carry(
    arrival: &Arrival,
    asked: &Parsed,
    upstream: &Upstream,
    model: &str,
    facts: impl Fn(Api) -> ModelFacts,
) -> Result<(Way, Bytes, Back), Fault> {
    let provider = &upstream.provider;
    let api = carry::api(provider.dialect);
    let known = facts(api);
    let going = Going {
        dialect: provider.dialect,
        model,
        max_output: known.max_output_tokens,
        old_cap: known.cap_field == CapField::MaxTokens,
        flavor: provider.flavor(),
        ask_usage: provider.usage_in_stream == UsageInStream::Ask,
        call: arrival.call,
        at: arrival.accepted_at,
        headers: &arrival.head.headers,
    };
    let carried = carry::over(asked, &going).ok_or_else(|| other_dialect(upstream, model))??;
    Ok((carried.way, carried.body, carried.back))
}

/// The target that a call goes to: of its model, or the one that it names, or the one that has what it asks for.
fn target_of<'v>(worker: &Worker, arrival: &'v Arrival, name: &str, spot: Spot) -> Result<Cow<'v, Target>, Fault> {
    let (way, models) = (&arrival.way, &arrival.view.policy.models);
    match way.api {
        api if api.is_passed_on() => Ok(Cow::Owned(Target::new(way.provider.clone().unwrap_or_default(), None))),
        // A response is where it was made; it names no model.
        Api::OpenAiResponsesRetrieve => {
            let serves = |provider: &str| {
                worker
                    .upstreams
                    .get(provider)
                    .is_some_and(|upstream| upstream.serves(way.dialect()) && upstream.responds())
            };
            let maker = worker.shared.makers.of(&way.path).filter(|maker| serves(maker));
            let provider = maker.map_or_else(|| route::any(models, serves).map(str::to_owned), Ok)?;
            Ok(Cow::Owned(Target::new(provider, Some(String::new()))))
        }
        _ => match spot {
            Spot::Target(place, spot) => models.get(place).and_then(|route| route.targets.get(spot)),
            Spot::Judge(place) => models.get(place).and_then(|route| Some(&route.judge.as_ref()?.target)),
        }
        .map(Cow::Borrowed)
        .ok_or_else(|| Fault::new(ErrorCode::UnknownModel, format!("`{}` goes nowhere", short(name)))),
    }
}

/// The provider of a target, or why it cannot be asked.
fn destination<'w>(worker: &'w Worker, way: &Way, target: &Target, name: &str) -> Result<&'w Arc<Upstream>, Fault> {
    let Some(upstream) = worker.upstreams.get(&target.provider) else {
        let message = format!("this gateway has no provider `{}`", short(&target.provider));
        let code = if way.api.is_passed_on() { ErrorCode::NoPassthrough } else { ErrorCode::ProviderUnreachable };
        return Err(Fault::new(code, message).never());
    };
    if way.api.is_passed_on() && !upstream.provider.more.passthrough {
        let message =
            format!("say `passthrough: true` at provider `{}` in this gateway's configuration", target.provider);
        return Err(Fault::new(ErrorCode::NoPassthrough, message));
    }
    if !speaks(way, upstream) && !carry::can(way.api, upstream.provider.dialect) {
        return Err(other_dialect(upstream, name));
    }
    match upstream.lack() {
        None => Ok(upstream),
        Some(Lack::NotConfigured) => {
            let message = format!("set `api_key` of provider `{}` in this gateway's configuration", target.provider);
            Err(Fault::new(ErrorCode::ProviderHasNoKey, message).never())
        }
        Some(Lack::NotThere(why)) => {
            Err(Fault::new(ErrorCode::CredentialNotThere, format!("provider `{}`: {why}", target.provider)))
        }
    }
}

fn other_dialect(upstream: &Upstream, name: &str) -> Fault {
    let (name, provider) = (short(name), &upstream.provider);
    let message = if upstream.responds() {
        format!("`{name}` is served in the dialect of {} only", provider.dialect.name())
    } else {
        format!("`{name}` is served by chats only: provider `{}` has no responses", provider.name)
    };
    Fault::new(ErrorCode::UnknownModel, message)
}

/// The API by which a provider is asked.
fn asked_by(way: &Way, upstream: &Upstream) -> Api {
    if speaks(way, upstream) { way.api } else { carry::api(upstream.provider.dialect) }
}

/// Whether a provider takes calls of an API as they come.
fn speaks(way: &Way, upstream: &Upstream) -> bool {
    way.api.is_passed_on() || upstream.speaks(way.dialect()) && (!way.is_of_responses() || upstream.responds())
}
