//! The reading room: the ledger, shelved and answered.
//!
//! The life of a row. Metering commits an entry to the `ledger` → it is read and given to each [`table`], which makes its
//! rows of it → the rows stand in the [`tail`], and are in the next answer → [`shelve`] writes them as Parquet and commits
//! them to the [`lake`], together with how far the ledger was read → [`compact`] joins them with others into larger, sorted
//! files. What the log has let go of is read back from the [`archive`], the one table that no query sees. What gateways say on the way of how complete the ledger is goes to the [`watermark`].
//!
//! The life of a question. A request comes in by [`http`], `postgres` or `flight` with a token → [`access`] knows whose rows it may read → a [`cut`]
//! is taken: one version of each table and the tail after it, up to one vector of offsets → [`sql`] checks the statement,
//! opens a fresh session over the caller's tables, each behind the fence, and runs it → the rows go out with `as_of`: the
//! cut, and up to when it is complete.
//!
//! What is asked often stands ready: [`described`] SQL as views (in [`sql`]) and [`reports`]; [`focus`], [`reconcile`] and [`plain`] make files for
//! others of it, [`imports`] keeps what no ledger knows, and [`here`] answers where no service runs.
//!
//! What always holds: a row is in an answer exactly once, however the cut falls between lake and tail; an answer and the
//! text of an error are the same whether or not the rows of other tenants exist; nothing here writes to the log.

pub mod access;
pub mod archive;
pub mod compact;
pub mod config;
pub mod csv;
pub mod cut;
pub mod described;
mod entry;
pub mod error;
pub mod fault;
mod flight;
pub mod focus;
pub mod here;
mod http;
pub mod imports;
pub mod lake;
pub mod plain;
pub mod policies;
mod postgres;
mod rank;
pub mod reconcile;
pub mod reports;
mod rollup;
mod run;
pub mod shelve;
pub mod sql;
pub mod table;
pub mod tail;
pub mod watermark;

/// For the targets of fuzz/, which are nobody else's.
#[doc(hidden)]
pub use flight::understood as flight_understood;
#[doc(hidden)]
pub use postgres::{message as postgres_message, understood as postgres_array};
pub use run::{Deps, Door, Doors, Query, Readiness, RunError};
