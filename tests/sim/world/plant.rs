//! The deliberate faults: each is planted alone, and has to be caught by what it breaks.
//!
//! Most are mistakes of a role, planted in the code that is shipped by a switch that only tests compile in. What stands for the log, a
//! disk or the brokers is the world's own here, and so are the faults of those.

use std::any::Any;

use gateway::fault::Fault as G;
use journal::fault::Fault as J;
use metering::fault::Fault as M;
#[cfg(feature = "query")]
use query::fault::Fault as Q;
use schemas::fault;

use super::oracle::Obligation::{self, *};

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    HoldReleasedTwice,
    ReturnBeforeSettlement,
    SettlementClipped,
    CountedUnwritten,
    UnknownReleased,
    CrashSettlesZero,
    TwoTimeZoneDatabases,
    ClockBackAcrossWindows,
    WindowForgotten,
    OverdrawnSpent,
    RestoredJournalAccepted,
    CopiedFilesAccepted,
    ForkedLeaseFreed,
    SilentLeaseFreed,
    GapAccepted,
    NotSentAgain,
    LastUnitsNotRecalled,
    LeasesNotCounted,
    LeaseFreedAtRestart,
    SettleLostOnCancel,
    RetryUnderFirstHold,
    SentTwice,
    CallLeftOpen,
    EndedWithEachAttempt,
    HiddenOutputNotHeld,
    ExtensionNotRecorded,
    ExtensionForgotten,
    ExtensionTooSmall,
    PriceChangedBetweenHoldAndCharge,
    LanesDiffer,
    ShippedBeforeFsync,
    ProducerReused,
    GrantCompactedUnread,
    RestoreToLastStable,
    ReExecutedDecision,
    ClaimedBeforeCommit,
    StoreCommitLost,
    ZombieMember,
    ConcurrentHoldLost,
    UnheardHolds,
    #[cfg(feature = "query")]
    ZombieLakeWriter,
    #[cfg(feature = "query")]
    TailEvictedUnderQuery,
    #[cfg(feature = "query")]
    LakeWriterSkips,
    #[cfg(feature = "query")]
    LakeWriterRepeats,
    ClaimWithoutEffect,
    TagsUncounted,
    NothingCounted,
    ClearedTwice,
    NothingCleared,
    CorrectedUnclaimed,
    PassedUndecided,
    PassedLost,
    EndedByAnybody,
    LeftHeldTwice,
    BackfilledTwice,
}

impl Plant {
    /// Puts the fault in the code of a role, if it is one of a role's; else there is none there.
    pub(crate) fn switch(plant: Option<Self>) {
        fault::plant(plant.and_then(|plant| match plant.planted().place {
            Place::Code(fault) => Some(fault),
            Place::World => None,
        }));
    }

    /// Its line in the table.
    pub(crate) fn planted(self) -> &'static Planted {
        PLANTED.iter().find(|planted| planted.plant == self).unwrap()
    }
}

/// A fault as the table has it.
pub(crate) struct Planted {
    pub(crate) plant: Plant,
    /// The schedule that it stands for, as `tests/tidy/schedules.rs` counts them.
    pub(crate) schedule: &'static str,
    /// What goes wrong.
    pub(crate) what: &'static str,
    place: Place,
    /// What it breaks: one of these has to be what is seen first.
    pub(crate) breaks: &'static [Obligation],
}

