//! The faults that can be planted here: deliberate mistakes of this role, which the simulation has to catch.
//!
//! How one is planted, and that nothing of it is in what is shipped, is in `schemas::fault`.

pub(crate) use schemas::fault::is;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A writer that lost a race loads the newest version and commits its batch on that.
    ZombieLakeWriter,
    /// A writer that starts reads the ledger from where the furthest table is.
    LakeWriterSkips,
}
