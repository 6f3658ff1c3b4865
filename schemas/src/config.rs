//! The configuration file, parsed at the edge: raw → checked, unknown keys refused, every mistake in one report.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// How metering works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeteringConfig {
    /// How long a gateway can go on without the log: leases cover about this much of its demand, schedules reach as far.
    pub outage_budget: Duration,
    /// When the lease of a silent gateway is shown as abandoned. Nothing is freed by it.
    pub abandon_after: Duration,
    /// How long external events are remembered for deduplication.
    pub dedup_days: u32,
    /// How often a running attempt is reported.
    pub token_events: TokenEvents,
    /// Tags that are columns of the lake.
    pub promoted_tags: Vec<String>,
}

/// How often a running attempt is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenEvents {
    /// With each frame.
    Every,
    /// After this time, or after 500 tokens.
    After(Duration),
}

impl Default for MeteringConfig {
    fn default() -> Self {
        Self {
            outage_budget: Duration::from_secs(60),
            abandon_after: Duration::from_secs(24 * 3_600),
            dedup_days: 35,
            token_events: TokenEvents::After(Duration::from_secs(1)),
            promoted_tags: Vec::new(),
        }
    }
}

/// What clients may ask for, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRoute {
    /// The name that clients use: exact, or a beginning and `*`, or `*` alone.
    pub name: String,
    /// Where it goes.
    pub targets: Vec<Target>,
    /// The most tokens of input and output together.
    pub context_window: Option<u64>,
    /// The most tokens of output.
    pub max_output_tokens: Option<u64>,
    /// The name of its tokenizer's encoding, such as `o200k_base`.
    pub encoding: Option<String>,
    /// Whether the client sees every output token; nothing where it is not known.
    pub all_output_visible: Option<bool>,
    /// Prices of its own, on top of the book.
    pub prices: Vec<ModelPrice>,
}

/// One place that a model's calls go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The provider, by its configured name.
    pub provider: String,
    /// The model asked of it; nothing keeps the client's name.
    pub model: Option<String>,
}

/// Prices that a model states for itself: a row of a price file without provider and model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPrice {
    /// Decimal dollars per million tokens, by token class.
    pub per_million: BTreeMap<String, String>,
}
