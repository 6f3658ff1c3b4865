//! The faults that can be planted here: deliberate mistakes of this role, which the simulation has to catch.
//!
//! How one is planted, and that nothing of it is in what is shipped, is in `schemas::fault`.

pub(crate) use schemas::fault::is;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A successor is believed although its journal was copied or restored.
    ForkAccepted,
    /// A copy of a journal's files that says all that the journal did is taken for it.
    CopyAccepted,
    /// A successor is not believed, and the lease of the one before it is freed all the same.
    ForkedLeaseFreed,
    /// The lease of a gateway that was not heard for ten seconds is freed.
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
    /// What other lanes are to take of a correction is passed to them whether it stands or not.
    PassedUndecided,
    /// Corrections of an attempt claim nothing.
    CorrectedUnclaimed,
    /// Client tags make as many counters as they like.
    TagsUncounted,
    /// What client tags name gets no counter, and what is beyond them no shared one.
    NothingCounted,
    /// A grant looks at what was used of an amount, and not at what others have leased.
    LeasesNotCounted,
    /// An attempt is charged by another book than the one that it was admitted under.
    ChargedByAnotherBook,
    /// Who owns a lane next does not read what was granted: it works it out from what gateways have reported.
    ReExecutedDecision,
    /// An amendment clears nothing of what was a provision.
    NothingCleared,
    /// What a limit that comes late did not hold counts twice in it.
    BackfilledTwice,
    /// Whoever finds an attempt open ends it.
    EndedByAnybody,
    /// A producer that is gone leaves twice as much held as nobody knows.
    LeftHeldTwice,
}
