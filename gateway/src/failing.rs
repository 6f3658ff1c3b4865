//! The reasons that answers give for their end, provider by provider, and which of them say that the model has failed to make one.
//!
//! The meter settles by them, and the translation tells its client of them: both ask here, so that no answer is whole to one and an error
//! to the other.

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Where it was to end.
    Itself,
    /// With calls of tools.
    Tool,
    /// At a sequence that was to end it.
    Sequence,
    /// At its cap.
    Length,
    /// By a filter.
    Filter,
    /// For a reason that is none of these; what was said is an answer.
    Otherwise,
    /// Without an answer: its model has failed.
    Failed,
}

impl Ended {
    /// For a reason that is not known: an answer in which nothing was said has failed.
    pub(crate) const fn unknown(said: bool) -> Self {
        if said { Self::Otherwise } else { Self::Failed }
    }
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
/// and then the client gets it.
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
        _ => Ended::unknown(said.anything),
    }
}

/// How an answer of Converse ended for this reason, where anything was said or not.
pub(crate) fn converse(reason: &str, said: bool) -> Ended {
    match reason {
        "end_turn" => Ended::Itself,
        "tool_use" => Ended::Tool,
        "stop_sequence" => Ended::Sequence,
        "max_tokens" | "model_context_window_exceeded" => Ended::Length,
        "guardrail_intervened" | "content_filtered" => Ended::Filter,
        "malformed_tool_use" | "malformed_model_output" => Ended::Failed,
        _ => Ended::unknown(said),
    }
}

/// The same of Cohere.
pub(crate) fn cohere(reason: &str, said: bool) -> Ended {
    match reason {
        "COMPLETE" => Ended::Itself,
        "TOOL_CALL" => Ended::Tool,
        "STOP_SEQUENCE" => Ended::Sequence,
        "MAX_TOKENS" => Ended::Length,
        "ERROR_TOXIC" => Ended::Filter,
        "ERROR" | "TIMEOUT" => Ended::Failed,
        _ => Ended::unknown(said),
    }
}

/// The same of a choice of a chat, in which an empty reason is none. OpenAI's never fail so; who passes on other models' answers has
/// a word for it.
pub(crate) fn chat(reason: &str, said: bool) -> Ended {
    match reason {
        "stop" | "eos" | "end_turn" => Ended::Itself,
        "tool_calls" | "function_call" => Ended::Tool,
        "length" | "max_tokens" | "model_length" => Ended::Length,
        "content_filter" => Ended::Filter,
        "error" => Ended::Failed,
        "" => Ended::Otherwise,
        _ => Ended::unknown(said),
    }
}
