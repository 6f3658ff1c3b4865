//! Cohere's chat, second version: a target's dialect.
//!
//! It takes no files and no audio. What it calls the plan of its calls is reasoning here, and goes back to it as a plan.

pub(crate) mod answer_in;
pub(crate) mod request_out;
