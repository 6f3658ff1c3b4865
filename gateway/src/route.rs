//! Where a call goes: which dialect a path speaks, and in which order the targets of a model are tried.
//!
//! Pure. A target takes a call if it can serve its API and if all that its `when` says is so. Those that do are ordered by priority,
//! within one by the strategy, and where that does not tell two apart by lot, in which weights count. One whose circuit is open comes
//! after all others, whatever its priority. The lots are drawn from the id of the call, so that the same call meets the same order.
//! A model with one target costs none of this, and no order allocates.

use http::{HeaderMap, HeaderName};
use schemas::{
    config::{By, MOST_TARGETS, ModelRoute, Strategy, Target, When},
    error_code::ErrorCode,
    event::Api,
    id::CallId,
    subject::Subject,
};

use crate::{
    error::{Dialect, Fault},
    health::Seen,
};

/// The header in which a client names its session.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("x-tollgate-session-id");

/// What a choice depends on, beside the targets.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) call: CallId,
    pub(crate) subject: &'a Subject,
    pub(crate) headers: &'a HeaderMap,
}

/// What is known of a target for one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chance {
    /// Whether it can be asked this call at all.
    pub(crate) serves: bool,
    pub(crate) seen: Seen,
    /// What a call of this size costs there; nothing where that is not known, or not asked.
    pub(crate) cost: Option<i128>,
}

/// The targets that take a call, by their places in the route, the first one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The place of the route among the models.
    pub(crate) route: usize,
    places: [u8; MOST_TARGETS],
    len: usize,
}

impl Order {
    /// The one target of a route.
    pub(crate) const fn one(route: usize) -> Self {
        Self { route, places: [0; MOST_TARGETS], len: 1 }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The same without the first one.
    pub(crate) fn behind(mut self) -> Self {
        self.places.rotate_left(1);
        self.len = self.len.saturating_sub(1);
        self
    }

    /// The place of the one whose turn it is; after the last one the first is asked again.
    pub(crate) fn turn(&self, number: usize) -> Option<usize> {
        self.places.get(number.checked_rem(self.len)?).map(|place| usize::from(*place))
    }
}

/// The dialect of an API.
pub(crate) fn dialect(api: Api) -> Dialect {
    match api.vendor() {
        "anthropic" => Dialect::Anthropic,
        "google" => Dialect::Gemini,
        "bedrock" => Dialect::Bedrock,
        "cohere" => Dialect::Cohere,
        _ => Dialect::OpenAi,
    }
}

/// The dialect in which a path that has no API of its own is answered.
pub(crate) fn dialect_of_path(path: &str, headers: &HeaderMap) -> Dialect {
    let begins =
        |prefixes: &[&str]| prefixes.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}/")));
    let is_openai = path.ends_with("/v1/chat/completions") || path.ends_with("/v1/embeddings");
    let is_anthropic = begins(&["/anthropic", "/v1/messages", "/openai/v1/messages"]);
    match () {
        () if is_openai => Dialect::OpenAi,
        () if is_anthropic || headers.contains_key("anthropic-version") => Dialect::Anthropic,
        () if headers.contains_key("x-goog-api-key") => Dialect::Gemini,
        () if begins(&["/gemini", "/v1beta", "/v1beta1", "/v1alpha"]) => Dialect::Gemini,
        () if begins(&["/bedrock", "/model"]) => Dialect::Bedrock,
        () if begins(&["/cohere", "/v2"]) => Dialect::Cohere,
        () => Dialect::OpenAi,
    }
}

/// Whether all that a target asks of a call is so. `left` says how much of a limit is left, in percent.
pub(crate) fn takes(target: &Target, asker: &Asker<'_>, left: impl Fn(&str) -> Option<u8>) -> bool {
    let is =
        |wanted: &str, value: &str| wanted.strip_suffix('*').map_or(wanted == value, |start| value.starts_with(start));
    target.when.iter().all(|when| match when {
        When::Is(dimension, wanted) => {
            dimension.of_caller(asker.subject).is_some_and(|value| !value.is_empty() && is(wanted, value))
        }
        When::Header(name, wanted) => {
            asker.headers.get_all(name.as_str()).iter().any(|value| value.to_str().is_ok_and(|value| is(wanted, value)))
        }
        // Of a limit that the call does not fall under all is left.
        When::Left(limit, percent) => left(limit).is_none_or(|left| left >= *percent),
    })
}

