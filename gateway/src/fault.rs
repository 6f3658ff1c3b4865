//! Planted faults: deliberate mistakes of this role, which the simulation has to catch.
//!
//! Without the feature `faults`, which only tests turn on, nothing can be planted and every question is answered at compile
//! time. A fault is planted for the thread that plants it.

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A settled hold is let go of twice.
    HoldReleasedTwice,
    /// A lease is returned with what was used of it.
    UsedIsReturned,
    /// What was used beyond the hold is forgotten.
    SettlementClipped,
    /// What nobody knows does not stay held.
    UnknownReleased,
    /// What a crash left open is settled as nothing.
    CrashSettlesZero,
    /// Windows are computed here and not taken from metering.
    OwnCalendar,
    /// The window follows a clock that goes back.
    WindowGoesBack,
}

#[cfg(feature = "faults")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in the place of any other, or removes it.
#[cfg(feature = "faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(feature = "faults")]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this fault is planted.
#[cfg(not(feature = "faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
