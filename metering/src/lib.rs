//! The books: facts become charges, balances and decisions.
//!
//! The life of an event, in travel order:
//! 1. `run` polls a batch of one lane of `usage` and hands each record to the engine, with the time as an input.
//! 2. `dedup` accepts it once, in the order of its producer, or drops it.
//! 3. `engine` opens the one `match`; `engine/<kind>` says what each kind of event means.
//! 4. `post` takes over the gateway's counters; `escrow` grants, recalls and refuses leases; `window` knows the calendar.
//! 5. `run` commits ledger entries, changed states and the next offset in one transaction.
//! 6. `replay` makes the books anew from the ledger alone, whenever somebody wants the proof; `rerate` asks what other prices would make
//!    of it, and `backtest` what other limits would.
//!
//! What always holds (the predicates are in `invariant`):
//! M-1. Each event is accepted once: per producer and lane, sequences are accepted without a gap.
//! M-2. L-1 before every grant: `adjusted + Σ max(granted − returned, used) ≤ amount`, in every window the asker may spend in.
//! M-3. Every counter has one writer and only grows.
//! M-4. The state is what was published: an engine restored from its decisions goes on exactly as the one that wrote them.
//!
//! The engine is pure: no clock, no I/O, no randomness. Money is charged here and nowhere else.

pub mod backfill;
pub mod backtest;
pub mod dedup;
pub mod engine;
pub mod error;
pub mod escrow;
pub mod fault;
pub mod invariant;
pub mod post;
pub mod replay;
pub mod rerate;
pub mod run;
pub mod window;

pub use error::Error;
pub use run::Metering;
