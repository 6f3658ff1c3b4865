//! OpenAI's Responses: a client's dialect.
//!
//! Nothing is stored here, so what refers to an earlier response is refused. Reasoning is an item of its own, and its
//! `encrypted_content` holds the proof, whoever made it: clients that keep no state at OpenAI send such items back.

pub(crate) mod answer_out;
pub(crate) mod request_in;
