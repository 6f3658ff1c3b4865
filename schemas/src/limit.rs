//! Limits: one mechanism for rates, quotas and budgets.
//!
//! A limit bounds the use of a unit in a window over a scope. Its `*` matchers make one counter (an instance) of it for each
//! value. Its identity is [`Limit::id`]: whatever that covers makes another limit when it changes, the rest changes in place.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::{
    id::{InstanceId, Lane, LimitId, first_16},
    money::Pico,
    subject::Subject,
    time::Time,
    tokens::Vector,
};

/// A bound on the use of a unit, in a window, over a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name, unique in the policy.
    pub name: String,
    /// What it matches.
    pub scope: Scope,
    /// What it counts.
    pub unit: Unit,
    /// How much: pico-dollars for `usd`, else a plain count.
    pub amount: i128,
    /// Over what time.
    pub window: Window,
    /// The time zone of calendar windows, an IANA name.
    pub zone: String,
    /// What happens at the amount.
    pub mode: Mode,
    /// What happens to a call whose bound is not known.
    pub unbounded: OnUnbounded,
    /// The values that a client tag may take with a counter of its own; any other value shares `other`.
    pub values: Vec<String>,
    /// The most counters that client tags may make in a window, for each value of what else is counted by itself; metering makes
    /// them, and beyond it all share `other`.
    pub max_instances: Option<u32>,
    /// What happens to a call that does not fit.
    #[serde(default)]
    pub on_exceed: OnExceed,
    /// Whether of a streamed answer a slice is held at a time, and not the most that it can be.
    #[serde(default)]
    pub slices: bool,
    /// The shares of its amount that are said when a counter reaches them, sorted.
    #[serde(default)]
    pub alerts: Vec<Share>,
    /// Whether, when it is new, it counts what was used before in the window that lasts.
    #[serde(default)]
    pub backfill: bool,
}

/// A share of an amount, in hundredths: 80 is four fifths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub u32);

impl Share {
    /// The largest that a limit may name: ten times its amount.
    pub const MOST: Self = Self(1_000);

    /// Reads a share of more than nothing, such as `0.8` or `1`, of at most two digits after the point.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number =
            |digits: &str| (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) {
            return None;
        }
        let part = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
        let share = Self(whole.parse::<u32>().ok()? * 100 + part);
        (Self::default() < share && share <= Self::MOST).then_some(share)
    }

    /// Whether so much of an amount is this share of it; nothing never is.
    pub fn is_reached(self, taken: i128, amount: i128) -> bool {
        taken > 0 && taken.saturating_mul(100) >= amount.saturating_mul(self.0.into())
    }
}

/// The matchers of a limit, by dimension, sorted; a dimension that is not named matches everything.
pub type Scope = Vec<(Dimension, Match)>;

/// What a limit can match on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The tenant of the key.
    Tenant,
    /// The team of the key.
    Team,
    /// The project of the key.
    Project,
    /// The user of the key.
    User,
    /// The name of the key.
    Key,
    /// The model asked of the provider.
    Model,
    /// The provider.
    Provider,
    /// A tag, by name.
    Tag(String),
}

/// What a dimension has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// This value. A trailing `*` after other text matches every value that begins so.
    Is(String),
    /// Any value, each with a counter of its own. A call without a value of the dimension is not matched.
    Each,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Attempts admitted.
    Requests,
    /// Input and output tokens, cached ones included.
    Tokens,
    /// Input tokens, cached ones included.
    InputTokens,
    /// Output tokens, reasoning included.
    OutputTokens,
    /// Pico-dollars.
    Usd,
    /// Calls of tools that answers have, of the client's and of the provider's.
    ToolCalls,
    /// Attempts that are open at a time. Nothing of it is ever used up: what is held is all there is.
    Concurrent,
}

impl Unit {
    /// The name in configuration and in the `unit` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Usd => "usd",
            Self::ToolCalls => "tool_calls",
            Self::Concurrent => "concurrent",
        }
    }
}

impl Unit {
    /// Whether a longer answer takes more of it.
    pub const fn is_of_output(self) -> bool {
        matches!(self, Self::Tokens | Self::OutputTokens | Self::Usd)
    }

    /// How much usage is in this unit; nothing where it is money and the cost is not known.
    pub fn amount(self, used: &Vector, cost: Option<Pico>) -> Option<i128> {
        match self {
            Self::Requests => Some(1),
            Self::Tokens => Some(used.total().into()),
            Self::InputTokens => Some(used.input().into()),
            Self::OutputTokens => Some(used.all_output().into()),
            Self::Usd => cost.map(|cost| cost.0),
            Self::ToolCalls => Some(used.tool_calls.into()),
            // What was open somewhere is over when it is told.
            Self::Concurrent => Some(0),
        }
    }
}

/// The time over which a limit counts, aligned to the calendar of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each says itself")]
pub enum Window {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    /// For ever.
    Total,
}

