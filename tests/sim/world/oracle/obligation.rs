//! What has to be so, whatever goes wrong.

/// What has to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obligation {
    /// L-1, before every grant.
    NoGrantBeyondTheAmount,
    /// L-2, before every hold.
    NoHoldBeyondTheLease,
    /// A call holds on every limit that it falls under, as much as it may be billed.
    EveryLimitIsHeld,
    /// A hard limit is never billed past, for bounded calls.
    HardLimitsAreNotBilledPast,
    /// Nothing is charged twice.
    NothingIsChargedTwice,
    /// While a gateway and metering work, calls pass.
    CallsKeepPassing,
    /// What is charged is what the provider reported, however the attempt ended, at the price in force at admission.
    ChargesAreExact,
    /// No admitted call is unaccounted for.
    NoCallIsUnaccounted,
    /// Of the rows of a call's attempts one ends the call.
    ACallEndsOnce,
    /// Ledger = balances.
    BalancesAreTheLedger,
    /// Ledger = rows of the lake.
    #[cfg(feature = "query")]
    RowsAreTheLedger,
    /// The last affordable unit is usable once faults heal.
    TheLastUnitIsUsable,
    /// And nothing beyond it is, also of an amount that was lowered while more was held.
    NothingPassesBeyondWhatIsLeft,
    /// What is out of reach stays counted.
    LeasesOutOfReachStayCounted,
    /// What nobody knows stays held.
    TheUnknownStaysHeld,
    /// And nothing else does.
    OnlyTheUnknownStaysHeld,
    /// What turns out to be known of it frees so much as it may, once.
    AmendmentsAreExact,
    /// No more calls are open at a time than may be.
    NoMoreAreOpen,
    /// Client tags make no more counters than they may.
    NoMoreAreCounted,
    /// No more of a stream is relayed than is held and written down.
    NothingIsRelayedUnheld,
    /// A gateway does not go back to an earlier window.
    WindowsDoNotGoBack,
    /// Totals only grow, and alarms have a cause.
    TheLogIsSane,
    /// Everything is shipped, confirmed and read once faults heal.
    ItComesToRest,
}

#[cfg(test)]
impl Obligation {
    /// All of them: each has to be one that can break.
    pub(crate) const ALL: &[Self] = &[
        Self::NoGrantBeyondTheAmount,
        Self::NoHoldBeyondTheLease,
        Self::EveryLimitIsHeld,
        Self::HardLimitsAreNotBilledPast,
        Self::NothingIsChargedTwice,
        Self::CallsKeepPassing,
        Self::ChargesAreExact,
        Self::NoCallIsUnaccounted,
        Self::ACallEndsOnce,
        Self::BalancesAreTheLedger,
        #[cfg(feature = "query")]
        Self::RowsAreTheLedger,
        Self::TheLastUnitIsUsable,
        Self::NothingPassesBeyondWhatIsLeft,
        Self::LeasesOutOfReachStayCounted,
        Self::TheUnknownStaysHeld,
        Self::OnlyTheUnknownStaysHeld,
        Self::AmendmentsAreExact,
        Self::NoMoreAreOpen,
        Self::NoMoreAreCounted,
        Self::NothingIsRelayedUnheld,
        Self::WindowsDoNotGoBack,
        Self::TheLogIsSane,
        Self::ItComesToRest,
    ];
}
