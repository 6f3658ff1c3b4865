//! Amazon Bedrock's Converse: a target's dialect.
//!
//! One dialect for the models of many makers, so reasoning and what is beyond the common settings go by the model's name.

pub(crate) mod answer_in;
mod names;
pub(crate) mod request_out;
