//! Gemini's generateContent, at Google AI Studio and Vertex AI: a target's dialect.
//!
//! A call has its proof beside it, and a later model does not go on without it; a call that another provider's model made gets the
//! word that Google has for that.

pub(crate) mod answer_in;
pub(crate) mod request_out;
