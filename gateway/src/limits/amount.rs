//! What a call takes of a limit at most, in the limit's unit.

use schemas::{
    bound::{AtMost, Bound, Known},
    error_code::ErrorCode,
    ledger::Unpriced,
    limit::{Limit, Mode, OnUnbounded, Unit},
};

/// The price is known; what it is multiplied by has no end.
const TOO_LARGE: &str = "it could cost more than can be counted; state a smaller `max_tokens` or `n`";

/// What of a limit says what each call takes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) unit: Unit,
    pub(crate) mode: Mode,
    pub(crate) unbounded: OnUnbounded,
    pub(crate) slices: bool,
    /// Whether leases of it stand.
    pub(crate) stands: bool,
}

impl From<&Limit> for Terms {
    fn from(limit: &Limit) -> Self {
        Self {
            unit: limit.unit,
            mode: limit.mode,
            unbounded: limit.unbounded,
            slices: limit.slices,
            stands: limit.window.stands(),
        }
    }
}

/// What a call takes of a limit at most, in its unit, or why that cannot be said.
pub(crate) fn amount(of: impl Into<Terms>, bound: &Bound) -> Result<i128, (ErrorCode, String)> {
    let limit: Terms = of.into();
    if matches!(limit.unit, Unit::Requests | Unit::Concurrent) {
        return Ok(1);
    }
    let unbounded = match bound {
        Bound::AtMost(at_most) => return in_unit(limit.unit, at_most),
        Bound::Unbounded(unbounded) => unbounded,
    };
    if let Some(known) = known_in(limit.unit, &unbounded.known) {
        return Ok(known);
    }
    match (limit.unbounded, &unbounded.most) {
        (OnUnbounded::Hold, Some(most)) => in_unit(limit.unit, most),
        (OnUnbounded::Hold, None) | (OnUnbounded::Refuse, _) => {
            let detail = format!("{unbounded}; {}, or set `unbounded: admit` on the limit", unbounded.remedy());
            Err((ErrorCode::BoundUnknown, detail))
        }
        (OnUnbounded::Admit, most) => Ok(most.as_ref().and_then(|most| in_unit(limit.unit, most).ok()).unwrap_or(0)),
    }
}

/// Whether it is known that a call takes nothing of a limit: not where it only holds nothing, since nobody knows how much it takes.
pub(crate) fn is_nothing(of: impl Into<Terms>, bound: &Bound) -> bool {
    let limit: Terms = of.into();
    let most = match bound {
        Bound::AtMost(most) => Some(most),
        Bound::Unbounded(unbounded) if known_in(limit.unit, &unbounded.known) == Some(0) => return true,
        Bound::Unbounded(unbounded) => unbounded.most.as_ref(),
    };
    most.is_some_and(|most| matches!(in_unit(limit.unit, most), Ok(0)))
}

/// What is bounded in a unit of a request that is not as a whole.
fn known_in(unit: Unit, known: &Known) -> Option<i128> {
    let output = || known.output.map(|(tokens, _)| i128::from(tokens));
    match unit {
        Unit::Tokens => Some(i128::from(known.input?) + output()?),
        Unit::InputTokens => known.input.map(i128::from),
        Unit::OutputTokens => output(),
        Unit::ToolCalls => known.tool_calls.map(i128::from),
        Unit::Requests | Unit::Concurrent | Unit::Usd => None,
    }
}

