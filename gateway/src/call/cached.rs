//! What the cache of a model has to do with a call: whether it is given an answer that is kept, and whether its own answer is.
//!
//! Looked for only once the call is known to be one that could be made: its key, its model and its body are good and a target takes it.
//! An answer is given again only if it was made by one of the targets that this call may go to now. No provider is asked then, nothing is
//! held and no limit counts it; but it is a call, so its record is in the journal before the client has the answer.
//! Calls that are the same and come together wait for the first of them. A model without a cache costs nothing here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use schemas::{
    config::ModelRoute,
    error_code::ErrorCode,
    event::{self, Api, CallEnd, Outcome, Settled},
    json::{Kind, Tree},
    time::{Time, now},
    tokens::Usage,
};

use super::{Aim, Arrival, OFFLOAD, tries::unwritten};
use crate::{
    admit::off_thread,
    attempt::Flight,
    authenticate::without_key,
    cache::{
        Kept, Key, Keying,
        copy::{self, Note, Wanted},
        lead::Part,
    },
    error::{Fault, stamp},
    metrics,
    route::Order,
    settlement,
    upstream::changes_answers,
    worker::Worker,
};

/// The header that says whether the answer was kept.
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");

/// What came of looking for an answer that is kept.
#[derive(Clone)]
pub(super) enum Looked {
    /// The model has no cache.
    Not,
    /// It has one, and the call has nothing to do with it.
    Passed,
    /// It had none; the call's own is to be kept.
    Missed(Wanted),
}

/// What a client says of caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish {
    no_store: bool,
    no_cache: bool,
    only_if_cached: bool,
    max_age: Option<Duration>,
}

/// Looks for an answer to the same call; the call is over if there is one.
pub(super) async fn look(
    worker: &Arc<Worker>,
    arrival: &mut Arrival,
    aim: &Aim,
    order: &Order,
) -> Result<Option<Response<Body>>, Fault> {
    let caching = arrival.view.policy.models.get(order.route).and_then(|route| route.cache);
    let Some(caching) = caching else { return Ok(None) };
    let view = Arc::clone(&arrival.view);
    let Some(route) = view.policy.models.get(order.route) else { return Ok(None) };
    let wish = Wish::of(&arrival.head.headers);
    let key = match wish.no_store || !is_kept(arrival.way.api) {
        true => None,
        false => key(worker, arrival, aim, (route, order)).await?,
    };
    let find = || {
        let key = key.filter(|_| !wish.no_cache)?;
        let (kept, age) = worker.shared.cache.get(&key, caching.ttl, Instant::now())?;
        let is_good = wish.takes(age) && goes_there(&kept, &aim.asked.model, (route, order));
        is_good.then_some((kept, age))
    };
    let mut again = find();
    let mut lead = None;
    // Who takes nothing that is kept, however new, waits for none.
    let may_wait = !wish.no_cache && !wish.only_if_cached && wish.takes(Duration::ZERO);
    if let Some(key) = key.filter(|_| again.is_none() && may_wait) {
        match worker.shared.cache.lead(key) {
            Part::Leads(leads) => lead = Some(Arc::new(leads)),
            // What another makes meanwhile is given; if there is nothing then, the call goes on by itself.
            Part::Waits(gone) => {
                worker.shared.cache.wait(gone).await;
                again = find();
            }
        }
    }
    if let Some((kept, age)) = again {
        return give(worker, arrival, aim, (&kept, age), &route.name).await.map(Some);
    }
    if wish.only_if_cached {
        let message = "send it without `cache-control: only-if-cached` to have a provider answer it";
        return Err(Fault::new(ErrorCode::NotCached, message).never());
    }
    arrival.cache = key.map_or(Looked::Passed, |key| {
        metrics::cache_miss(&route.name);
        Looked::Missed(Wanted { shared: Arc::clone(&worker.shared), key, most: caching.max_answer, _lead: lead })
    });
    Ok(None)
}

impl Looked {
    /// Says it to the client.
    pub(super) fn say(&self, headers: &mut HeaderMap) {
        let said = match self {
            Self::Not => return,
            Self::Passed => "bypass",
            Self::Missed(_) => "miss",
        };
        headers.insert(CACHE, HeaderValue::from_static(said));
    }

    /// Where an attempt notes how the answer was made, if that is to be kept. What is made instead of what was asked for is not.
    pub(super) fn note(&self, aim: &Aim) -> Option<Note> {
        (matches!(self, Self::Missed(_)) && aim.is_as_asked()).then(Note::default)
    }

