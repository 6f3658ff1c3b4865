//! What the fuzz targets do with an input: one function for each parser that meets the outside.
//!
//! Each takes any bytes and panics where a property does not hold; that nothing else panics goes without saying. The same functions
//! are called by libFuzzer (`fuzz_targets`) and, over seeds and for a bounded time, by `cargo test` (`tests/fuzz`). What is looked
//! at apart from the answer itself is reached by the feature `fuzz` of the crates. Nothing here keeps state between two inputs.

pub mod amounts;
#[cfg(feature = "query")]
pub mod arrays;
pub mod checks;
pub mod config;
pub mod dice;
pub mod encoded;
pub mod events;
pub mod eventstream;
#[cfg(feature = "query")]
pub mod flight;
pub mod headers;
pub mod json;
pub mod meter;
#[cfg(feature = "query")]
pub mod postgres;
pub mod record;
pub mod request;
pub mod segment;
#[cfg(feature = "query")]
pub mod sql;
pub mod sse;
pub mod telling;
pub mod translation;
pub mod wire;
