//! The reasons by which an answer says that its model has failed to make one, provider by provider.
//!
//! The meter settles by them, and the translation tells its client of them: both ask here, so that no answer is whole to one and an error
//! to the other.

/// How a candidate of Gemini's ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Where it was to end.
    Itself,
    /// At its cap.
    Length,
    /// By a filter.
    Filter,
    /// For a reason that is none of these; what was said is an answer.
    Otherwise,
    /// Without an answer: its model has failed.
    Failed,
}

/// What was said before an answer gave the reason for its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// Whether a tool was called.
    pub(crate) calls: bool,
    /// Whether there was anything but thoughts.
    pub(crate) anything: bool,
}

/// How a candidate of Gemini's ended for this reason, which is a name or its number. A call of a tool that was not declared can be there,
/// and then the client gets it; for a reason that is not known, with nothing said, nobody gets anything.
pub(crate) fn gemini(reason: &str, said: Said) -> Ended {
    match reason {
        "STOP" | "1" => Ended::Itself,
        "MAX_TOKENS" | "2" => Ended::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" | "LANGUAGE"
        | "MODEL_ARMOR" | "3" | "4" | "6" | "7" | "8" => Ended::Filter,
        "UNEXPECTED_TOOL_CALL" if !said.calls => Ended::Failed,
        "MALFORMED_FUNCTION_CALL"
        | "9"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => Ended::Failed,
        _ if said.anything => Ended::Otherwise,
        _ => Ended::Failed,
    }
}

/// Whether an answer of Converse has failed that stopped for this reason.
pub(crate) fn converse(reason: &str) -> bool {
    matches!(reason, "malformed_tool_use" | "malformed_model_output")
}

/// Whether an answer of Cohere's has failed that finished for this reason.
pub(crate) fn cohere(reason: &str) -> bool {
    matches!(reason, "ERROR" | "TIMEOUT")
}

/// Whether a choice of a chat has failed that finished for this reason. OpenAI has none such; who passes on other models' answers has.
pub(crate) fn chat(reason: &str) -> bool {
    reason == "error"
}

/// The reasons that are known not to be a failure, as the translation has them: for any other one an answer in which nothing was said has
/// failed.
const CONVERSE: [&str; 7] = [
    "end_turn",
    "max_tokens",
    "model_context_window_exceeded",
    "tool_use",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
];
const COHERE: [&str; 5] = ["COMPLETE", "MAX_TOKENS", "TOOL_CALL", "STOP_SEQUENCE", "ERROR_TOXIC"];
const CHAT: [&str; 9] = [
    "stop",
    "eos",
    "end_turn",
    "length",
    "max_tokens",
    "model_length",
    "tool_calls",
    "function_call",
    "content_filter",
];

/// The same of Converse where it is known whether anything was said.
pub(crate) fn converse_after(reason: &str, said: bool) -> bool {
    converse(reason) || !said && !CONVERSE.contains(&reason)
}

/// The same of Cohere.
pub(crate) fn cohere_after(reason: &str, said: bool) -> bool {
    cohere(reason) || !said && !COHERE.contains(&reason)
}

/// The same of a chat, in which an empty reason is none.
pub(crate) fn chat_after(reason: &str, said: bool) -> bool {
    chat(reason) || !said && !reason.is_empty() && !CHAT.contains(&reason)
}
