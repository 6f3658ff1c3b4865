//! Planted faults: deliberate mistakes of this role, which the simulation has to catch.
//!
//! Without the feature `faults`, which only tests turn on, nothing can be planted and every question is answered at compile
//! time. A fault is planted for the thread that plants it.

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
