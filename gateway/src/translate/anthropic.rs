//! Anthropic's messages: as a client's dialect and as a target's.
//!
//! It has a place for reasoning and its proof. A client gets the proofs of other makers in the same place, as the signature of a thinking
//! block or the data of a redacted one, and sends them back unchanged, as it must with Anthropic's own.

pub(crate) mod answer_in;
pub(crate) mod answer_out;
pub(crate) mod request_in;
pub(crate) mod request_out;
