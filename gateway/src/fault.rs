//! The faults that can be planted here: deliberate mistakes of this role, which the simulation has to catch.
//!
//! How one is planted, and that nothing of it is in what is shipped, is in `schemas::fault`.

pub(crate) use schemas::fault::is;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A settled hold is let go of twice.
    HoldReleasedTwice,
    /// What is returned of a lease comes before what was used of it, and with it.
    UsedIsReturned,
    /// What was used beyond the hold is forgotten.
    SettlementClipped,
    /// What was used counts before the journal has a record that says so.
    CountedUnwritten,
    /// What nobody knows does not stay held.
    UnknownReleased,
    /// What a crash left open is settled as nothing.
    CrashSettlesZero,
    /// Windows are computed here and not taken from metering.
    OwnCalendar,
    /// The window follows a clock that goes back.
    WindowGoesBack,
    /// What was used of a window is forgotten while that lasts.
    WindowForgotten,
    /// A lease is spent although more is taken of its limit than the amount.
    OverdrawnSpent,
    /// An attempt that ends without its usage being known goes on counting as open.
    ConcurrentKept,
    /// A gateway that metering has not heard for long goes on with what it has of hard limits.
    UnheardHolds,
    /// What a crash left open held what it was admitted with, and no more.
    ExtensionForgotten,
    /// What more is held for a stream is not written down.
    ExtensionNotRecorded,
    /// An extension holds half of what it lets through.
    ExtensionTooSmall,
    /// A slice is held also of output that nobody sees.
    HiddenOutputNotHeld,
    /// A second attempt takes no holds of its own.
    RetryUnderFirstHold,
    /// What an attempt used is not settled where its client has gone.
    SettleLostOnCancel,
    /// The record of an attempt that failed says that its call goes on, whether it does or not.
    CallLeftOpen,
    /// The record of an attempt says that its call ends with it, whether it does or not.
    EndedWithEachAttempt,
}
