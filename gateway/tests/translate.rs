//! Translation, over what was recorded and over golden matrices: nothing is lost on the way, or it is said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "translate/accumulate.rs"]
mod accumulate;
#[path = "translate/corpus.rs"]
mod corpus;
#[path = "translate/failed.rs"]
mod failed;
#[path = "translate/fields.rs"]
mod fields;
#[path = "translate/golden.rs"]
mod golden;
#[path = "translate/listed.rs"]
mod listed;
#[path = "translate/reasoned.rs"]
mod reasoned;
#[path = "translate/recorded.rs"]
mod recorded;
#[path = "translate/refused.rs"]
mod refused;
