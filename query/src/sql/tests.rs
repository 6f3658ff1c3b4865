//! Questions to a small world: what is answered, what is refused, and that other tenants leave no trace in either.

mod agrees;
pub(crate) mod alive;
mod exact;
pub(crate) mod hostile;
mod numbers;
mod questions;
mod rowless;
mod runs;
pub(crate) mod world;
mod zones;