pub(super) fn in_unit(unit: Unit, at_most: &AtMost) -> Result<i128, (ErrorCode, String)> {
    match unit {
        Unit::Requests | Unit::Concurrent => Ok(1),
        Unit::Tokens => Ok(i128::from(at_most.input) + i128::from(at_most.output)),
        Unit::InputTokens => Ok(i128::from(at_most.input)),
        Unit::OutputTokens => Ok(i128::from(at_most.output)),
        Unit::ToolCalls => Ok(i128::from(at_most.tool_calls)),
        Unit::Usd => at_most.cost.map(|cost| cost.0).map_err(|why| match why {
            Unpriced::TooLarge => (ErrorCode::BoundUnknown, TOO_LARGE.to_owned()),
            _ => (ErrorCode::PriceUnknown, why.name().to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{
        bound::{self, Beside, Measure, OutputCap, Unbounded, Why},
        event::Api,
        fixture,
        json::Tree,
        limit::Window,
        money::Pico,
        price::{Book, Key, ModelFacts},
        time::Time,
    };

    use super::*;

    #[test]
    fn what_a_call_takes_is_in_the_limits_unit_or_says_why_not() {
        let unbounded = OnUnbounded::Refuse;
        let usd = Limit { unit: Unit::Usd, unbounded, ..fixture::limit(1, Window::Total) };
        let check = |cost, wanted| {
            let most = AtMost {
                input: 1,
                output: u64::MAX,
                requests: 1,
                tool_calls: 0,
                cost,
                output_price: Pico(0),
                output_cap: OutputCap::Stated(1),
            };
            let got =
                amount(&usd, &Bound::AtMost(most)).map_err(|(code, detail)| (code, detail.contains("max_tokens")));
            assert_eq!(got, wanted, "{cost:?}");
        };
        check(Ok(Pico(7)), Ok(7));
        check(Err(Unpriced::UnknownModel), Err((ErrorCode::PriceUnknown, false)));
        check(Err(Unpriced::TooLarge), Err((ErrorCode::BoundUnknown, true)));
    }

    #[test]
    fn what_nobody_knows_is_not_nothing() {
        let input = AtMost { input: 1, ..AtMost::NOTHING };
        let unbounded = |most| {
            Bound::Unbounded(Unbounded { field: "n".to_owned(), why: Why::UnknownShape, most, known: Known::default() })
        };
        let check = |unit, bound: &Bound, wanted| {
            let limit = Limit { unit, unbounded: OnUnbounded::Admit, ..fixture::limit(1, Window::Total) };
            assert_eq!(is_nothing(&limit, bound), wanted, "{unit:?} {bound:?}");
        };
        for (unit, wanted) in [
            (Unit::Requests, false),
            (Unit::Concurrent, false),
            (Unit::Tokens, false),
            (Unit::InputTokens, false),
            (Unit::OutputTokens, true),
            (Unit::ToolCalls, true),
            (Unit::Usd, true),
        ] {
            check(unit, &Bound::AtMost(input), wanted);
            check(unit, &unbounded(Some(input)), wanted);
            check(unit, &unbounded(None), false);
        }
        check(Unit::Usd, &Bound::AtMost(AtMost { cost: Err(Unpriced::UnknownModel), ..input }), false);
    }

    /// What a request takes of tokens, input, output, calls of tools and dollars: `n`othing, `s`ome, or `-`, which is refused. Of the model
    /// no more is known than its name.
    #[track_caller]
    fn check(api: Api, model: &str, body: &str, wanted: &str) {
        let (tree, book) = (Tree::read(body.as_bytes()).unwrap(), Book::builtin());
        let at = Time::from_micros(1_795_305_600_000_000);
        let key = Key { provider: api.vendor(), vendor: api.vendor(), model, tier: "", at };
        let asked = (&tree, &Beside::default());
        let bound = bound::bound(api, asked, &ModelFacts::default(), &book, &key, Measure::Bytes).unwrap();
        let taken = |unit| {
            let limit = Limit { unit, ..fixture::limit(100_000, Window::Day) };
            let amount = amount(&limit, &bound);
            assert_eq!(amount == Ok(0), is_nothing(&limit, &bound), "{body}: {unit:?}");
            match amount {
                Ok(0) => 'n',
                Ok(_) => 's',
                Err(_) => '-',
            }
        };
        let units = [Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::ToolCalls, Unit::Usd];
        assert_eq!(units.map(taken).iter().collect::<String>(), wanted, "{model} {body}: {bound:?}");
    }

    #[test]
    fn no_request_is_refused_by_a_limit_of_what_it_cannot_use() {
        const SMALL: &str = "text-embedding-3-small";
        let moderation = |body, wanted| check(Api::OpenAiModerations, SMALL, body, wanted);
        moderation(r#"{"model":"m","input":"hello"}"#, "ssnns");
        moderation(r#"{"input":["a",{"type":"text","text":"b"}]}"#, "ssnns");
        moderation(r#"{"input":[{"type":"image_url","image_url":{"url":"https://x.test/y.png"}}]}"#, "--nn-");
        moderation(r#"{"input":"a","later":1}"#, "--nn-");
        check(Api::OpenAiEmbeddings, SMALL, r#"{"input":["a",[1,2],"b"]}"#, "ssnns");
        check(Api::OpenAiEmbeddings, SMALL, r#"{"input":"a","later":1}"#, "--nn-");
        let parts = r#""content":{"parts":[{"text":"a"}]}"#;
        let batch = format!(r#"{{"requests":[{{{parts}}},{{{parts}}}]}}"#);
        check(Api::GeminiEmbeddings, "gemini-embedding-001", &batch, "ssnns");
        check(Api::CohereEmbed, "embed-v4.0", r#"{"texts":["a","b"]}"#, "ssnns");
        check(Api::CohereEmbed, "embed-v4.0", r#"{"images":["data:image/png;base64,AA"]}"#, "--nn-");
        let ranking = r#"{"query":"q","documents":["a","b"]}"#;
        check(Api::CohereRerank, "rerank-v3.5", ranking, "ssnns");
        check(Api::OpenAiRerank, "m", ranking, "--nn-");
        check(Api::OpenAiImages, "gpt-image-1", r#"{"prompt":"a gate"}"#, "sssn-");
        check(Api::OpenAiImages, "dall-e-3", r#"{"prompt":"a gate"}"#, "-s-n-");
        check(Api::OpenAiSpeech, "tts-1", r#"{"input":"hello"}"#, "-s-n-");
        check(Api::OpenAiTranscriptions, "whisper-1", r#"{"file":true}"#, "---n-");
        for api in [Api::AnthropicCountTokens, Api::GeminiCountTokens, Api::OpenAiResponsesInputTokens] {
            check(api, "m", "{}", "nnnnn");
        }
        check(Api::Passthrough, "m", "{}", "-----");
    }

    #[test]
    fn what_a_chat_is_bounded_in_it_is_held_by() {
        let chat = |content: &str, more: &str, wanted| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]{more}}}"#);
            check(Api::OpenAiChat, "unheard", &body, wanted);
        };
        let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
        let image = r#"[{"type":"image_url","image_url":{"url":"https://x.test/y.png"}}]"#;
        chat(r#""hi""#, "", "-s-n-");
        chat(r#""hi""#, tools, "-s---");
        chat(image, r#","max_tokens":5"#, "--sn-");
        chat(image, &format!(r#","max_tokens":5{tools}"#), "--ss-");
        chat(r#""hi""#, r#","max_tokens":5,"later":1"#, "-----");
        // What is stored may bring tools along.
        let cached = r#"{"contents":[],"cachedContent":"c","generationConfig":{"maxOutputTokens":5}}"#;
        check(Api::GeminiGenerateContent, "unheard", cached, "--ss-");
    }

    #[test]
    fn a_refusal_says_what_is_not_bounded_and_what_to_do() {
        let told = |field: &str, why| {
            let unbounded = Unbounded { field: field.to_owned(), why, most: None, known: Known::default() };
            amount(&fixture::limit(1, Window::Day), &Bound::Unbounded(unbounded)).unwrap_err().1
        };
        assert_eq!(
            told("messages[0].content[1].image_url", Why::Reference),
            "`messages[0].content[1].image_url` refers to content that is not in the request; send the content itself, or set \
             `unbounded: admit` on the limit"
        );
        assert!(told("", Why::UnknownShape).contains("; use an API whose requests are bounded, or set"));
        assert!(told("", Why::OutputMaximumUnknown).contains("; state the model's `max_output_tokens`, or set"));
        assert!(told("max_tokens", Why::OutputMaximumUnknown).contains("; state a cap, or the model's"));
    }
}
