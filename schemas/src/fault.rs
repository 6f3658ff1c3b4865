//! Planted faults: deliberate mistakes of a role, which the simulation has to catch.
//!
//! Each role lists its own in a `fault.rs`. Without the feature `faults`, which only tests turn on, nothing can be planted and
//! every question is answered at compile time. One fault is planted at a time, for the thread that plants it.

#[cfg(feature = "faults")]
use std::{any::Any, cell::Cell};

#[cfg(feature = "faults")]
std::thread_local! {
    static PLANTED: Cell<Option<&'static dyn Any>> = const { Cell::new(None) };
}

/// Plants a fault of any role in the place of any other, or removes it.
#[cfg(feature = "faults")]
pub fn plant(fault: Option<&'static dyn Any>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(feature = "faults")]
pub fn is<F: Copy + PartialEq + 'static>(fault: F) -> bool {
    PLANTED.get().and_then(|planted| planted.downcast_ref()) == Some(&fault)
}

/// Whether this fault is planted.
#[cfg(not(feature = "faults"))]
pub const fn is<F: Copy + PartialEq + 'static>(_: F) -> bool {
    false
}
