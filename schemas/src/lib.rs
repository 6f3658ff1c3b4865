//! The vocabulary: what Tollgate's roles say to each other and to their users.
//!
//! Every identifier, amount and fact has one type here, and every role uses it. Nothing in this crate does I/O, knows a
//! runtime or reads a clock except [`time::now`]. Money and tokens are integers everywhere.
//!
//! The life of a fact, in travel order: a call becomes an [`event`], metering turns events into [`ledger`] entries and
//! [`decision`] states, both priced by [`price`] under the limits of [`limit`]; [`wire`] is how all of them look as bytes.

pub mod bound;
pub mod config;
pub mod decision;
pub mod error_code;
pub mod event;
pub mod fault;
#[cfg(feature = "fixture")]
pub mod fixture;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod id;
pub mod json;
pub mod ledger;
pub mod limit;
pub mod map;
pub mod money;
pub mod policy;
pub mod price;
pub mod standing;
pub mod subject;
pub mod time;
pub mod tokens;
pub mod topics;
pub mod wire;