impl Window {
    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Whether a lease stands: it is a share of every window until returned, so that a turn of the window needs no message.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Second | Self::Minute | Self::Hour)
    }

    /// The longest a window of this kind can be, for horizons; `total` has none.
    pub const fn longest(self) -> Option<Duration> {
        let seconds = match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 25 * 3_600,
            Self::Week => (7 * 24 + 1) * 3_600,
            Self::Month => (31 * 24 + 1) * 3_600,
            Self::Total => return None,
        };
        Some(Duration::from_secs(seconds))
    }
}

/// What happens when the amount is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing passes that could be billed beyond it.
    Hard,
    /// Calls are refused once it is known to be reached.
    Soft,
    /// Calls pass, and what would have been refused is recorded.
    Observe,
}

impl Mode {
    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Observe => "observe",
        }
    }
}

/// What a hard limit does with a call whose bound is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnbounded {
    /// Hold the model's whole window or output maximum where that is finite, else refuse.
    #[default]
    Hold,
    /// Refuse.
    Refuse,
    /// Let it pass with what is known held.
    Admit,
}

/// What happens to a call that does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// It is refused; a stream that is under way is ended.
    #[default]
    Refuse,
    /// A stream that is under way goes on to its end; what it uses beyond the amount is settled and said.
    Finish,
    /// It is made with this model instead.
    Downgrade(String),
}

/// The value shared by all client tags beyond those that have a counter of their own.
pub const OTHER: &str = "other";

/// What a limit is matched against.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Who calls.
    pub subject: &'a Subject,
    /// The provider chosen.
    pub provider: &'a str,
    /// The model asked of it.
    pub model: &'a str,
}

/// The values that `*` takes for a target, in scope order. Hardly any limit has more than four, so that hardly any allocates.
pub type Values<'a> = SmallVec<[&'a str; 4]>;

impl Limit {
    /// Its identity: name, scope, unit, window and zone.
    pub fn id(&self) -> LimitId {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(&self.name);
        part(self.unit.name());
        part(self.window.name());
        part(&self.zone);
        for (dimension, matcher) in &self.scope {
            part(&dimension.name());
            match matcher {
                Match::Is(value) => {
                    part("is");
                    part(value);
                }
                Match::Each => part("each"),
            }
        }
        LimitId(first_16(&hash.finalize()))
    }

    /// The one tenant that it is of; nothing if it is of several or of none.
    pub fn tenant(&self) -> Option<&str> {
        self.scope.iter().find_map(|(dimension, wanted)| match wanted {
            Match::Is(name) if *dimension == Dimension::Tenant && !name.ends_with('*') => Some(name.as_str()),
            _ => None,
        })
    }

    /// What a limit of one key is called that has no name of its own; a key has one of each unit and window.
    pub fn name_of_budget((tenant, key): (&str, &str), unit: Unit, window: Window) -> String {
        format!("{tenant}/{key}/{}/{}", unit.name(), window.name())
    }

    /// Whether it is a limit of this key that goes with it.
    pub fn is_budget_of(&self, tenant: &str, key: &str) -> bool {
        let is = |matcher: &Match, name: &str| matches!(matcher, Match::Is(value) if value == name);
        let of_key = matches!(self.scope.as_slice(), [(Dimension::Tenant, of), (Dimension::Key, its)]
            if is(of, tenant) && is(its, key));
        of_key && self.name == Self::name_of_budget((tenant, key), self.unit, self.window)
    }

    /// Whether it is a limit of any key that goes with it.
    pub fn is_budget(&self) -> bool {
        matches!(self.scope.as_slice(), [(Dimension::Tenant, Match::Is(of)), (Dimension::Key, Match::Is(its))]
            if self.is_budget_of(of, its))
    }

