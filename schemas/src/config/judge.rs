//! The judge of a model: its targets are all asked at once, and their answers are put before one more model, whose answer is the client's.

use serde::{Deserialize, Serialize};

use super::{
    model::{Known, Target, at_provider},
    reader::{Fields, Reader},
    routing,
    yaml::Node,
};
use crate::error_code::ErrorCode;

/// Who judges the answers of a model's targets, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judge {
    /// Where it is asked. Its model is always named.
    pub target: Target,
    /// The most bytes of one answer. A longer one is left out; for so much of each the judge's input is reserved.
    pub max_answer: u64,
    /// What it is told to do with the answers; nothing is the gateway's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

/// The most bytes of one answer, where nothing else is said: some 8,000 tokens of text.
const MAX_ANSWER: u64 = 32 << 10;
/// And the most that may be said: with every target a model can have it is 16 MiB a call.
const MOST_ANSWER: u64 = 1 << 20;
/// The longest instruction. It is paid for with every call.
const MOST_INSTRUCTION: usize = 16 << 10;

/// Reads it.
pub(super) fn judge(reader: &mut Reader, node: &Node, known: Known<'_>) -> Option<Judge> {
    let fields = reader.fields(node, "judge", &["provider", "model", "timeouts", "max_answer", "instruction"])?;
    let (provider, model) = at_provider(reader, &fields, known);
    if model.is_none() && fields.get("model").is_none() {
        let remedy = "name its model: no client names it";
        reader.mistake(fields.at, ErrorCode::MissingConfigKey, "judge lacks \"model\"", remedy);
    }
    let mut target = Target::new(provider?, Some(model?));
    target.timeouts = routing::patience_of(reader, &fields);
    let max_answer = reader.or(&fields, "max_answer", MAX_ANSWER, Reader::size);
    if max_answer > MOST_ANSWER {
        let at = fields.place("max_answer").unwrap_or(fields.at);
        reader.bad(at, "max_answer is more than 1MiB", "the judge is sent so much of each answer; keep 1MiB at most");
    }
    let instruction = reader.maybe(&fields, "instruction", Reader::text);
    if instruction.as_ref().is_some_and(|text| text.len() > MOST_INSTRUCTION) {
        let at = fields.place("instruction").unwrap_or(fields.at);
        reader.bad(at, "an instruction of more than 16KiB", "shorten it");
    }
    Some(Judge { target, max_answer, instruction })
}

/// What a model says beside its judge that has no meaning then.
pub(super) fn beside(reader: &mut Reader, fields: &Fields<'_>) {
    if let Some(at) = fields.place("cache") {
        let what = "the answers of a model with a judge are not kept";
        reader.bad(at, what, "take cache or judge out");
    }
    for name in ["strategy", "sticky", "retry"] {
        if let Some(at) = fields.place(name) {
            let what = format!("{name:?} has no effect on a model with a judge: every target is asked, once");
            reader.warn(at, ErrorCode::ConfigHasNoEffect, what, "take it out");
        }
    }
}