    /// The answer, of which a copy is kept if there is a note.
    pub(super) fn keep(&self, response: Response<Body>, note: Option<Note>) -> Response<Body> {
        match (self, note) {
            (Self::Missed(wanted), Some(note)) => copy::keep(wanted, response, note),
            _ => response,
        }
    }
}

impl Wish {
    fn of(headers: &HeaderMap) -> Self {
        let mut wish = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
            for said in value.split(',') {
                let (name, value) = said.trim().split_once('=').unwrap_or((said.trim(), ""));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-store" => wish.no_store = true,
                    "no-cache" => wish.no_cache = true,
                    "only-if-cached" => wish.only_if_cached = true,
                    // What is no number asks for what is new.
                    "max-age" => {
                        wish.max_age = Some(Duration::from_secs(value.trim().trim_matches('"').parse().unwrap_or(0)))
                    }
                    _ => {}
                }
            }
        }
        wish
    }

    /// Whether an answer of this age will do.
    fn takes(&self, age: Duration) -> bool {
        self.max_age.is_none_or(|most| age < most)
    }
}

/// Whether answers of an API may be given again: those that are made of the request and leave nothing behind. What is free costs nothing
/// the second time either, and what may be anything may also do anything.
const fn is_kept(api: Api) -> bool {
    matches!(
        api,
        Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiResponses
            | Api::OpenAiEmbeddings
            | Api::OpenAiModerations
            | Api::OpenAiRerank
            | Api::AnthropicMessages
            | Api::GeminiGenerateContent
            | Api::GeminiEmbeddings
            | Api::BedrockConverse
            | Api::BedrockConverseStream
            | Api::CohereChat
            | Api::CohereEmbed
            | Api::CohereRerank
    )
}

/// Whether the request leaves something at the provider beside its answer: a response or completion that is stored, where responses are
/// unless they say otherwise, a conversation that goes on, work in the background. Each call has to leave its own.
fn leaves_something(api: Api, body: &Bytes) -> bool {
    let mut stored = match api {
        Api::OpenAiChat => false,
        Api::OpenAiResponses => true,
        _ => return false,
    };
    let Ok(tree) = Tree::read(body) else { return true };
    let Some(members) = tree.root().members() else { return true };
    for (name, value) in members {
        if !["store", "background", "conversation"].iter().any(|known| name == **known) || value.is_null() {
            continue;
        }
        if !matches!(value.kind(), Kind::Bool(false)) {
            return true;
        }
        stored &= name != *"store";
    }
    stored
}

/// The key of a call, whose body is hashed on this thread if it is short; nothing if its answer cannot be given again.
async fn key(
    worker: &Worker,
    arrival: &Arrival,
    aim: &Aim,
    (route, order): (&ModelRoute, &Order),
) -> Result<Option<Key>, Fault> {
    let tenant = arrival.subject.tenant.as_str();
    let mut keying = Keying::of(tenant, arrival.view.ended.get(tenant).copied().unwrap_or_default());
    let uri = &arrival.head.uri;
    keying.add(uri.path().as_bytes());
    keying.add(uri.query().and_then(without_key).as_deref().unwrap_or_default().as_bytes());
    // Whichever target answers may have been sent what its provider's configuration forwards.
    let forwards = |name: &str| {
        let providers = (0..order.len()).filter_map(|turn| route.targets.get(order.turn(turn)?));
        let mut upstreams = providers.filter_map(|target| worker.upstreams.get(&target.provider));
        upstreams.any(|upstream| changes_answers(name, &upstream.provider.forward))
    };
    let headers = arrival.head.headers.iter().filter(|(name, _)| forwards(name.as_str()));
    let mut headers: Vec<(&[u8], &[u8])> =
        headers.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    // Of one name in the order in which they came.
    headers.sort_by_key(|(name, _)| *name);
    keying.add(&headers.len().to_le_bytes());
    for (name, value) in headers {
        keying.add(name);
        keying.add(value);
    }
    let (api, body) = (arrival.way.api, aim.asked.body().clone());
    let is_short = body.len() <= OFFLOAD;
    let finish = move || {
        (!leaves_something(api, &body)).then(|| {
            keying.add(&body);
            keying.key()
        })
    };
    if is_short { Ok(finish()) } else { off_thread(move || Ok(finish())).await }
}