    /// The values that `*` takes for this target, in scope order; nothing if the limit does not match it.
    pub fn values_for<'a>(&self, target: Target<'a>) -> Option<Values<'a>> {
        let mut values = Values::new();
        for (dimension, matcher) in &self.scope {
            let value = dimension.of(target).filter(|value| !value.is_empty())?;
            match matcher {
                Match::Is(wanted) if !matches(wanted, value) => return None,
                Match::Is(_) => {}
                Match::Each => values.push(self.counted(dimension, value)),
            }
        }
        Some(values)
    }

    fn counted<'a>(&self, dimension: &Dimension, value: &'a str) -> &'a str {
        let free = !matches!(dimension, Dimension::Tag(_)) || self.values.is_empty();
        if free || self.values.iter().any(|known| known == value) { value } else { OTHER }
    }

    /// The places of client tags among the values that `*` takes.
    pub fn tag_places(&self) -> impl Iterator<Item = usize> {
        let each = self.scope.iter().filter(|(_, matcher)| *matcher == Match::Each);
        each.enumerate().filter(|(_, (dimension, _))| matches!(dimension, Dimension::Tag(_))).map(|(place, _)| place)
    }

    /// The values of the counter that is shared by all client tags that have none of their own.
    pub fn shared<S: AsRef<str>>(&self, values: &[S]) -> Vec<String> {
        let mut shared: Vec<String> = values.iter().map(|value| value.as_ref().to_owned()).collect();
        for place in self.tag_places() {
            if let Some(value) = shared.get_mut(place) {
                OTHER.clone_into(value);
            }
        }
        shared
    }

    /// The lane in which the leases of an instance travel: its tenant's where the scope names one, else a hash of the instance, so
    /// that counters of which there may only be so many are all in one.
    pub fn home<S: AsRef<str>>(&self, values: &[S], lanes: u16) -> Lane {
        let mut taken = values.iter();
        for (dimension, matcher) in &self.scope {
            let value = match matcher {
                Match::Is(value) => Some(value.as_str()),
                Match::Each => taken.next().map(AsRef::as_ref),
            };
            let plain = !value.is_some_and(|value| matches!(matcher, Match::Is(_)) && value.ends_with('*'));
            if *dimension == Dimension::Tenant
                && plain
                && let Some(tenant) = value
            {
                return Lane::of(tenant.as_bytes(), lanes);
            }
        }
        let instance = match self.max_instances {
            Some(_) => InstanceId::of(self.id(), &self.shared(values), None),
            None => InstanceId::of(self.id(), values, None),
        };
        Lane::of(&instance.0, lanes)
    }
}

/// Whether a value is the one that is wanted, or begins with what stands before a trailing `*`.
pub fn matches(wanted: &str, value: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == value, |prefix| value.starts_with(prefix))
}

impl Dimension {
    /// The name in configuration, such as `user` or `tag.env`.
    pub fn name(&self) -> String {
        match self {
            Self::Tenant => "tenant".into(),
            Self::Team => "team".into(),
            Self::Project => "project".into(),
            Self::User => "user".into(),
            Self::Key => "key".into(),
            Self::Model => "model".into(),
            Self::Provider => "provider".into(),
            Self::Tag(name) => format!("tag.{name}"),
        }
    }

    /// The dimension that [`Self::name`] names.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "tenant" => Self::Tenant,
            "team" => Self::Team,
            "project" => Self::Project,
            "user" => Self::User,
            "key" => Self::Key,
            "model" => Self::Model,
            "provider" => Self::Provider,
            _ => Self::Tag(name.strip_prefix("tag.")?.to_owned()),
        })
    }

    /// Its value for a target; nothing if there is none.
    pub fn of<'a>(&self, target: Target<'a>) -> Option<&'a str> {
        match self {
            Self::Model => Some(target.model),
            Self::Provider => Some(target.provider),
            _ => self.of_caller(target.subject),
        }
    }

    /// Its value for who calls; nothing for what is chosen only then.
    pub fn of_caller<'a>(&self, subject: &'a Subject) -> Option<&'a str> {
        Some(match self {
            Self::Tenant => &subject.tenant,
            Self::Team => &subject.team,
            Self::Project => &subject.project,
            Self::User => &subject.user,
            Self::Key => &subject.key,
            Self::Tag(name) => subject.tag(name)?,
            Self::Model | Self::Provider => return None,
        })
    }
}

/// The windows of one limit as metering computed them: each begins at its boundary and ends at the next.
///
/// A gateway's clock only chooses among them. There are always enough for the time that the log may be away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The limit.
    pub limit: LimitId,
    /// Sorted instants, at least two; the last is [`Time::MAX`] where the window never ends.
    pub boundaries: Vec<Time>,
}

impl Schedule {
    /// The window that holds `at`; nothing if it is not published.
    pub fn window(&self, at: Time) -> Option<(Time, Time)> {
        window(&self.boundaries, at)
    }
}

/// The window between sorted boundaries that holds `at`; nothing if there is none.
pub fn window(boundaries: &[Time], at: Time) -> Option<(Time, Time)> {
    let next = boundaries.partition_point(|start| *start <= at);
    Some((*boundaries.get(next.checked_sub(1)?)?, *boundaries.get(next)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_exactly_and_reached_exactly() {
        let shares = ["0.8", "1", "1.0", "0.05", "10", "0", "0.0", "10.01", "0.801", "-1", ".5", "1.", "1e1", "80%"];
        let read: Vec<Option<u32>> = shares.iter().map(|text| Share::parse(text).map(|share| share.0)).collect();
        let none = [None; 9];
        assert_eq!(read, [&[Some(80), Some(100), Some(100), Some(5), Some(1_000)][..], &none].concat());
        let reached =
            [(79, 100), (80, 100), (4, 5), (3, 5), (0, 0), (1, 0)].map(|(taken, of)| Share(80).is_reached(taken, of));
        assert_eq!(reached, [false, true, true, false, false, true]);
    }
}
