//! Counts agree with the published tables, never fall below them, and take no longer for odd text.

use proptest::prelude::*;
use schemas::tokens::Completeness;

use super::*;
use crate::meter::{Answer, End, Framing, Meter};

const BOTH: [Encoding; 2] = [Encoding::Cl100kBase, Encoding::O200kBase];

fn exactly(encoding: Encoding, text: &str) -> u64 {
    size(table(encoding).expect("a table").encode_ordinary(text).len())
}

#[test]
fn known_texts_have_their_known_counts() {
    for (text, cl100k, o200k) in
        [("", 0, 0), ("hello world", 2, 2), ("tiktoken is great!", 6, 6), ("お誕生日おめでとう", 9, 8)]
    {
        assert_eq!(tokens(Encoding::Cl100kBase, text), Some(cl100k), "{text}");
        assert_eq!(tokens(Encoding::O200kBase, text), Some(o200k), "{text}");
        assert_eq!((tokens(Encoding::None, text), counted(Encoding::None, text)), (None, size(text.len())));
    }
    assert_eq!(encoding_of("gpt-4-0613"), Encoding::Cl100kBase);
    assert_eq!(encoding_of("text-embedding-3-small"), Encoding::Cl100kBase);
    assert_eq!(encoding_of("gpt-5-mini"), Encoding::O200kBase);
    assert_eq!(encoding_of("claude-sonnet-4-5"), Encoding::O200kBase);
}

#[test]
fn long_text_is_counted_in_segments_that_add_up() {
    let prose = "The quick brown fox, it's said, jumps over 12345 lazy dogs.\n\n  Über-wörter (naïve) \u{4f60}\u{597d}\u{3002} ".repeat(500);
    let code = "fn main() {\n    let x = vec![1, 2, 3];\n\tprintln!(\"{x:?}\");\n}\n".repeat(500);
    let chinese =
        "\u{6211}\u{4eec}\u{4eca}\u{5929}\u{53bb}\u{516c}\u{56ed}\u{ff0c}\u{5929}\u{6c14}\u{5f88}\u{597d}\u{3002}"
            .repeat(500);
    for text in [prose, code, chinese] {
        for encoding in BOTH {
            assert_eq!(tokens(encoding, &text), Some(exactly(encoding, &text)), "{}", &text[..20]);
        }
    }
}

/// Text that never divides is bounded by its bytes, and no long piece of it reaches the encoding.
#[test]
fn odd_text_is_bounded_and_cut_short() {
    for piece in
        ["a", "A", " ", "\n", "\t ", "1", "=", "!?", "\u{0301}", "\u{4f60}", "\u{1f600}", "aA1 ", "\u{200b}", "'s"]
    {
        let text = piece.repeat(4 * SEGMENT / piece.len());
        let encoded = segments(&text).map(|segment| if let Segment::Encode(text) = segment { text.len() } else { 0 });
        assert!(encoded.max() <= Some(SEGMENT), "{piece:?}");
        for encoding in BOTH {
            let counted = counted(encoding, &text);
            assert!(counted <= size(text.len()) && counted >= exactly(encoding, &text), "{piece:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Never less than the encoding itself counts, in whatever mixture.
    #[test]
    fn a_measure_is_an_upper_bound(
        pieces in prop::collection::vec(("\\PC{0,12}|[a-zA-Z' ,.\n\r\t=/-]{0,12}|[\u{4e00}-\u{4e20}\u{3002}\u{430}-\u{440}]{0,8}", 1_usize..250), 1..12),
    ) {
        let text: String = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
        for encoding in BOTH {
            let (measured, exact) = (counted(encoding, &text), exactly(encoding, &text));
            prop_assert!(measured >= exact);
            if segments(&text).all(|segment| matches!(segment, Segment::Encode(_))) {
                prop_assert_eq!(measured, exact);
            }
        }
    }
}

#[test]
fn an_unreported_answer_is_estimated_from_both_sides() {
    let answer = Answer { api: Api::OpenAiChat, status: 200, framing: Framing::Events, strip_usage: false };
    let mut meter = Meter::new(answer);
    for word in ["Hello", ",", " world", "!"] {
        let frame = format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
        );
        meter.push(frame.into());
    }
    meter.push("data: [DONE]\n\n".into());
    meter.close();
    let measured = meter.measured(End::Closed);
    let request = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello world"},
        {"role":"user","content":[{"type":"text","text":"hello world"},{"type":"image_url","image_url":{"url":"data:..."}}]}]}"#;
    let usage = usage(Api::OpenAiChat, "gpt-4o", request, &measured.visible);
    assert_eq!(usage.completeness, Completeness::Estimated(Doubt::NotReported));
    // Two messages and the opening of the answer, two roles, two texts of two tokens, one image.
    let input = 3 * MESSAGE_TOKENS + 2 + 4 + IMAGE_TOKENS;
    assert_eq!(usage.total(), Some(Vector { uncached_input: input, output: 4, ..Vector::default() }));
}

/// Tokens do not reach from one answer into another.
#[test]
fn several_answers_in_one_stream_are_estimated_each_by_its_own_text() {
    let answer = Answer { api: Api::OpenAiChat, status: 200, framing: Framing::Events, strip_usage: false };
    let output = |pieces: &[(u64, &str)]| {
        let mut meter = Meter::new(answer);
        meter.choices(2);
        for (index, word) in pieces {
            let choice = format!("{{\"index\":{index},\"delta\":{{\"content\":\"{word}\"}}}}");
            meter.push(format!("data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{choice}]}}\n\n").into());
        }
        meter.close();
        let measured = meter.measured(End::Broken);
        usage(Api::OpenAiChat, "gpt-4o", b"{}", &measured.visible).total().map(|total| total.output)
    };
    assert_eq!(output(&[(0, "a"), (1, "a")]), Some(2));
    let interleaved = [(0, "hel"), (1, "hel"), (0, "lo"), (1, "lo"), (0, " world"), (1, " world")];
    assert_eq!(output(&interleaved), Some(4));
}

#[test]
fn inputs_of_every_api_are_counted() {
    for (api, request, input) in [
        (Api::OpenAiEmbeddings, r#"{"input":"hello world"}"#, 2),
        (Api::OpenAiEmbeddings, r#"{"input":["hello world","hello"]}"#, 3),
        (Api::OpenAiEmbeddings, r#"{"input":[[1,2,3],[4]]}"#, 4),
        (
            Api::AnthropicMessages,
            r#"{"system":"hello","messages":[{"role":"user","content":"hello world"}]}"#,
            2 * 3 + 1 + 1 + 2,
        ),
        (Api::GeminiEmbeddings, r#"{"instances":[{"content":"hello world"},{"content":"hello"}]}"#, 3),
        (Api::GeminiEmbeddings, r#"{"instances":[{"prompt":"hello"}]}"#, 0),
        (Api::OpenAiChat, "not json", 2),
    ] {
        let vector = usage(api, "text-embedding-3-small", request.as_bytes(), &Visible::default()).total();
        assert_eq!(vector, Some(Vector { uncached_input: input, ..Vector::default() }), "{request}");
    }
}

#[test]
fn a_short_text_is_counted_at_once_only_when_its_table_is_there() {
    let text = "each token that passes";
    assert_eq!((is_to_load(Encoding::None), at_once(Encoding::None, text)), (false, None));
    load(Encoding::Cl100kBase);
    assert_eq!((is_to_load(Encoding::Cl100kBase), at_once(Encoding::Cl100kBase, text)), (false, Some(4)));
}
