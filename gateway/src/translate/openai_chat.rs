//! OpenAI's chat completions, which many others speak: as a client's dialect and as a target's.
//!
//! Reasoning has no place in it that OpenAI defines. It is given as `reasoning_content`, as most who speak the dialect do, and with its
//! proof in `reasoning_details`, in the form that OpenRouter's clients know: whoever sends a message back as it came sends the proof along.

pub(crate) mod answer_in;
pub(crate) mod answer_out;
mod calls;
mod details;
mod order;
pub(crate) mod request_in;
pub(crate) mod request_out;
