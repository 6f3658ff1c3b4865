//! The deliberate faults: each is planted alone, in the code or in the world, and has to be caught.
//!
//! Each names the schedule that it stands for. Those of a role are planted in its code by a switch that only tests compile in;
//! those of the log, the disk and the lake are planted in the world's own log, disk and lake.

use std::any::Any;

use gateway::fault::Fault as G;
use metering::fault::Fault as M;
use schemas::fault;

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    HoldReleasedTwice,
    ReturnBeforeSettlement,
    SettlementClipped,
    UnknownReleased,
    CrashSettlesZero,
    TwoTimeZoneDatabases,
    ClockBackAcrossWindows,
    RestoredJournalAccepted,
    SilentLeaseFreed,
    GapAccepted,
    LastUnitsNotRecalled,
    LeaseFreedAtRestart,
    SettleLostOnCancel,
    RetryUnderFirstHold,
    CallLeftOpen,
    EndedWithEachAttempt,
    HiddenOutputNotHeld,
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
    ConcurrentUnheard,
    ExtensionNotRecorded,
    ExtensionForgotten,
    ZombieLakeWriter,
    TailEvictedUnderQuery,
    LakeWriterSkips,
    LakeWriterRepeats,
    ClaimWithoutEffect,
    TagsUncounted,
    ClearedTwice,
    CorrectedUnclaimed,
}

impl Plant {
    pub(crate) const ALL: [Self; 39] = [
        Self::HoldReleasedTwice,
        Self::ReturnBeforeSettlement,
        Self::SettlementClipped,
        Self::UnknownReleased,
        Self::CrashSettlesZero,
        Self::TwoTimeZoneDatabases,
        Self::ClockBackAcrossWindows,
        Self::RestoredJournalAccepted,
        Self::SilentLeaseFreed,
        Self::GapAccepted,
        Self::LastUnitsNotRecalled,
        Self::LeaseFreedAtRestart,
        Self::SettleLostOnCancel,
        Self::RetryUnderFirstHold,
        Self::CallLeftOpen,
        Self::EndedWithEachAttempt,
        Self::HiddenOutputNotHeld,
        Self::PriceChangedBetweenHoldAndCharge,
        Self::LanesDiffer,
        Self::ShippedBeforeFsync,
        Self::ProducerReused,
        Self::GrantCompactedUnread,
        Self::RestoreToLastStable,
        Self::ReExecutedDecision,
        Self::ClaimedBeforeCommit,
        Self::StoreCommitLost,
        Self::ZombieMember,
        Self::ConcurrentHoldLost,
        Self::ConcurrentUnheard,
        Self::ExtensionNotRecorded,
        Self::ExtensionForgotten,
        Self::ZombieLakeWriter,
        Self::TailEvictedUnderQuery,
        Self::LakeWriterSkips,
        Self::LakeWriterRepeats,
        Self::ClaimWithoutEffect,
        Self::TagsUncounted,
        Self::ClearedTwice,
        Self::CorrectedUnclaimed,
    ];

