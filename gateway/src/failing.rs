//! The reasons by which an answer says that its model has failed to make one, provider by provider.
//!
//! The meter settles by them, and the translation tells its client of them: both ask here, so that no answer is whole to one and an error
//! to the other.

/// Whether a candidate of Gemini's has failed that ended for this reason, which is a name or its number. A call of a tool that was not
/// declared can be there, and then the client gets it.
pub(crate) fn gemini(reason: &str, has_calls: bool) -> bool {
    match reason {
        "UNEXPECTED_TOOL_CALL" => !has_calls,
        "MALFORMED_FUNCTION_CALL"
        | "9"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => true,
        _ => false,
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
