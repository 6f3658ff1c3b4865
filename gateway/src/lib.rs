//! The door: a call passes, byte for byte, and is witnessed.
//!
//! The life of a call, in travel order:
//! 1. `server` accepts a connection and deals it to a worker; `connection` speaks HTTP/1.1 or HTTP/2 with it; `head`
//!    refuses what has no one meaning; `http` is the stack.
//! 2. `authenticate` finds whose key it is; `body` reads and decodes what was sent, within bounds.
//! 3. [`request`] reads what is acted on; `route` orders the targets, by what `health` knows of them, and the one whose turn it is has a
//!    price; `schemas::bound` bounds the call there. What the model's `cache` still has is given again, and the call is over. `call::tries` takes steps 4 to 6 at one target after the other, until one answers.
//! 4. `admit` takes a hold on every limit ([`limits`]), or the call is refused; `refusals` counts those.
//! 5. `attempt` writes `Admitted` through `emit` into the journal, before the provider is called.
//! 6. `upstream` (or the `sandbox` behind the same seam) sends it; `heading` waits for the head of the answer.
//! 7. `relay` passes each frame as it comes and shows it, through `witness`, to the [`meter`].
//! 8. `attempt` settles ([`settlement`]), exactly once, whatever ended it, before the last frame is released. If the client left, `drainer` has
//!    taken over; if the process dies, `recover` settles at the next start.
//! 9. `sweep` keeps deadlines and watermarks, `report` tells metering each second, [`obey`] follows what metering decides.
//!
//! [`translate`] says a call in the dialect of a provider that speaks another, and its answer in the client's; `carry` is where it meets
//! steps 3 and 7.
//!
//! Beside calls: `tell` takes usage that passed elsewhere, as [`external`] reads it; other proxies ask for calls of theirs through `proxy`.
//!
//! `call` is steps 2 to 6 in order; `error` makes answers of what goes wrong, and `failing` knows by which words a provider says that its
//! model did; `models` lists what a key may use; `metrics` counts.

mod admit;
mod attempt;
mod authenticate;
mod beside;
mod body;
mod cache;
mod call;
mod carry;
mod connection;
mod drainer;
pub mod emit;
mod ensemble;
mod error;
pub mod external;
mod failing;
pub mod fault;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod head;
mod heading;
mod health;
mod http;
pub mod identity;
mod json;
mod latest;
pub mod limits;
mod lookup;
mod makers;
pub mod meter;
mod metrics;
mod models;
pub mod obey;
mod proxy;
pub mod recover;
mod refusals;
mod relay;
mod report;
pub mod request;
mod route;
mod sandbox;
mod script;
mod server;
pub mod settlement;
mod splice;
mod sweep;
mod tell;
pub mod terms;
pub mod translate;
mod upstream;
mod way;
mod witness;
mod worker;

pub use server::{Drained, Gateway, GatewayDeps, GatewayError};
pub use upstream::{BadProvider, Environment, Surroundings};