/// The order in which the targets of a route are tried, of those that serve the call.
pub(crate) fn order(place: usize, route: &ModelRoute, asker: &Asker<'_>, chances: &[Chance]) -> Order {
    let lots = lots(&route.targets, asker.call);
    let key = match &route.strategy {
        Strategy::Sticky(by) => sticky_key(by, asker),
        _ => None,
    };
    let rank = |at: usize, target: &Target, chance: &Chance| match (&route.strategy, key) {
        (Strategy::Priority, _) => at as u64,
        (Strategy::Weighted, _) | (Strategy::Sticky(_), None) => 0,
        (Strategy::Sticky(_), Some(key)) => u64::MAX - affinity(key, target),
        // One that was never asked, or not for long, is tried.
        (Strategy::LeastLatency, _) => chance.seen.ttft_ms.unwrap_or(0),
        (Strategy::LeastCost, _) => chance.cost.map_or(u64::MAX, |cost| u64::try_from(cost).unwrap_or(u64::MAX - 1)),
        (Strategy::LeastBusy, _) => match target.weight {
            0 => u64::MAX,
            weight => u64::from(chance.seen.open) * 100 / u64::from(weight),
        },
    };
    let mut order = Order { route: place, ..Order::default() };
    let mut keys = [None; MOST_TARGETS];
    for (at, (target, chance)) in route.targets.iter().zip(chances).enumerate().take(MOST_TARGETS) {
        if chance.serves
            && let (Some(slot), Some(free), Ok(small)) =
                (keys.get_mut(at), order.places.get_mut(order.len), u8::try_from(at))
        {
            *slot = Some((chance.seen.cools_ms, target.priority, rank(at, target, chance), lots[at], at));
            *free = small;
            order.len += 1;
        }
    }
    if let Some(places) = order.places.get_mut(..order.len) {
        places.sort_unstable_by_key(|place| keys.get(usize::from(*place)).copied().flatten());
    }
    order
}

/// The turn of each target in a draw in which weights count: one without a weight comes after all that have one.
fn lots(targets: &[Target], call: CallId) -> [u8; MOST_TARGETS] {
    let mut lots = [u8::MAX; MOST_TARGETS];
    let mut dice = seed(call.as_bytes());
    let mut left: u64 = targets.iter().take(MOST_TARGETS).map(|target| u64::from(target.weight)).sum();
    for turn in 0..u8::try_from(targets.len().min(MOST_TARGETS)).unwrap_or(u8::MAX) {
        dice = mix(dice);
        let Some(mut drawn) = dice.checked_rem(left) else { break };
        for (lot, target) in lots.iter_mut().zip(targets).filter(|(lot, _)| **lot == u8::MAX) {
            let weight = u64::from(target.weight);
            if drawn < weight {
                (*lot, left) = (turn, left - weight);
                break;
            }
            drawn -= weight;
        }
    }
    lots
}

/// A number below `most` that the call and the number of its attempt have drawn.
pub(crate) fn drawn(call: CallId, attempt: u16, most: u64) -> u64 {
    mix(seed(call.as_bytes()) ^ u64::from(attempt)).checked_rem(most).unwrap_or(0)
}

/// Who is the same caller, as one number.
fn sticky_key(by: &By, asker: &Asker<'_>) -> Option<u64> {
    let Subject { tenant, user, key, .. } = asker.subject;
    let header = |name: &str| asker.headers.get(name).map(http::HeaderValue::as_bytes);
    let value = match by {
        By::Session => header(SESSION.as_str())?,
        By::Header(name) => header(name)?,
        By::User => user.as_bytes(),
        By::Key => key.as_bytes(),
    };
    // Two tenants never share a session by its name.
    (!value.is_empty()).then(|| mix(seed(tenant.as_bytes()) ^ seed(value).rotate_left(1)))
}

/// How much a caller is drawn to a target: the largest of as many draws as it has weight, so that the share of each is its weight, and
/// a target that comes or goes moves no callers but its own (rendezvous hashing).
fn affinity(key: u64, target: &Target) -> u64 {
    let own =
        seed(target.provider.as_bytes()) ^ seed(target.model.as_deref().unwrap_or_default().as_bytes()).rotate_left(1);
    let draws = (1..=u64::from(target.weight)).map(|draw| mix(key ^ mix(own ^ draw)));
    draws.max().unwrap_or(0)
}

/// FNV-1a of some bytes.
fn seed(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finish of splitmix64: every bit of the outcome depends on every bit of what goes in.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The first provider of the routes that serves what names no model.
pub(crate) fn any(models: &[ModelRoute], serves: impl Fn(&str) -> bool) -> Result<&str, Fault> {
    let targets = models.iter().filter_map(|route| route.targets.first());
    let found = targets.map(|target| target.provider.as_str()).find(|provider| serves(provider));
    found.ok_or_else(|| Fault::new(ErrorCode::UnknownModel, "no provider of this gateway serves this API"))
}

/// A client's text as it may stand in a message.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests;
