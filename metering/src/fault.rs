//! The faults that can be planted here: deliberate mistakes of this role, which the simulation has to catch.
//!
//! How one is planted, and that nothing of it is in what is shipped, is in `schemas::fault`.

pub(crate) use schemas::fault::is;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A successor is believed although its journal was copied or restored.
    ForkAccepted,
    /// The lease of a gateway that was not heard for a while is freed.
    SilentLeaseFreed,
    /// An event is accepted although one before it is missing.
    GapAccepted,
    /// Nobody is asked to return what he does not use.
    NothingRecalled,
    /// A producer that is gone leaves nothing held.
    LeaseFreedAtRestart,
    /// Something that was learned is remembered, and what it does is lost.
    ClaimWithoutEffect,
    /// A correction clears twice what was a provision.
    ClearedTwice,
    /// Corrections of an attempt claim nothing.
    CorrectedUnclaimed,
    /// Client tags make as many counters as they like.
    TagsUncounted,
}