    /// The schedule it stands for.
    pub(crate) const fn schedule(self) -> &'static str {
        match self {
            Self::HoldReleasedTwice => "a hold is released twice",
            Self::ReturnBeforeSettlement => {
                "a return reaches metering before the settlements that used the lease, and returns that as well"
            }
            Self::SettlementClipped => {
                "a provider bills a hundred times the bound, and the settlement is clipped to the hold"
            }
            Self::UnknownReleased => "an attempt whose usage is not known frees its hold",
            Self::CrashSettlesZero => "a crash loop, with usage that nobody knows settled as zero",
            Self::TwoTimeZoneDatabases => {
                "gateways compute windows by a calendar of their own, which is not metering's"
            }
            Self::ClockBackAcrossWindows => "a clock goes back across the end of a window, and the gateway with it",
            Self::RestoredJournalAccepted => "a journal is restored from a copy, and its successor believed",
            Self::SilentLeaseFreed => "the lease of a partitioned live gateway is freed because it is silent",
            Self::GapAccepted => "a gap is accepted, and the late events dropped",
            Self::LastUnitsNotRecalled => "the last units lie on several gateways and nobody calls them back",
            Self::LeaseFreedAtRestart => "a lease is freed at restart although holds of it are open",
            Self::SettleLostOnCancel => "a client cancels and the settlement is lost",
            Self::RetryUnderFirstHold => "a second attempt runs under the hold of the first",
            Self::CallLeftOpen => "a failed attempt says that its call goes on, and no other one is made",
            Self::EndedWithEachAttempt => "a call ends with each of its attempts",
            Self::HiddenOutputNotHeld => "output that nobody sees is billed, and only a slice was held",
            Self::PriceChangedBetweenHoldAndCharge => "a price changes between the hold and the settlement",
            Self::LanesDiffer => "a gateway counts another number of lanes",
            Self::ShippedBeforeFsync => "events leave the machine before the fsync, and the power fails",
            Self::ProducerReused => "a journal is opened again under the same producer, whose sequences begin again",
            Self::GrantCompactedUnread => "the last word about a counter is compacted away before its readers saw it",
            Self::RestoreToLastStable => {
                "a new owner restores a state from before the last commit, with its place in the input"
            }
            Self::ReExecutedDecision => {
                "a new owner goes on from the newest place in the input with counters of before the last commit"
            }
            Self::ClaimedBeforeCommit => "watermarks are committed, and what was made of the events is not",
            Self::StoreCommitLost => "the ledger is written, and the commit of the store that it belongs to is lost",
            Self::ZombieMember => "a metering member that lost a lane goes on, and is not fenced",
            Self::ConcurrentHoldLost => "a client cancels and its call counts as open for ever",
            Self::ConcurrentUnheard => "a gateway goes on with what is open at a time after metering has given it up",
            Self::ExtensionNotRecorded => "more is held for a stream and not written down before it is relayed",
            Self::ExtensionForgotten => "a crash leaves a stream open, and only what it held at first stays held",
            Self::ZombieLakeWriter => "a lake writer that lost a race refreshes and commits its batch again",
            Self::TailEvictedUnderQuery => "the tail is evicted under a pinned query",
            Self::LakeWriterSkips => "a lake writer that starts again begins where its furthest table is",
            Self::LakeWriterRepeats => "a lake writer that died after a commit, before it heard of it, makes it again",
            Self::ClaimWithoutEffect => "the claim of an external event is committed without its effect",
            Self::TagsUncounted => "each gateway counts for itself how many counters client tags have made",
            Self::ClearedTwice => "what was held for what nobody knew is cleared twice by what turns out to be known",
            Self::CorrectedUnclaimed => "a correction is sent through two gateways at once, and both count",
        }
    }

    /// Puts the fault in the code of a role, if it is one of a role's; else there is none there.
    pub(crate) fn switch(plant: Option<Self>) {
        fault::plant(plant.and_then(Self::in_code));
    }

    fn in_code(self) -> Option<&'static dyn Any> {
        Some(match self {
            Self::HoldReleasedTwice => &G::HoldReleasedTwice,
            Self::ReturnBeforeSettlement => &G::UsedIsReturned,
            Self::SettlementClipped => &G::SettlementClipped,
            Self::UnknownReleased => &G::UnknownReleased,
            Self::CrashSettlesZero => &G::CrashSettlesZero,
            Self::TwoTimeZoneDatabases => &G::OwnCalendar,
            Self::ClockBackAcrossWindows => &G::WindowGoesBack,
            Self::ConcurrentHoldLost => &G::ConcurrentKept,
            Self::ConcurrentUnheard => &G::ConcurrentUnheard,
            Self::ExtensionForgotten => &G::ExtensionForgotten,
            Self::RestoredJournalAccepted => &M::ForkAccepted,
            Self::SilentLeaseFreed => &M::SilentLeaseFreed,
            Self::GapAccepted => &M::GapAccepted,
            Self::LastUnitsNotRecalled => &M::NothingRecalled,
            Self::LeaseFreedAtRestart => &M::LeaseFreedAtRestart,
            Self::ClaimWithoutEffect => &M::ClaimWithoutEffect,
            Self::TagsUncounted => &M::TagsUncounted,
            Self::ClearedTwice => &M::ClearedTwice,
            Self::CorrectedUnclaimed => &M::CorrectedUnclaimed,
            _ => return None,
        })
    }
}
