//! The tables of `usage.proto`: what gateways report.

use super::{
    WireError,
    field::{Field, put},
    message::{Fields, Message, choice, enumeration, message, message_field},
};
use crate::{
    event::{
        Admitted, Api, Attempt, Avoided, CallEnd, Counter, Event, Found, Hold, Learned, LeaseRequested, Move, Moved,
        Opened, Outcome, Posting, Predecessor, Refused, Reported, Settled, Streamed, Want, Was, Why,
    },
    limit::Unit,
    subject::Subject,
    tokens::{Completeness, Doubt, Part, TokenClass, Usage, Vector},
};

choice!(Event {
    1 Opened,
    2 Admitted,
    3 Streamed,
    4 Settled,
    5 Refused,
    6 LeaseRequested,
    7 Reported,
    8 Learned,
    9 Moved,
});

message!(Opened { 1 gateway, 2 at, 3 predecessor });

message!(Predecessor { 1 producer, 2 last, 3 provisions, 4 used, 5 counters, 6 copied });

message!(Attempt {
    1 call,
    2 attempt,
    3 admitted_at,
    4 subject,
    5 api,
    6 provider,
    7 model,
    8 model_requested,
    9 stream,
    10 book,
    11 gateway,
});

message!(Subject { 1 tenant, 2 team, 3 project, 4 user, 5 key, 6 tags });

message!(Hold { 1 instance, 2 window, 3 amount });

message!(Counter { 1 instance, 2 window, 3 used, 4 returned, 5 held, 6 unknown, 7 version, 8 recall });

message!(Admitted { 1 attempt, 2 holds });

message!(Streamed { 1 call, 2 attempt, 3 at, 4 so_far, 5 reported, 6 posted, 7 holds });

message!(Settled {
    1 attempt,
    2 settled_at,
    3 outcome,
    4 status,
    5 usage,
    6 raw_usage,
    7 model_answered,
    8 service_tier,
    9 region,
    10 provider_cost,
    11 response_id,
    12 ttft_ms,
    13 posted,
    14 counters,
    15 call,
    16 avoided,
    17 found,
    18 apart,
});

message!(Avoided { 1 parts, 2 cost });

message!(Found { 1 producer, 2 seq });

message!(Usage { 1 parts, 2 completeness });

message!(Part { 1 model, 2 vector });

message!(Vector {
    1 uncached_input,
    2 cache_read,
    3 cache_write_5m,
    4 cache_write_1h,
    5 output,
    6 audio_input,
    7 audio_output,
    8 web_searches,
    9 reasoning,
    10 search_units,
    11 guardrails,
    12 image_input,
    13 image_output,
    14 tool_calls,
    15 cache_read_audio,
    16 code_sessions,
});

message!(Posting { 1 instance, 2 window, 3 used, 4 provision });

message!(CallEnd {
    1 attempts,
    2 outcome,
    3 accepted_at,
    4 balance_age_ms,
    5 session_id,
    6 earlier,
    7 earlier_cost,
    8 earlier_unknown,
});

message!(Refused {
    1 at,
    2 call,
    3 subject,
    4 api,
    5 provider,
    6 model,
    7 model_requested,
    8 stream,
    9 count,
    10 code,
    11 observed,
    12 limit,
    13 unit,
    14 amount,
    15 settled,
    16 held,
    17 estimated_cost,
    18 balance_age_ms,
    19 gateway,
});

message!(LeaseRequested { 1 at, 2 number, 3 wants });

message!(Want { 1 limit, 2 values, 3 window, 4 need, 5 want, 6 counter });

message!(Reported { 1 at, 2 low_watermark, 3 counters, 4 last });

message!(Learned { 1 source, 2 id, 3 at, 4 content, 5 was, 6 is, 7 moves, 8 awaits });

message!(Moved { 1 from, 2 number, 3 source, 4 id, 5 call, 6 attempt, 7 moves, 8 learned });

message!(Was { 1 why, 2 usage, 3 book, 4 number, 5 charged_at });

message!(Move { 1 home, 2 limit, 3 values, 4 window, 5 amount, 6 clears });

enumeration!(Why { 1 Rerated, 2 Amended, 3 Released });

enumeration!(Api {
    1 OpenAiChat,
    2 OpenAiEmbeddings,
    3 AnthropicMessages,
    4 AnthropicCountTokens,
    5 OpenAiCompletions,
    6 OpenAiResponses,
    7 OpenAiResponsesCompact,
    8 OpenAiResponsesInputTokens,
    9 OpenAiResponsesRetrieve,
    10 OpenAiImages,
    11 OpenAiSpeech,
    12 OpenAiTranscriptions,
    13 OpenAiModerations,
    14 OpenAiRerank,
    15 AnthropicComplete,
    16 GeminiGenerateContent,
    17 GeminiEmbeddings,
    18 GeminiCountTokens,
    19 BedrockConverse,
    20 BedrockConverseStream,
    21 BedrockInvoke,
    22 BedrockInvokeStream,
    23 BedrockCountTokens,
    24 CohereChat,
    25 CohereEmbed,
    26 CohereRerank,
    27 CohereV1Chat,
    28 OllamaChat,
    29 Passthrough,
    30 PassthroughRetrieve,
});

enumeration!(Outcome { 1 Complete, 2 ProviderError, 3 Timeout, 4 ClientGone, 5 Cut, 6 Unknown });

enumeration!(Doubt {
    1 ClientLeft,
    2 Truncated,
    3 TimedOut,
    4 NotReported,
    5 Unreadable,
    6 FrameTooLarge,
    7 Crashed,
    8 NoAnswer,
    9 NotCounted,
});

enumeration!(TokenClass {
    1 UncachedInput,
    2 CacheRead,
    3 CacheWrite5m,
    4 CacheWrite1h,
    5 Output,
    6 AudioInput,
    7 AudioOutput,
    8 WebSearch,
    9 SearchUnit,
    10 Guardrail,
    11 ImageInput,
    12 ImageOutput,
    13 CacheReadAudio,
    14 CodeSession,
});

enumeration!(Unit { 1 Requests, 2 Tokens, 3 InputTokens, 4 OutputTokens, 5 Usd, 6 Concurrent, 7 ToolCalls });

impl Message for Completeness {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Exact => true.put(1, out),
            Self::LowerBound(doubt) => doubt.put(2, out),
            Self::Estimated(doubt) => doubt.put(3, out),
            Self::Missing(doubt) => doubt.put(4, out),
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Completeness");
        let mut chosen = None;
        while let Some((tag, value)) = fields.next()? {
            chosen = match tag {
                1 => Some(Self::Exact),
                2 => Some(Self::LowerBound(Doubt::get(value, "Completeness.lower_bound")?)),
                3 => Some(Self::Estimated(Doubt::get(value, "Completeness.estimated")?)),
                4 => Some(Self::Missing(Doubt::get(value, "Completeness.missing")?)),
                _ => chosen,
            };
        }
        chosen.ok_or(WireError::Unknown { field: "Completeness", value: 0 })
    }
}

message_field!(Completeness);

/// A tag: its name and its value.
impl Message for (String, String) {
    fn write(&self, out: &mut Vec<u8>) {
        put(&self.0, 1, out);
        put(&self.1, 2, out);
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Tag");
        let mut tag = Self::default();
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => tag.0 = String::get(value, "Tag.name")?,
                2 => tag.1 = String::get(value, "Tag.value")?,
                _ => {}
            }
        }
        Ok(tag)
    }
}

message_field!((String, String));
