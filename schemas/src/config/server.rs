//! What the gateway takes from clients, how metering works, and who may call from a browser.
//!
//! All of it is optional. Times and sizes are above zero, but for `drain`, where zero means to stop at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{reader::Reader, tenant::tag_name, unique::Unique, yaml::Node};

/// What the gateway takes from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The most bytes of one request body.
    pub max_body: u64,
    /// The most bytes of all request bodies that are held at once.
    pub max_body_in_flight: u64,
    /// How long a request's headers may take.
    pub header_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// The most connections of clients.
    pub max_connections: usize,
    /// After how much silence a stream gets a comment that keeps idle proxies awake.
    pub keepalive_comment: Duration,
    /// The most bytes of answers that are kept for calls that are the same, of models that have a cache.
    pub cache: u64,
    /// How long an answer is read on whose client has left, to know what it costs; zero closes it at once.
    pub read_on: Duration,
    /// How long open calls may take to end when the process stops.
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            max_body: 64 << 20,
            max_body_in_flight: 1 << 30,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            max_connections: 20_000,
            keepalive_comment: Duration::from_secs(15),
            cache: 64 << 20,
            read_on: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

/// The least that counts as silence.
const LEAST_SILENCE: Duration = Duration::from_secs(5);

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

impl MeteringConfig {
    /// How long a gateway that nobody hears spends its leases, and has to be silent before an operator may say that it is gone: the outage
    /// budget, and no less than reports, which come each second, take on a bad day.
    pub fn silence(&self) -> Duration {
        self.outage_budget.max(LEAST_SILENCE)
    }
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

/// Who may call from a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins such as `https://app.example.com`, or `*` for all; empty for none.
    pub origins: Vec<String>,
}

/// Reads the section `server`.
pub(super) fn server(reader: &mut Reader, node: &Node) -> Option<Server> {
    let known = [
        "max_body",
        "max_body_in_flight",
        "header_timeout",
        "body_timeout",
        "max_connections",
        "keepalive_comment",
        "cache",
        "read_on",
        "drain",
    ];
    let fields = reader.fields(node, "server", &known)?;
    let default = Server::default();
    let server = Server {
        max_body: reader.or(&fields, "max_body", default.max_body, Reader::size),
        max_body_in_flight: reader.or(&fields, "max_body_in_flight", default.max_body_in_flight, Reader::size),
        header_timeout: reader.or(&fields, "header_timeout", default.header_timeout, Reader::duration),
        body_timeout: reader.or(&fields, "body_timeout", default.body_timeout, Reader::duration),
        max_connections: reader
            .or(&fields, "max_connections", default.max_connections, |reader, node| reader.number(node, 1..=1_000_000)),
        keepalive_comment: reader.or(&fields, "keepalive_comment", default.keepalive_comment, Reader::duration),
        cache: reader.or(&fields, "cache", default.cache, Reader::size),
        read_on: reader.or(&fields, "read_on", default.read_on, Reader::duration_or_zero),
        drain: reader.or(&fields, "drain", default.drain, Reader::duration_or_zero),
    };
    if server.max_body > server.max_body_in_flight {
        let at = fields.place("max_body").or(fields.place("max_body_in_flight")).unwrap_or(fields.at);
        let what = "max_body is larger than max_body_in_flight, so that the largest body could never be read";
        reader.bad(at, what, "raise max_body_in_flight or lower max_body");
    }
    Some(server)
}

/// Reads the section `metering`.
pub(super) fn metering(reader: &mut Reader, node: &Node) -> Option<MeteringConfig> {
    let known = ["outage_budget", "abandon_after", "dedup_days", "token_events", "promoted_tags"];
    let fields = reader.fields(node, "metering", &known)?;
    let default = MeteringConfig::default();
    Some(MeteringConfig {
        outage_budget: reader.or(&fields, "outage_budget", default.outage_budget, |reader, node| {
            let span = reader.duration(node)?;
            if span > Duration::from_secs(7 * 86_400) {
                reader.bad(node.at, "an outage_budget of more than a week", "write 7d or less");
            }
            Some(span)
        }),
        abandon_after: reader.or(&fields, "abandon_after", default.abandon_after, Reader::duration),
        dedup_days: reader.or(&fields, "dedup_days", default.dedup_days, |reader, node| reader.number(node, 1..=3_660)),
        token_events: reader.or(&fields, "token_events", default.token_events, |reader, node| {
            if reader.scalar(node)?.text == "every" {
                return Some(TokenEvents::Every);
            }
            reader.duration(node).map(TokenEvents::After)
        }),
        promoted_tags: reader.or(&fields, "promoted_tags", Vec::new(), |reader, node| {
            let mut names = Unique::new("promoted tag");
            let tags = reader.list(node, "promoted_tags", |reader, item| {
                let name = tag_name(reader, item)?;
                names.add(reader, item.at, &name);
                Some(name)
            });
            if tags.as_ref().is_some_and(|tags| !tags.is_empty()) {
                reader.not_built(node.at, "a column for a tag", "take it out, and read tags with tag('name')");
            }
            tags
        }),
    })
}

/// Reads the section `cors`.
pub(super) fn cors(reader: &mut Reader, node: &Node) -> Option<Cors> {
    let fields = reader.fields(node, "cors", &["origins"])?;
    let origins = reader.maybe(&fields, "origins", |reader, node| {
        reader.list(node, "origins", |reader, item| {
            reader.parsed(item, "an origin such as https://app.example.com, or *", |text| {
                let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
                let plain =
                    |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
                (text == "*" || host.is_some_and(plain)).then(|| text.to_ascii_lowercase())
            })
        })
    });
    Some(Cors { origins: origins.unwrap_or_default() })
}
