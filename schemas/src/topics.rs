//! The four topics of the log.

/// A topic: who writes it, who reads it and how long it is kept is in `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What happened: gateways to metering.
    Usage,
    /// Each accepted fact once, priced: metering to the lake, queries and replay.
    Ledger,
    /// The state of every counter: metering to gateways, and its own changelog. Compacted.
    Decisions,
    /// Tenants, keys, limits, prices, routes. Never trimmed.
    Policy,
}

impl Topic {
    /// The last part of its name; on Kafka the prefix and a dot stand before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Ledger => "ledger",
            Self::Decisions => "decisions",
            Self::Policy => "policy",
        }
    }
}