/// Where a fault is.
enum Place {
    /// In the code of a role.
    Code(&'static dyn Any),
    /// In what the world has in the place of the log, a disk or a store.
    World,
}

const fn planted(
    plant: Plant,
    schedule: &'static str,
    what: &'static str,
    place: Place,
    breaks: &'static [Obligation],
) -> Planted {
    Planted { plant, schedule, what, place, breaks }
}

/// All faults there are.
pub(crate) const PLANTED: &[Planted] = &[
    planted(
        Plant::HoldReleasedTwice,
        "2C; issue: a hold released twice",
        "a settled hold is let go of twice",
        Place::Code(&G::HoldReleasedTwice),
        &[NoHoldBeyondTheLease],
    ),
    planted(
        Plant::ReturnBeforeSettlement,
        "2B: return before settlement across lanes",
        "what was used of a lease is returned with it, and its use is not said",
        Place::Code(&G::UsedIsReturned),
        &[BalancesAreTheLedger, NoHoldBeyondTheLease],
    ),
    planted(
        Plant::SettlementClipped,
        "1: a provider bills 100 times the bound",
        "what is used beyond a hold is not settled",
        Place::Code(&G::SettlementClipped),
        &[BalancesAreTheLedger, NoHoldBeyondTheLease],
    ),
    planted(
        Plant::CountedUnwritten,
        "9: a crash between a report and the record of what it counts",
        "what was used is counted and reported before the journal has the record of it",
        Place::Code(&G::CountedUnwritten),
        &[BalancesAreTheLedger, OnlyTheUnknownStaysHeld],
    ),
    planted(
        Plant::UnknownReleased,
        "9: less than its hold for what nobody knows",
        "an attempt of which the usage is not known frees its hold",
        Place::Code(&G::UnknownReleased),
        &[NoHoldBeyondTheLease, TheUnknownStaysHeld],
    ),
    planted(
        Plant::CrashSettlesZero,
        "9: a crash loop with missing usage",
        "what a crash left open is settled as nothing",
        Place::Code(&G::CrashSettlesZero),
        &[TheUnknownStaysHeld],
    ),
    planted(
        Plant::TwoTimeZoneDatabases,
        "17a: two tzdata versions",
        "a gateway finds windows by rules of its own, by which they begin half an hour later than metering says",
        Place::Code(&G::OwnCalendar),
        &[TheLastUnitIsUsable],
    ),
    planted(
        Plant::ClockBackAcrossWindows,
        "17b: a clock goes back across midnight",
        "a gateway goes back to the window before with its clock",
        Place::Code(&G::WindowGoesBack),
        &[WindowsDoNotGoBack],
    ),
    planted(
        Plant::WindowForgotten,
        "a call that outlasts many windows",
        "what was used of a window is forgotten while that lasts",
        Place::Code(&G::WindowForgotten),
        &[BalancesAreTheLedger, NoHoldBeyondTheLease],
    ),
    planted(
        Plant::OverdrawnSpent,
        "16: a lowered amount",
        "a lease is spent although more is taken of its limit than the amount",
        Place::Code(&G::OverdrawnSpent),
        &[NothingPassesBeyondWhatIsLeft],
    ),
    planted(
        Plant::RestoredJournalAccepted,
        "6B: a journal restored from a copy",
        "the successor in a copied journal is believed, settles what is settled, and frees the lease",
        Place::Code(&M::ForkAccepted),
        &[LeasesOutOfReachStayCounted, NothingIsChargedTwice, TheLogIsSane],
    ),
    planted(
        Plant::CopiedFilesAccepted,
        "6B: a copy of a journal that says all that it did",
        "the successor in a copy of a live gateway's journal frees its lease, since metering has seen no more of it",
        Place::Code(&M::CopyAccepted),
        &[LeasesOutOfReachStayCounted, TheLogIsSane],
    ),
    planted(
        Plant::ForkedLeaseFreed,
        "6B: the lease counts as spent",
        "the successor in a copied journal is not believed, and the lease freed all the same",
        Place::Code(&M::ForkedLeaseFreed),
        &[LeasesOutOfReachStayCounted, OnlyTheUnknownStaysHeld],
    ),
    planted(
        Plant::SilentLeaseFreed,
        "7: a partitioned live gateway is abandoned",
        "the lease of a gateway that was silent for ten seconds is freed",
        Place::Code(&M::SilentLeaseFreed),
        &[LeasesOutOfReachStayCounted, NoMoreAreOpen, TheLastUnitIsUsable],
    ),
    planted(
        Plant::GapAccepted,
        "13: a gap, then late events",
        "an event is accepted although one before it is missing",
        Place::Code(&M::GapAccepted),
        &[NoCallIsUnaccounted],
    ),
    planted(
        Plant::NotSentAgain,
        "13: the outbox resends from the first unconfirmed",
        "what was sent once is not sent again, whether it was confirmed or not",
        Place::Code(&J::NotSentAgain),
        &[ItComesToRest],
    ),
    planted(
        Plant::LastUnitsNotRecalled,
        "14: the last units on ten gateways",
        "nobody is asked to return what he does not use",
        Place::Code(&M::NothingRecalled),
        &[TheLastUnitIsUsable],
    ),
    planted(
        Plant::LeasesNotCounted,
        "2C, L-1: what others have leased is taken",
        "a grant looks at what was used, and not at what others have leased",
        Place::Code(&M::LeasesNotCounted),
        &[NoGrantBeyondTheAmount],
    ),
    planted(
        Plant::LeaseFreedAtRestart,
        "9; issue: a lease freed at restart",
        "a producer that is gone leaves nothing held",
        Place::Code(&M::LeaseFreedAtRestart),
        &[TheUnknownStaysHeld],
    ),
    planted(
        Plant::SettleLostOnCancel,
        "9; issue: a lost settle on cancel",
        "the limits of an attempt whose client has gone are not settled",
        Place::Code(&G::SettleLostOnCancel),
        &[BalancesAreTheLedger, NoMoreAreOpen],
    ),
    planted(
        Plant::RetryUnderFirstHold,
        "9: attempt 2 under attempt 1's hold",
        "a second attempt holds nothing of its own",
        Place::Code(&G::RetryUnderFirstHold),
        &[EveryLimitIsHeld],
    ),
    planted(
        Plant::SentTwice,
        "9: a retry takes its own hold or is not made",
        "a connection sends a request again by itself, under one hold, and the provider bills both",
        Place::World,
        &[HardLimitsAreNotBilledPast],
    ),
    planted(
        Plant::CallLeftOpen,
        "a call of several attempts",
        "the record of a failed attempt says that its call goes on, and it does not",
        Place::Code(&G::CallLeftOpen),
        &[ACallEndsOnce],
    ),
    planted(
        Plant::EndedWithEachAttempt,
        "a call of several attempts",
        "each attempt's record says that the call ends with it",
        Place::Code(&G::EndedWithEachAttempt),
        &[ACallEndsOnce],
    ),
    planted(
        Plant::HiddenOutputNotHeld,
        "10: hidden output",
        "of output that nobody sees while it is made a slice is held, and all is billed",
        Place::Code(&G::HiddenOutputNotHeld),
        &[EveryLimitIsHeld],
    ),
    planted(
        Plant::ExtensionNotRecorded,
        "10: what is cut",
        "what more is held for a stream is not written down, and a crash forgets it",
        Place::Code(&G::ExtensionNotRecorded),
        &[TheUnknownStaysHeld],
    ),
    planted(
        Plant::ExtensionForgotten,
        "10: what is cut",
        "what a crash left open is taken to hold what it held at first",
        Place::Code(&G::ExtensionForgotten),
        &[TheUnknownStaysHeld],
    ),
    planted(
        Plant::ExtensionTooSmall,
        "10: nothing more is relayed than was held",
        "an extension holds half of what it lets through",
        Place::Code(&G::ExtensionTooSmall),
        &[NothingIsRelayedUnheld],
    ),
    planted(
        Plant::PriceChangedBetweenHoldAndCharge,
        "11: a price row changed between hold and charge",
        "metering charges by the newest book and not by that of the admission",
        Place::Code(&M::ChargedByAnotherBook),
        &[ChargesAreExact],
    ),
    planted(
        Plant::LanesDiffer,
        "19: the partition count is changed",
        "one gateway goes on with another number of lanes than the log has",
        Place::World,
        &[NoMoreAreCounted, TheLogIsSane],
    ),
    planted(
        Plant::ShippedBeforeFsync,
        "6A: ship before fsync, then power loss",
        "what is not on the platter leaves the machine",
        Place::World,
        &[TheLogIsSane],
    ),
    planted(
        Plant::ProducerReused,
        "6C: a producer is one open of a journal",
        "a journal is opened again under the same producer, whose sequences begin again",
        Place::World,
        &[NoCallIsUnaccounted, NoHoldBeyondTheLease, TheLastUnitIsUsable],
    ),
    planted(
        Plant::GrantCompactedUnread,
        "2A: a grant compacted before its reader saw it",
        "compaction takes the last word about a counter as well",
        Place::World,
        &[BalancesAreTheLedger, OnlyTheUnknownStaysHeld, TheLogIsSane, NoMoreAreCounted],
    ),
    planted(
        Plant::RestoreToLastStable,
        "4: restore to LSO under an open transaction",
        "a new owner restores what was before the last commit, and goes on from there",
        Place::World,
        &[NothingIsChargedTwice, TheLogIsSane],
    ),
    planted(
        Plant::ReExecutedDecision,
        "4: a re-executed decision with newer policy",
        "a new owner does not read what was granted and works it out from what was reported",
        Place::Code(&M::ReExecutedDecision),
        &[TheLogIsSane],
    ),
    planted(
        Plant::ClaimedBeforeCommit,
        "8; issue: a sequence claimed before the commit",
        "watermarks are committed without what was made of the events",
        Place::World,
        &[NoCallIsUnaccounted, TheLogIsSane],
    ),
    planted(
        Plant::StoreCommitLost,
        "12: output fsynced, store commit lost",
        "the ledger is written, and the state that belongs to it is not",
        Place::World,
        &[NothingIsChargedTwice],
    ),
    planted(
        Plant::ZombieMember,
        "4: a new owner, and the old one goes on",
        "a member that lost a lane goes on with it, and nothing fences it",
        Place::World,
        &[NothingIsChargedTwice, TheLogIsSane, TheUnknownStaysHeld],
    ),
    planted(
        Plant::ConcurrentHoldLost,
        "what is open at a time",
        "an attempt that ends without its usage being known counts as open for ever",
        Place::Code(&G::ConcurrentKept),
        &[NoMoreAreOpen],
    ),
    planted(
        Plant::UnheardHolds,
        "what is open at a time",
        "a gateway that metering has not heard for long goes on with what it has of hard limits",
        Place::Code(&G::UnheardHolds),
        &[NoMoreAreOpen],
    ),
    #[cfg(feature = "query")]
    planted(
        Plant::ZombieLakeWriter,
        "18a: a zombie lake writer that refreshes",
        "a writer that lost a race loads the newest version and commits its batch on that",
        Place::Code(&Q::ZombieLakeWriter),
        &[RowsAreTheLedger],
    ),
    #[cfg(feature = "query")]
    planted(
        Plant::TailEvictedUnderQuery,
        "18c: the tail is evicted under a pinned query",
        "a query reads the tail as it is by then, and the table as it was pinned",
        Place::World,
        &[RowsAreTheLedger],
    ),
    #[cfg(feature = "query")]
    planted(
        Plant::LakeWriterSkips,
        "18a: writers of the lake that die",
        "a writer that starts reads the ledger from where the furthest table is",
        Place::Code(&Q::LakeWriterSkips),
        &[RowsAreTheLedger],
    ),
    #[cfg(feature = "query")]
    planted(
        Plant::LakeWriterRepeats,
        "18a: writers of the lake that die",
        "a writer that died after a commit, before it heard of it, makes it again",
        Place::World,
        &[RowsAreTheLedger],
    ),
    planted(
        Plant::ClaimWithoutEffect,
        "21; issue: the claim in the same commit as the effect",
        "an external event is remembered, and what it does is lost",
        Place::Code(&M::ClaimWithoutEffect),
        &[NoCallIsUnaccounted],
    ),
    planted(
        Plant::TagsUncounted,
        "20: counters that clients make",
        "client tags make as many counters as they like",
        Place::Code(&M::TagsUncounted),
        &[NoMoreAreCounted],
    ),
    planted(
        Plant::NothingCounted,
        "20: counters that clients make",
        "what client tags name has no counter, and what is beyond them no shared one",
        Place::Code(&M::NothingCounted),
        &[CallsKeepPassing],
    ),
    planted(
        Plant::ClearedTwice,
        "21: corrections",
        "a correction clears twice what was a provision",
        Place::Code(&M::ClearedTwice),
        &[AmendmentsAreExact],
    ),
    planted(
        Plant::NothingCleared,
        "21: corrections",
        "a correction clears nothing of what was a provision",
        Place::Code(&M::NothingCleared),
        &[AmendmentsAreExact],
    ),
    planted(
        Plant::CorrectedUnclaimed,
        "21: corrections",
        "a correction that comes through two gateways counts twice",
        Place::Code(&M::CorrectedUnclaimed),
        &[NothingIsChargedTwice],
    ),
    planted(
        Plant::PassedUndecided,
        "21: corrections",
        "of two amendments that race both move the counters that are at home in another lane",
        Place::Code(&M::PassedUndecided),
        &[AmendmentsAreExact, NoCallIsUnaccounted],
    ),
    planted(
        Plant::PassedLost,
        "3: corrections reach the home lane in the same transaction",
        "what a lane passes to another is not in the transaction that says so",
        Place::World,
        &[NoCallIsUnaccounted],
    ),
    planted(
        Plant::EndedByAnybody,
        "6B: a journal restored from a copy",
        "who finds an attempt open in a copy of a journal ends it, though its producer speaks for itself",
        Place::Code(&M::EndedByAnybody),
        &[NothingIsChargedTwice],
    ),
    planted(
        Plant::LeftHeldTwice,
        "9: less than its hold for what nobody knows",
        "a producer that is gone leaves twice as much held as nobody knows",
        Place::Code(&M::LeftHeldTwice),
        &[OnlyTheUnknownStaysHeld],
    ),
    planted(
        Plant::BackfilledTwice,
        "a limit that comes late",
        "what a limit that comes late did not hold counts twice in it",
        Place::Code(&M::BackfilledTwice),
        &[BalancesAreTheLedger],
    ),
];