/// Whether an answer was made by a target that takes this call.
fn goes_there(kept: &Kept, model: &str, (route, order): (&ModelRoute, &Order)) -> bool {
    let mut targets = (0..order.len()).filter_map(|turn| route.targets.get(order.turn(turn)?));
    targets.any(|target| kept.made.is_by(&target.provider, target.model.as_deref().unwrap_or(model)))
}

/// Gives an answer that is kept, once that is written down.
async fn give(
    worker: &Arc<Worker>,
    arrival: &Arrival,
    aim: &Aim,
    (kept, age): (&Kept, Duration),
    name: &str,
) -> Result<Response<Body>, Fault> {
    worker.counts()?;
    if worker.is_full() {
        return Err(unwritten());
    }
    let flight = Flight::open(worker, arrival.lane);
    let settled = settled(worker, arrival, aim, kept, flight.opened_at);
    metrics::cache_hit(name, settled.avoided.as_ref().and_then(|avoided| avoided.cost));
    flight.end(worker, arrival.lane, settled).await.map_err(|_| unwritten())?;
    let mut response = Response::new(Body::from(kept.body.clone()));
    let headers = response.headers_mut();
    headers.clone_from(&kept.headers);
    headers.insert(CACHE, HeaderValue::from_static("hit"));
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    stamp(headers, arrival.call);
    Ok(response)
}

/// The record of the call: it used nothing, and what it saved is rated by the book in force.
fn settled(worker: &Worker, arrival: &Arrival, aim: &Aim, kept: &Kept, admitted_at: Time) -> Settled {
    let made = &kept.made;
    let attempt = made.attempt(event::Attempt {
        call: arrival.call,
        attempt: 1,
        admitted_at,
        subject: Arc::clone(&arrival.subject),
        api: arrival.way.api,
        provider: String::new(),
        model: String::new(),
        model_requested: aim.asked.model.clone(),
        stream: aim.asked.stream,
        book: arrival.view.policy.book,
        gateway: Arc::clone(&worker.shared.gateway),
    });
    let used = Usage { parts: made.parts.clone(), ..Usage::none() };
    let said = (made.service_tier.as_str(), made.model_answered.as_str());
    let cost = settlement::rated(&arrival.view.book, &attempt, said, &used).whole().ok();
    let call = CallEnd { outcome: Outcome::Complete, ..CallEnd::begun(arrival.accepted_at, 0, arrival.session()) };
    let bare = Settled::bare(attempt, now(), Outcome::Complete, Usage::none());
    made.given(Settled { ttft_ms: Some(0), call: Some(call), ..bare }, cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_what_a_cache_may_do() {
        let check = |said: &[&'static str], wanted: Wish| {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(Wish::of(&headers), wanted, "{said:?}");
        };
        check(&[], Wish::default());
        check(&["private, other=1"], Wish::default());
        check(&["No-Store"], Wish { no_store: true, ..Wish::default() });
        check(&["no-cache", "only-if-cached"], Wish { no_cache: true, only_if_cached: true, ..Wish::default() });
        let aged = |seconds| Wish { max_age: Some(Duration::from_secs(seconds)), ..Wish::default() };
        check(&["max-age=60"], aged(60));
        check(&["x, max-age = \"60\""], aged(60));
        check(&["max-age=soon"], aged(0));
        let age = Duration::from_secs(60);
        assert_eq!(
            [aged(0), aged(60), aged(61), Wish::default()].map(|wish| wish.takes(age)),
            [false, false, true, true]
        );
    }

    #[test]
    fn what_leaves_something_behind_is_asked_each_time() {
        let check = |api: Api, body: &'static str, wanted: bool| {
            assert_eq!(leaves_something(api, &Bytes::from_static(body.as_bytes())), wanted, "{body}");
        };
        for (body, in_chat, in_responses) in [
            (r#"{"model":"m"}"#, false, true),
            (r#"{"store":null}"#, false, true),
            (r#"{"store":false}"#, false, false),
            (r#"{"store":true}"#, true, true),
            (r#"{"store":true,"store":false}"#, true, true),
            (r#"{"store":false,"background":true}"#, true, true),
            (r#"{"store":false,"background":false,"conversation":null}"#, false, false),
            (r#"{"store":false,"conversation":"conv_1"}"#, true, true),
            (r#"[]"#, true, true),
        ] {
            check(Api::OpenAiChat, body, in_chat);
            check(Api::OpenAiResponses, body, in_responses);
        }
        check(Api::AnthropicMessages, r#"{"store":true}"#, false);
    }
}
