//! Frames as they come on the wire, in any pieces, and what is made of answers that do not end well.

use proptest::prelude::*;
use schemas::tokens::{Completeness, Part};

use super::{split::FRAME_MAX, *};

const CHAT: Answer = Answer { api: Api::OpenAiChat, status: 200, framing: Framing::Events, strip_usage: false };
const STRIP: Answer = Answer { strip_usage: true, ..CHAT };
const MESSAGES: Answer = Answer { api: Api::AnthropicMessages, ..CHAT };
const WHOLE: Answer = Answer { framing: Framing::Whole, ..CHAT };

mod listed;

const HELLO: &str = r#"{"id":"c1","model":"m1","choices":[{"index":0,"delta":{"content":"Hello"}}],"usage":null}"#;
const STOP: &str = r#"{"id":"c1","model":"m1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c1","model":"m1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
const START: &str = r#"{"type":"message_start","message":{"id":"a1","model":"m1","usage":{"input_tokens":9,"cache_read_input_tokens":5,
"cache_creation_input_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":3},"output_tokens":2}}}"#;

/// A stream of these events, one data line each.
fn stream(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {}\n\n", event.replace('\n', ""))).collect()
}

/// What came out, by verdict, and the result.
struct Run {
    frames: Vec<Frame>,
    measured: Measured,
}

impl Run {
    fn bytes(&self, of: &[Verdict]) -> Vec<u8> {
        let frames = self.frames.iter().filter(|frame| of.contains(&frame.verdict));
        frames.flat_map(|frame| frame.bytes.iter().copied()).collect()
    }
}

fn run<'a>(answer: Answer, end: End, chunks: impl IntoIterator<Item = &'a [u8]>) -> Run {
    let (mut meter, mut frames) = (Meter::new(answer), Vec::new());
    for chunk in chunks {
        meter.push(Bytes::copy_from_slice(chunk));
        frames.extend(std::iter::from_fn(|| meter.pop()));
    }
    meter.close();
    frames.extend(std::iter::from_fn(|| meter.pop()));
    Run { frames, measured: meter.measured(end) }
}

fn once(answer: Answer, body: &str) -> Measured {
    run(answer, End::Closed, [body.as_bytes()]).measured
}

fn framings() -> impl Strategy<Value = Framing> {
    prop::sample::select(vec![Framing::Whole, Framing::Events, Framing::Lines, Framing::Messages, Framing::List])
}

fn counts(input: u64, output: u64) -> Vector {
    Vector { uncached_input: input, output, ..Vector::default() }
}

#[test]
fn frames_end_at_blank_lines_of_any_kind() {
    for (case, body) in [
        ("line feeds", format!("data: {HELLO}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n")),
        ("both", format!("data: {HELLO}\r\n\r\ndata: {USAGE}\r\n\r\ndata: [DONE]\r\n\r\n")),
        ("carriage returns", format!("data: {HELLO}\r\rdata: {USAGE}\r\rdata: [DONE]\r\r")),
        ("mixed", format!("data: {HELLO}\n\r\ndata: {USAGE}\r\n\ndata: [DONE]\r\n\r")),
        ("a byte order mark", format!("\u{feff}data: {HELLO}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n")),
        ("no space", format!("data:{HELLO}\n\ndata:{USAGE}\n\ndata:[DONE]\n\n")),
        ("no blank line at the end", format!("data: {HELLO}\n\ndata: {USAGE}\n\ndata: [DONE]")),
        (
            "comments and names",
            format!(": hi\n\nevent: x\nid: 1\ndata: {HELLO}\n\n\n\ndata: {USAGE}\n\ndata: [DONE]\n\n"),
        ),
        (
            "several data lines",
            format!(
                "data: {HELLO}\n\ndata: {{\"choices\":[],\ndata: \"usage\":\ndata:{{\"prompt_tokens\":7,\ndata\ndata: \"completion_tokens\":3}}}}\n\n\
                 data: [DONE]\n\n"
            ),
        ),
    ] {
        for answer in [CHAT, STRIP] {
            for size in [1, 2, 3, 5, 64, body.len()] {
                let run = run(answer, End::Closed, body.as_bytes().chunks(size));
                assert_eq!(run.measured.usage, Usage::exact(counts(7, 3)), "{case} in {size}");
                assert_eq!(
                    (run.measured.finish, run.measured.model_answered.as_str()),
                    (Finish::Complete, "m1"),
                    "{case}"
                );
                let all: Vec<u8> = run.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
                assert_eq!(String::from_utf8_lossy(&all), body, "{case} in {size}");
            }
        }
    }
}

#[test]
fn the_last_frame_comes_out_apart() {
    let body = stream(&[HELLO, STOP, "[DONE]"]);
    let run = run(CHAT, End::Closed, [body.as_bytes()]);
    let frames: Vec<_> = run.frames.iter().map(|frame| (frame.bytes.len(), frame.verdict)).collect();
    assert_eq!(frames, [(body.len() - 14, Verdict::Pass), (14, Verdict::Last)]);
    assert_eq!(run.measured.usage, Usage::missing(Doubt::NotReported));
}

#[test]
fn an_error_event_of_messages_is_their_last_frame() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let run = run(MESSAGES, End::Closed, [stream(&[START, error]).as_bytes()]);
    assert_eq!(run.bytes(&[Verdict::Pass]), stream(&[START]).into_bytes());
    assert_eq!(run.bytes(&[Verdict::Last]), stream(&[error]).into_bytes());
}

#[test]
fn a_line_feed_that_comes_a_chunk_late_belongs_to_the_frame_before() {
    let (hello, usage) = (format!("data: {HELLO}\r\r"), format!("data: {USAGE}\r\r"));
    for (chunks, passes, withheld) in [
        ([&*hello, "\n", &*usage], format!("{hello}\n"), usage.clone()),
        ([&*hello, &*format!("\n{usage}"), "\ndata: x\n\n"], format!("{hello}\ndata: x\n\n"), format!("{usage}\n")),
    ] {
        let run = run(STRIP, End::Closed, chunks.map(str::as_bytes));
        assert_eq!(String::from_utf8_lossy(&run.bytes(&[Verdict::Pass])), passes);
        assert_eq!(String::from_utf8_lossy(&run.bytes(&[Verdict::Strip])), withheld);
    }
}

/// A frame of usage is withheld only if it says nothing else.
fn check_strip(frame: &str, withheld: bool) {
    let body = stream(&[HELLO, frame, STOP, "[DONE]"]);
    for size in [1, 9, body.len()] {
        let run = run(STRIP, End::Closed, body.as_bytes().chunks(size));
        let expected = if withheld { stream(&[frame]) } else { String::new() };
        assert_eq!(String::from_utf8_lossy(&run.bytes(&[Verdict::Strip])), expected, "{frame}");
        let passed = if withheld { stream(&[HELLO, STOP, "[DONE]"]) } else { body.clone() };
        assert_eq!(String::from_utf8_lossy(&run.bytes(&[Verdict::Pass, Verdict::Last])), passed, "{frame}");
    }
    let kept = run(CHAT, End::Closed, [body.as_bytes()]);
    assert_eq!(kept.bytes(&[Verdict::Pass, Verdict::Last]), body.as_bytes());
}

#[test]
fn only_usage_and_nothing_else_is_withheld() {
    check_strip(USAGE, true);
    check_strip(
        r#"{ "usage" : {"prompt_tokens":7,"completion_tokens":3}, "choices" : [ ], "object":"x","created":1,"service_tier":"default",
           "system_fingerprint":null,"obfuscation":"abc","moderation":null}"#,
        true,
    );
    for kept in [
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3},"prompt_filter_results":[]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3},"x_groq":{"id":"r"}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3},"error":{"code":"x"}}"#,
        r#"{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
        r#"{"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
        r#"{"choices":[],"usage":{"note":"no counts"}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"\"choices\":[],\"usage\":{\"prompt_tokens\":1}"}}]}"#,
    ] {
        check_strip(kept, false);
    }
}

#[test]
fn only_a_partial_frame_is_held_back() {
    let mut meter = Meter::new(STRIP);
    meter.push(Bytes::from(format!("data: {HELLO}\n\ndata: {{\"id")));
    assert_eq!(meter.pop().map(|frame| frame.bytes.len()), Some(HELLO.len() + 8));
    assert_eq!((meter.pop(), meter.between_frames()), (None, true));
    let mut meter = Meter::new(CHAT);
    meter.push(Bytes::from(format!("data: {HELLO}\n\ndata: {{\"id")));
    assert_eq!(meter.pop().map(|frame| frame.bytes.len()), Some(HELLO.len() + 18));
    assert!(!meter.between_frames());
}

#[test]
fn a_large_frame_passes_as_it_comes_and_leaves_doubt_where_nothing_is_reported() {
    let large = format!(r#"{{"id":"c1","choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(FRAME_MAX));
    for (frames, usage) in [
        (vec![HELLO, &large, USAGE, "[DONE]"], Usage::exact(counts(7, 3))),
        (vec![HELLO, &large, STOP, "[DONE]"], Usage::missing(Doubt::FrameTooLarge)),
    ] {
        let body = stream(&frames);
        for answer in [CHAT, STRIP] {
            for size in [4_096, 100_000, body.len()] {
                let run = run(answer, End::Closed, body.as_bytes().chunks(size));
                assert_eq!(run.measured.usage, usage);
                assert_eq!(run.measured.visible.bytes(), 5);
                let all: Vec<u8> = run.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
                assert!(all == body.as_bytes(), "in {size}");
            }
        }
    }
    let body = stream(&[START, &large, r#"{"type":"message_stop"}"#]);
    let usage = run(MESSAGES, End::Closed, body.as_bytes().chunks(65_536)).measured.usage;
    assert_eq!(usage.completeness, Completeness::LowerBound(Doubt::FrameTooLarge));
}

/// OpenAI repeats the instructions of a request in the last event of its response; an image comes in one frame with what it used.
#[test]
fn a_large_frame_that_reports_usage_is_exact_and_ends_the_answer() {
    let long = "x".repeat(2 * FRAME_MAX);
    let usage = r#""usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}"#;
    let response = format!(
        r#"{{"type":"response.completed","response":{{"id":"r","model":"m","instructions":"{long}",{usage}}}}}"#
    );
    let image = format!(r#"{{"type":"image_generation.completed","b64_json":"{long}",{usage}}}"#);
    let content = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"inlineData":{{"data":"{long}"}}}}]}},"finishReason":"STOP"}}],{}}}"#,
        r#""usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":3,"totalTokenCount":10}"#,
    );
    for (api, frame) in
        [(Api::OpenAiResponses, &response), (Api::OpenAiImages, &image), (Api::GeminiGenerateContent, &content)]
    {
        let body = stream(&[frame]);
        for size in [65_536, body.len()] {
            let run = run(Answer { api, ..CHAT }, End::Closed, body.as_bytes().chunks(size));
            let Measured { usage, finish, .. } = run.measured;
            let total = usage.total().unwrap();
            assert_eq!((usage.completeness, finish), (Completeness::Exact, Finish::Complete), "{api:?} in {size}");
            assert_eq!((total.uncached_input, total.all_output()), (7, 3), "{api:?} in {size}");
            let all: Vec<u8> = run.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
            assert!(all == body.as_bytes(), "{api:?} in {size}");
        }
        let mut meter = Meter::new(Answer { api, ..CHAT });
        meter.by_frame();
        body.as_bytes().chunks(65_536).for_each(|piece| meter.push(Bytes::copy_from_slice(piece)));
        assert_eq!(meter.pop().map(|frame| frame.bytes.len()), Some(body.len()), "{api:?} comes out whole");
    }
}

#[test]
fn sound_and_plain_text_end_as_their_bodies_end() {
    for (api, body) in [
        (Api::OpenAiSpeech, b"ID3\x04\x00\xff\xfb".as_slice()),
        (Api::OpenAiSpeech, b"{\x00[\x00\x7f\xff"),
        (Api::OpenAiTranscriptions, b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"),
        (Api::OpenAiChat, b"<html>"),
    ] {
        let answer = Answer { api, framing: Framing::Whole, ..CHAT };
        let measured = run(answer, End::Closed, [body]).measured;
        let told = match api {
            Api::OpenAiChat => (Usage::missing(Doubt::Unreadable), Finish::Truncated),
            _ => (Usage::missing(Doubt::NotReported), Finish::Complete),
        };
        assert_eq!((measured.usage, measured.finish), told, "{api:?}");
    }
}

#[test]
fn what_ends_early_says_why() {
    let check = |answer, frames: &[&str], end, usage: Usage, finish: Finish| {
        let body = stream(frames);
        let measured = run(answer, end, [body.as_bytes()]).measured;
        assert_eq!((measured.usage, measured.finish), (usage, finish), "{frames:?} {end:?}");
    };
    let missing = Usage::missing;
    check(CHAT, &[HELLO], End::Closed, missing(Doubt::Truncated), Finish::Truncated);
    check(CHAT, &[], End::Closed, missing(Doubt::Truncated), Finish::Truncated);
    check(CHAT, &[HELLO], End::Broken, missing(Doubt::Truncated), Finish::Truncated);
    check(CHAT, &[HELLO], End::ClientLeft, missing(Doubt::ClientLeft), Finish::Truncated);
    check(CHAT, &[HELLO], End::TimedOut, missing(Doubt::TimedOut), Finish::Truncated);
    check(CHAT, &[HELLO, STOP], End::Closed, missing(Doubt::NotReported), Finish::Complete);
    check(CHAT, &[HELLO, "{\"usage\":{", "[DONE]"], End::Closed, missing(Doubt::Unreadable), Finish::Complete);
    check(CHAT, &[HELLO, USAGE], End::ClientLeft, Usage::exact(counts(7, 3)), Finish::Complete);
    let error = r#"{"error":{"message":"no","type":"server_error","code":null}}"#;
    let failed = |kind: &str| Finish::ErrorInStream { kind: kind.to_owned() };
    check(CHAT, &[HELLO, error], End::Closed, missing(Doubt::Truncated), failed("server_error"));
    check(CHAT, &[HELLO, USAGE, error], End::Closed, Usage::exact(counts(7, 3)), failed("server_error"));
    let at_the_top = r#"{"object":"error","message":"no","type":"InternalServerError","param":null,"code":500}"#;
    check(CHAT, &[HELLO, at_the_top], End::Closed, missing(Doubt::Truncated), failed("InternalServerError"));
    let part = Vector { cache_read: 5, cache_write_5m: 1, cache_write_1h: 3, ..counts(9, 2) };
    let lower = |why| Usage { completeness: Completeness::LowerBound(why), ..Usage::exact(part) };
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    check(MESSAGES, &[START, error], End::Closed, lower(Doubt::Truncated), failed("overloaded_error"));
    check(MESSAGES, &[START], End::Closed, lower(Doubt::Truncated), Finish::Truncated);
    check(MESSAGES, &[START], End::ClientLeft, lower(Doubt::ClientLeft), Finish::Truncated);
    let stop = r#"{"type":"message_stop"}"#;
    check(MESSAGES, &[START, stop], End::Closed, lower(Doubt::NotReported), Finish::Complete);
    check(MESSAGES, &[stop], End::Closed, missing(Doubt::NotReported), Finish::Complete);
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20}}"#;
    let whole = Usage::exact(Vector { output: 20, ..part });
    check(MESSAGES, &[START, delta], End::Broken, whole.clone(), Finish::Truncated);
    check(MESSAGES, &[START, delta, stop], End::Closed, whole, Finish::Complete);
}

#[test]
fn counts_on_the_way_are_not_the_count_at_the_end() {
    let on_the_way =
        HELLO.replace("\"usage\":null", r#""usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8}"#);
    let measured = once(CHAT, &stream(&[&on_the_way]));
    assert_eq!(measured.usage.completeness, Completeness::LowerBound(Doubt::Truncated));
    assert_eq!(measured.usage.total(), Some(counts(7, 1)));
    let measured = once(CHAT, &stream(&[&on_the_way, USAGE, "[DONE]"]));
    assert_eq!(measured.usage, Usage::exact(counts(7, 3)));
    assert_eq!(measured.raw_usage, r#"{"prompt_tokens":7,"completion_tokens":3}"#);
}

#[test]
fn a_delta_replaces_the_start_field_by_field_and_the_raw_objects_stay() {
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":3,"cache_read_input_tokens":null,
"cache_creation_input_tokens":2,"output_tokens":20,"server_tool_use":{"web_search_requests":2},"service_tier":"batch","inference_geo":"us"}}"#;
    let measured = once(MESSAGES, &stream(&[START, delta]));
    let vector = Vector { cache_read: 5, cache_write_5m: 0, cache_write_1h: 2, web_searches: 2, ..counts(3, 20) };
    assert_eq!(measured.usage, Usage::exact(vector));
    assert_eq!((measured.service_tier.as_str(), measured.region.as_str()), ("batch+us", "us"));
    let raw: Vec<serde_json::Value> = serde_json::from_str(&measured.raw_usage).expect("an array");
    assert_eq!((raw.len(), &raw[0]["input_tokens"], &raw[1]["input_tokens"]), (2, &9.into(), &3.into()));
}

/// Fast mode and inference that stays in a region have prices of their own, and so are part of the tier that is charged.
#[test]
fn speed_and_region_of_messages_are_words_of_the_tier() {
    let usage = |more: &str| format!(r#"{{"input_tokens":4,"output_tokens":2{more}}}"#);
    let message =
        |more: &str| format!(r#"{{"type":"message","content":[],"stop_reason":"end_turn","usage":{}}}"#, usage(more));
    let delta = |more: &str| {
        format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{}}}"#, usage(more))
    };
    for (more, tier, region) in [
        (r#","service_tier":"standard","speed":"standard","inference_geo":"global""#, "standard", "global"),
        (r#","service_tier":"standard","inference_geo":"not_available""#, "standard", ""),
        (r#","speed":"fast""#, "fast", ""),
        (r#","service_tier":"standard","speed":"fast""#, "fast", ""),
        (r#","service_tier":"priority","speed":"fast","inference_geo":"global""#, "fast+priority", "global"),
        (r#","service_tier":"standard","inference_geo":"us""#, "us", "us"),
        (r#","service_tier":"standard","speed":"fast","inference_geo":"us""#, "fast+us", "us"),
    ] {
        let start =
            format!(r#"{{"type":"message_start","message":{{"id":"a1","model":"m1","usage":{}}}}}"#, usage(more));
        for measured in [
            once(Answer { framing: Framing::Whole, ..MESSAGES }, &message(more)),
            once(Answer { api: Api::BedrockInvoke, ..WHOLE }, &message(more)),
            once(MESSAGES, &stream(&[&start, &delta("")])),
            once(MESSAGES, &stream(&[START, &delta(more)])),
        ] {
            assert_eq!((measured.service_tier.as_str(), measured.region.as_str()), (tier, region), "{more}");
            assert_eq!(measured.usage.completeness, Completeness::Exact, "{more}");
        }
    }
    // What is said last holds.
    let start = START.replace(r#""usage":{"#, r#""usage":{"speed":"fast","#);
    assert_eq!(once(MESSAGES, &stream(&[&start, &delta(r#","speed":"standard""#)])).service_tier, "standard");
    let mut meter = Meter::new(Answer { api: Api::BedrockInvoke, ..WHOLE });
    meter.header("x-amzn-bedrock-service-tier", "default");
    meter.push(Bytes::from(message(r#","service_tier":"batch","speed":"fast""#)));
    meter.close();
    assert_eq!(meter.measured(End::Closed).service_tier, "fast", "the tier is Bedrock's, the speed the maker's");
}

#[test]
fn passes_are_summed_by_model_and_a_failed_fallback_is_free() {
    let body = r#"{"id":"a1","model":"m1","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,
        "output_tokens_details":{"thinking_tokens":1},"server_tool_use":{"web_search_requests":3},"iterations":[
        {"type":"compaction","input_tokens":10,"cache_read_input_tokens":5,"output_tokens":4},
        {"type":"advisor_message","model":"m2","input_tokens":7,"output_tokens":6,"cache_creation_input_tokens":8},
        {"type":"fallback","model":"m3","input_tokens":90,"output_tokens":0},
        {"type":"message","model":"m1","input_tokens":1,"output_tokens":2}]}}"#;
    let main = Vector { cache_read: 5, web_searches: 3, reasoning: 1, ..counts(11, 6) };
    let other = Vector { cache_write_5m: 8, ..counts(7, 6) };
    let parts = vec![Part { model: None, vector: main }, Part { model: Some("m2".into()), vector: other }];
    let answer = Answer { framing: Framing::Whole, ..MESSAGES };
    assert_eq!(once(answer, body).usage, Usage { parts, completeness: Completeness::Exact });
    let none = body.replace("\"iterations\":[", "\"iterations\":[],\"x\":[");
    assert_eq!(once(answer, &none).usage.total().map(|vector| vector.total()), Some(3));
}

#[test]
fn classes_stay_disjoint_whatever_is_sent() {
    let check = |usage: &str, vector: Vector| {
        let measured = once(WHOLE, &format!(r#"{{"choices":[],"usage":{usage}}}"#));
        assert_eq!(measured.usage, Usage::exact(vector), "{usage}");
    };
    let details = r#"{"prompt_tokens":100,"completion_tokens":50.0,"total_tokens":150,
        "prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":20,"audio_tokens":15},
        "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5,"rejected_prediction_tokens":9}}"#;
    let vector =
        Vector { cache_read: 60, cache_write_5m: 20, audio_input: 15, audio_output: 5, reasoning: 30, ..counts(5, 45) };
    check(details, vector);
    let sound =
        r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":10}}"#;
    check(sound, Vector { cache_read: 8, audio_input: 2, ..counts(0, 1) });
    check(r#"{"prompt_tokens":10,"total_tokens":14}"#, counts(10, 4));
    check(
        r#"{"prompt_tokens":10,"completion_tokens":1,"total_tokens":30}"#,
        Vector { reasoning: 19, ..counts(10, 20) },
    );
}

#[test]
fn a_part_that_is_more_than_its_whole_makes_the_counts_the_least_that_was_used() {
    for (usage, vector) in [
        (r#""prompt_tokens":5,"completion_tokens":1,"cached_tokens":9"#, Vector { cache_read: 5, ..counts(0, 1) }),
        (
            r#""prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":15}"#,
            Vector { cache_read: 10, ..counts(0, 1) },
        ),
        (
            r#""input_tokens":10,"output_tokens":1,"input_tokens_details":{"cached_tokens":6,"cache_write_tokens":5}"#,
            Vector { cache_read: 6, cache_write_5m: 4, ..counts(0, 1) },
        ),
        (
            r#""prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"audio_tokens":11}"#,
            Vector { audio_input: 10, ..counts(0, 1) },
        ),
        (
            r#""prompt_tokens":10,"completion_tokens":1,"completion_tokens_details":{"audio_tokens":2}"#,
            Vector { audio_output: 1, ..counts(10, 0) },
        ),
    ] {
        let measured = once(WHOLE, &format!(r#"{{"choices":[],"usage":{{{usage}}}}}"#));
        assert_eq!(measured.usage.completeness, Completeness::LowerBound(Doubt::NotReported), "{usage}");
        assert_eq!(measured.usage.total(), Some(vector), "{usage}");
    }
}

#[test]
fn a_whole_answer_is_read_in_any_pieces() {
    let embeddings = Answer { api: Api::OpenAiEmbeddings, ..WHOLE };
    let body = r#" {"object":"list","data":[{"embedding":[0.1,-2e3],"usage":{"prompt_tokens":999}}],"a\"}":"\\\"usage\":{","model":"e1",
        "usage":{"prompt_tokens":8,"total_tokens":8},"id" : "x1"} "#;
    let large = body.replace("0.1,", &"0.12345678,".repeat(30_000));
    let sizes = [1, 2, 3, 7, 50, body.len()].map(|size| (body, size));
    for (body, size) in sizes.into_iter().chain([(large.as_str(), 1_000), (large.as_str(), large.len())]) {
        let run = run(embeddings, End::Closed, body.as_bytes().chunks(size));
        assert_eq!(run.measured.usage, Usage::exact(counts(8, 0)), "in {size}");
        assert_eq!((run.measured.model_answered.as_str(), run.measured.response_id.as_str()), ("e1", "x1"));
        assert_eq!(run.frames.last().map(|frame| frame.verdict), Some(Verdict::Last));
        assert_eq!(run.bytes(&[Verdict::Pass, Verdict::Last]), body.as_bytes());
    }
}

#[test]
fn what_is_too_large_to_be_copied_is_unreadable_in_any_pieces() {
    let long = "x".repeat(300 * 1024);
    let body = format!(r#"{{"id":"{long}","model":"m1","usage":{{"prompt_tokens":8,"completion_tokens":2}}}}"#);
    for size in [7, 1_000, 100_000, body.len()] {
        let run = run(WHOLE, End::Closed, body.as_bytes().chunks(size));
        assert_eq!(run.measured.usage, Usage::missing(Doubt::Unreadable), "in {size}");
        assert_eq!(run.measured.model_answered, "", "in {size}");
    }
}

#[test]
fn usage_without_a_count_is_not_reported_and_counts_that_are_none_are_unreadable() {
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":USAGE}"#;
    let start = r#"{"type":"message_start","message":{"id":"a1","model":"m1","usage":USAGE}}"#;
    for (usage, doubt) in [
        ("{}", Doubt::NotReported),
        (r#"{"note":"no counts"}"#, Doubt::NotReported),
        (r#"{"prompt_tokens":null,"input_tokens":null}"#, Doubt::NotReported),
        (r#"{"prompt_tokens":"many","input_tokens":"many"}"#, Doubt::Unreadable),
        (r#"{"prompt_tokens":-1,"input_tokens":-1}"#, Doubt::Unreadable),
    ] {
        let whole = |answer, body: &str| once(answer, &body.replace("USAGE", usage));
        let chat = r#"{"id":"x","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":USAGE}"#;
        let message = r#"{"id":"x","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":USAGE}"#;
        for measured in [
            whole(WHOLE, chat),
            whole(Answer { api: Api::OpenAiEmbeddings, ..WHOLE }, r#"{"data":[],"usage":USAGE}"#),
            whole(Answer { framing: Framing::Whole, ..MESSAGES }, message),
            whole(CHAT, &stream(&[HELLO, STOP, r#"{"choices":[],"usage":USAGE}"#, "[DONE]"])),
            whole(MESSAGES, &stream(&[start, delta, r#"{"type":"message_stop"}"#])),
        ] {
            assert_eq!((measured.usage, measured.finish), (Usage::missing(doubt), Finish::Complete), "{usage}");
        }
    }
}

#[test]
fn a_whole_answer_that_is_not_whole_says_so() {
    let check = |body: &str, doubt, finish: Finish| {
        let measured = once(WHOLE, body);
        assert_eq!((measured.usage, measured.finish), (Usage::missing(doubt), finish), "{body}");
    };
    check("", Doubt::Unreadable, Finish::Truncated);
    check("<html></html>", Doubt::Unreadable, Finish::Truncated);
    check("[1]", Doubt::Unreadable, Finish::Complete);
    check(r#"{"id":"x","usage":{"prompt_tokens":8,"#, Doubt::Truncated, Finish::Truncated);
    let cut = once(WHOLE, r#"{"id":"x","usage":{"prompt_tokens":8,"completion_tokens":2},"choices":[{"mess"#);
    assert_eq!((cut.usage, cut.finish, cut.response_id.as_str()), (Usage::exact(counts(8, 2)), Finish::Truncated, "x"));
    check(r#"{"id":"x","choices":[{}]}"#, Doubt::NotReported, Finish::Complete);
    let nothing = Finish::ErrorInStream { kind: String::new() };
    check(r#"{"id":"x","choices":[]}"#, Doubt::NotReported, nothing);
    check(r#"{"id":"x","usage":"many"}"#, Doubt::Unreadable, Finish::Complete);
    let kind = Finish::ErrorInStream { kind: "rate".to_owned() };
    check(r#"{"error":{"code":"rate"}}"#, Doubt::NotReported, kind);
}

#[test]
fn what_is_free_is_exactly_nothing() {
    let refused = Answer { status: 429, ..CHAT };
    let counted = Answer { api: Api::AnthropicCountTokens, ..WHOLE };
    for answer in [refused, counted] {
        let run = run(answer, End::Closed, [br#"{"input_tokens":"#.as_slice(), b"15}"]);
        assert_eq!((run.measured.usage.clone(), &run.measured.finish), (Usage::none(), &Finish::Complete));
        assert_eq!(run.bytes(&[Verdict::Pass, Verdict::Last]), br#"{"input_tokens":15}"#);
    }
}

#[test]
fn so_far_is_what_is_certain() {
    let mut meter = Meter::new(CHAT);
    meter.push(Bytes::from(stream(&[HELLO, HELLO, HELLO])));
    assert_eq!((meter.so_far(), meter.visible_output_bytes()), (counts(0, 3), 15));
    meter.push(Bytes::from(stream(&[USAGE])));
    assert_eq!(meter.so_far(), counts(7, 3));
    let mut meter = Meter::new(MESSAGES);
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello there"}}"#;
    meter.push(Bytes::from(stream(&[START, delta, delta, delta])));
    assert_eq!((meter.so_far().output, meter.so_far().uncached_input), (3, 9));
    let output = [HELLO.replace("Hello", ""), HELLO.replace("content", "tool_calls\":[{\"arguments")];
    assert_eq!(once(CHAT, &stream(&[&output[0]])).visible.bytes(), 0);
}

#[test]
fn text_is_kept_for_an_estimate_only_while_nothing_is_reported() {
    let text = |measured: Measured| measured.visible.beginning().map(|(texts, _)| texts.concat());
    assert_eq!(text(once(CHAT, &stream(&[HELLO, HELLO, STOP, "[DONE]"]))).as_deref(), Some("HelloHello"));
    assert_eq!(text(once(CHAT, &stream(&[HELLO, USAGE]))), None);
    let whole = r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"Hi \"you\"\n"}}]}"#;
    assert_eq!(text(once(WHOLE, whole)).as_deref(), Some("Hi \"you\"\n"));
}

proptest! {
    /// However it is cut into chunks, the same bytes come out and the same is measured.
    #[test]
    fn chunks_do_not_matter(
        events in prop::collection::vec(prop::sample::select(vec![HELLO, STOP, USAGE, "[DONE]", "{", "", "\u{e9}\u{1f600}", START]), 0..8),
        ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r"]), 16),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        strip_usage: bool,
        messages: bool,
    ) {
        let ends = |place: usize| ends[place % ends.len()];
        let body: String = events.iter().enumerate().map(|(place, event)| {
            format!("data: {}{}{}", event.replace('\n', ""), ends(2 * place), ends(2 * place + 1))
        }).collect();
        let answer = Answer { strip_usage: strip_usage && !messages, ..if messages { MESSAGES } else { CHAT } };
        cuts.sort_by_key(|cut| cut.index(body.len() + 1));
        let (mut chunks, mut from) = (Vec::new(), 0);
        for at in cuts.iter().map(|cut| cut.index(body.len() + 1)) {
            chunks.push(&body.as_bytes()[from..at]);
            from = at;
        }
        chunks.push(&body.as_bytes()[from..]);
        let (cut, whole) = (run(answer, End::Closed, chunks), run(answer, End::Closed, [body.as_bytes()]));
        prop_assert_eq!(&cut.measured, &whole.measured);
        for verdicts in [&[Verdict::Strip][..], &[Verdict::Pass, Verdict::Last]] {
            let (cut, whole) = (cut.bytes(verdicts), whole.bytes(verdicts));
            prop_assert_eq!(String::from_utf8_lossy(&cut), String::from_utf8_lossy(&whole));
        }
        let all: Vec<u8> = cut.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
        prop_assert_eq!(all, body.as_bytes());
    }

    #[test]
    fn nothing_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300), api in prop::sample::select(&Api::ALL[..]), framing in framings(), size in 1_usize..40) {
        let run = run(Answer { api, framing, ..STRIP }, End::Closed, body.chunks(size));
        let all: Vec<u8> = run.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
        prop_assert_eq!(all, body);
    }

    #[test]
    fn nothing_like_json_makes_it_panic(body in "[{}\\[\\]:,\"\\\\a-z0-9. -]{0,120}", size in 1_usize..40) {
        for text in [body.clone(), format!("{{\"usage\":{{{body}")] {
            run(WHOLE, End::Closed, text.as_bytes().chunks(size));
            run(CHAT, End::Closed, format!("data: {text}\n\n").as_bytes().chunks(size));
            run(MESSAGES, End::Closed, format!("data: {{\"type\":\"message_delta\",\"usage\":{text}}}\n\n").as_bytes().chunks(size));
        }
    }
}

#[test]
fn half_a_character_hides_no_usage() {
    let half = r#"{"id":"c","model":"m1","choices":[{"delta":{"content":"x \ud83d"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
    let body = stream(&[half, STOP, "[DONE]"]);
    assert_eq!(once(CHAT, &body).usage, Usage::exact(counts(7, 3)));
}

#[test]
fn what_no_answer_can_have_is_no_count() {
    for usage in [
        r#"{"prompt_tokens":-5,"completion_tokens":7,"total_tokens":2}"#,
        r#"{"prompt_tokens":99999999999999999999,"completion_tokens":7,"total_tokens":9}"#,
    ] {
        let body = stream(&[HELLO, STOP, &format!(r#"{{"choices":[],"usage":{usage}}}"#), "[DONE]"]);
        let usage = once(CHAT, &body).usage;
        assert!(matches!(usage.completeness, Completeness::LowerBound(_)), "{usage:?}");
    }
}

/// Usage on the way, at some in each frame, is all only where every choice has ended.
#[test]
fn of_several_choices_one_that_has_ended_ends_nothing() {
    let frame = |index: u64, output: u64, more: &str| {
        let usage = format!(r#""usage":{{"prompt_tokens":7,"completion_tokens":{output}}}"#);
        format!(r#"{{"id":"c1","model":"m1","choices":[{{"index":{index},"delta":{{"content":"a"}}{more}}}],{usage}}}"#)
    };
    let bare = |index: u64| HELLO.replace(r#""index":0"#, &format!(r#""index":{index}"#));
    let end = r#","finish_reason":"stop""#;
    let check = |asked: u64, frames: &[String], output: u64, whole: bool| {
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let mut meter = Meter::new(CHAT);
        meter.choices(asked);
        meter.push(Bytes::from(stream(&frames)));
        meter.close();
        let measured = meter.measured(End::Closed);
        let (completeness, finish) = if whole {
            (Completeness::Exact, Finish::Complete)
        } else {
            (Completeness::LowerBound(Doubt::Truncated), Finish::Truncated)
        };
        assert_eq!((measured.usage.completeness, measured.finish), (completeness, finish), "{asked}: {frames:?}");
        let total = measured.usage.parts.first().map(|part| part.vector);
        assert_eq!(total, Some(counts(7, output)), "{asked}: {frames:?}");
    };
    check(0, &[frame(0, 1, ""), frame(0, 2, end)], 2, true);
    check(1, &[frame(0, 1, ""), frame(0, 2, end)], 2, true);
    check(2, &[frame(0, 1, ""), frame(0, 2, end)], 2, false);
    check(2, &[frame(0, 1, end), frame(1, 2, end)], 2, true);
    // Who does not know how many were asked for sees that another one has begun, before that end or behind it.
    check(0, &[frame(0, 1, ""), frame(1, 2, ""), frame(0, 3, end)], 3, false);
    check(0, &[frame(0, 1, end), frame(1, 2, "")], 2, false);
    check(0, &[bare(0), bare(0), frame(0, 1, end), bare(1)], 1, false);
    check(0, &[frame(0, 1, end), bare(1), frame(1, 2, end)], 2, true);
    check(0, &[frame(0, 1, end), bare(1), USAGE.to_owned()], 3, true);
    // What is marked as the end is one, whoever was asked for more.
    check(2, &[frame(0, 2, end), "[DONE]".to_owned()], 2, true);
}

/// An answer that is too large to be kept, or that nobody can read, has no text to estimate from: it is not known, and never zero.
#[test]
fn a_whole_answer_without_usage_or_text_is_not_estimated() {
    let large = "x".repeat(300 * 1024);
    let whole = Answer { framing: Framing::Whole, ..CHAT };
    for body in [
        format!(r#"{{"id":"c","model":"m1","choices":[{{"message":{{"content":"{large}"}}}}]}}"#),
        r#"{"id":"c","model":"m1","choices":[{"message":{"content":"x"}}],}"#.to_owned(),
    ] {
        assert_eq!(once(whole, &body).usage, Usage::missing(Doubt::Unreadable), "{} bytes", body.len());
    }
    let half = r#"{"id":"c","model":"m1","choices":[{"message":{"content":"some words \ud83d"}}]}"#;
    let measured = once(whole, half);
    assert_eq!(measured.usage, Usage::missing(Doubt::NotReported));
    assert!(measured.visible.tokens_at_least() > 0);
}

#[test]
fn the_tier_that_bedrock_served_is_what_its_head_or_its_answer_says() {
    const CONVERSE: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":4,"outputTokens":2,"totalTokens":6}"#;
    const CLAUDE: &str = r#"{"type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":4,"output_tokens":2,"service_tier":"standard"}}"#;
    let converse = |more: &str| once(Answer { api: Api::BedrockConverse, ..WHOLE }, &format!("{CONVERSE}{more}}}"));
    for (more, tier) in [
        ("", ""),
        (r#","serviceTier":{"type":"priority"}"#, "priority"),
        (r#","serviceTier":{"type":"default"},"performanceConfig":{"latency":"optimized"}"#, "optimized"),
        (r#","performanceConfig":{"latency":"standard"},"serviceTier":{"type":"flex"}"#, "flex"),
        (r#","performanceConfig":{"latency":"optimized"},"serviceTier":{"type":"flex"}"#, "flex+optimized"),
    ] {
        assert_eq!(converse(more).service_tier, tier, "{more}");
    }
    // One that is too large to be kept says it all the same.
    let long = format!(r#","serviceTier":{{"type":"priority"}},"trace":"{}""#, "x".repeat(300_000));
    assert_eq!(
        (converse(&long).service_tier.as_str(), converse(&long).usage.total()),
        ("priority", Some(counts(4, 2)))
    );
    for (headers, tier) in [
        (&[("x-amzn-bedrock-service-tier", "priority")][..], "priority"),
        (
            &[("x-amzn-bedrock-performanceconfig-latency", "optimized"), ("x-amzn-bedrock-service-tier", "default")],
            "optimized",
        ),
        (&[], "standard"),
    ] {
        let mut meter = Meter::new(Answer { api: Api::BedrockInvoke, ..WHOLE });
        headers.iter().for_each(|(name, value)| meter.header(name, value));
        meter.push(Bytes::from_static(CLAUDE.as_bytes()));
        meter.close();
        assert_eq!(meter.measured(End::Closed).service_tier, tier, "{headers:?}");
    }
}

#[test]
fn a_guardrail_is_counted_beside_what_the_model_used() {
    let mut meter = Meter::new(WHOLE);
    meter.guarded();
    meter.push(Bytes::from_static(br#"{"id":"c","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#));
    meter.close();
    let measured = meter.measured(End::Closed);
    assert_eq!(measured.usage, Usage::exact(Vector { guardrails: 1, ..counts(4, 2) }));
    let mut refused = Meter::new(Answer { status: 400, ..WHOLE });
    refused.guarded();
    refused.close();
    assert_eq!(refused.measured(End::Closed).usage, Usage::none());
}

/// What was asked for decides, whatever the answer shows: code of any kind is free beside the newer tools of the web, and beside none of theirs
/// it is not, though the client's own tools, which it calls, have such names.
#[test]
fn code_is_free_where_the_request_says_so() {
    let answer = |content: &str, searches: u64| {
        format!(
            r#"{{"type":"message","id":"m","model":"claude","stop_reason":"end_turn","container":{{"id":"c"}},"content":[{content}],
            "usage":{{"input_tokens":7,"output_tokens":3,"server_tool_use":{{"web_search_requests":{searches}}}}}}}"#
        )
    };
    let ran = r#"{"type":"bash_code_execution_tool_result","content":{}}"#;
    let own = r#"{"type":"tool_use","name":"web_lookup","caller":{"type":"code_execution_20260120"}}"#;
    let large = format!(r#"{ran},{{"type":"text","text":"{}"}}"#, "x".repeat(300_000));
    for (said, content, searches, sessions) in [
        (None, ran, 0, 1),
        (Some(false), ran, 0, 1),
        (Some(true), ran, 0, 0),
        (Some(true), large.as_str(), 0, 0),
        (Some(false), large.as_str(), 0, 1),
        (Some(false), own, 1, 1),
        // A container alone.
        (Some(false), "", 0, 1),
        (Some(true), "", 0, 0),
    ] {
        let mut meter = Meter::new(Answer { api: Api::AnthropicMessages, ..WHOLE });
        if let Some(is_free) = said {
            meter.code_is_free(is_free);
        }
        meter.push(Bytes::from(answer(content, searches)));
        meter.close();
        let found = meter.measured(End::Closed).usage;
        let vector = found.total().map(|vector| (vector.code_sessions, vector.web_searches));
        assert_eq!(vector, Some((sessions, searches)), "{said:?}, {} bytes", content.len());
        assert_eq!(found.completeness, Completeness::Exact, "{said:?}, {} bytes", content.len());
    }
}

/// Of a large answer only why its choices ended is copied out, in whatever pieces it comes, and nothing of far too many; its usage is known
/// all the same.
#[test]
fn a_large_answer_says_why_each_of_its_choices_ended() {
    let large = "x".repeat(300_000);
    let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":3}"#;
    let good = r#"{"index":0,"message":{"content":"a","finish_reason":"error"},"finish_reason":"stop"}"#;
    let bad = r#"{"finish_reason" : "error" , "error":null}"#;
    let check = |choices: &str, failed: bool| {
        let body = format!(r#"{{"x":["{large}",{{"choices":[{bad}]}}],"choices":{choices},"model":"m1",{usage}}}"#);
        for size in [777, 4_096, body.len()] {
            let measured = run(WHOLE, End::Closed, body.as_bytes().chunks(size)).measured;
            let wanted = if failed { Finish::ErrorInStream { kind: "error".to_owned() } } else { Finish::Complete };
            let choices = choices.get(..80).unwrap_or(choices);
            assert_eq!((measured.finish, measured.usage), (wanted, Usage::exact(counts(7, 3))), "{choices} in {size}");
            assert_eq!(measured.model_answered, "m1");
        }
    };
    check(&format!("[{good}, {good} ]"), false);
    check(&format!("[ {good},{bad}]"), true);
    check(&format!("[{{}},null,[{bad}],1,{good},{bad}]"), true);
    check(&format!("[null,[{bad}],{{\"x\":{bad}}}]"), false);
    check(&format!("{{\"x\":[{bad}]}}"), false);
    check(&format!("[{bad}{}]", format!(",{good}").repeat(2_000)), false);
}

/// A model that failed is an answer that failed, whole or streamed, by its provider's word for it; one that gave something did not.
#[test]
fn an_answer_in_which_the_model_failed_has_failed() {
    let check = |api, framing, body: &str, kind: Option<&str>| {
        let finish = once(Answer { api, framing, ..CHAT }, body).finish;
        let wanted = kind.map_or(Finish::Complete, |kind| Finish::ErrorInStream { kind: kind.to_owned() });
        assert_eq!(finish, wanted, "{api:?}: {}", body.get(..200).unwrap_or(body));
    };
    let both = |api, body: &str, kind| {
        check(api, Framing::Whole, body, kind);
        check(api, Framing::Events, &stream(&[body]), kind);
    };
    let gemini = |parts: &str, reason: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":{reason}}}],"usageMetadata":{{"promptTokenCount":5}}}}"#
        )
    };
    let (text, call) = (r#"{"text":"hi"}"#, r#"{"functionCall":{"name":"f","args":{}}}"#);
    let content = Api::GeminiGenerateContent;
    for (parts, reason, kind) in [
        ("", r#""MALFORMED_FUNCTION_CALL""#, Some("MALFORMED_FUNCTION_CALL")),
        (text, r#""MALFORMED_FUNCTION_CALL""#, Some("MALFORMED_FUNCTION_CALL")),
        (call, "9", Some("9")),
        (text, r#""UNEXPECTED_TOOL_CALL""#, Some("UNEXPECTED_TOOL_CALL")),
        (call, r#""UNEXPECTED_TOOL_CALL""#, None),
        (text, r#""STOP""#, None),
        ("", r#""STOP""#, None),
        ("", r#""SAFETY""#, None),
        ("", r#""IMAGE_SAFETY""#, None),
        ("", r#""OTHER""#, Some("OTHER")),
        ("", "5", Some("5")),
        (r#"{"text":"hm","thought":true},{"text":"","thoughtSignature":"x"}"#, r#""NO_IMAGE""#, Some("NO_IMAGE")),
        (text, r#""OTHER""#, None),
        (call, r#""OTHER""#, None),
        (r#"{"inlineData":{"mimeType":"image/png","data":"x"}}"#, r#""OTHER""#, None),
    ] {
        both(content, &gemini(parts, reason), kind);
    }
    // What was said stood in an earlier piece, as did the call.
    let said = stream(&[&gemini(text, "null"), &gemini("", r#""OTHER""#)]);
    check(content, Framing::Events, &said, None);
    let called = stream(&[&gemini(call, "null"), &gemini("", r#""UNEXPECTED_TOOL_CALL""#)]);
    check(content, Framing::Events, &called, None);
    let usage = r#""usageMetadata":{"promptTokenCount":5},"modelVersion":"m""#;
    check(content, Framing::Whole, &format!(r#"{{"candidates":[],{usage}}}"#), Some(""));
    check(content, Framing::Whole, &format!("{{{usage}}}"), Some(""));
    check(content, Framing::Whole, &format!(r#"{{"candidates":[{{"content":{{}},"index":0}}],{usage}}}"#), Some(""));
    check(content, Framing::Whole, &format!(r#"{{"promptFeedback":{{"blockReason":"SAFETY"}},{usage}}}"#), None);
    check(Api::Passthrough, Framing::Whole, &format!(r#"{{"embedding":{{"values":[1]}},{usage}}}"#), None);
    let behind = stream(&[&gemini(text, r#""STOP""#), &format!(r#"{{"candidates":[],{usage}}}"#)]);
    check(content, Framing::Events, &behind, None);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(300_000));
    check(content, Framing::Whole, &gemini(&large, r#""STOP""#), None);
    // Of one too large to be kept why it ended is found all the same.
    check(content, Framing::Whole, &gemini(&large, "9"), Some("9"));
    let unexpected = gemini(&format!("{call},{large}"), r#""UNEXPECTED_TOOL_CALL""#);
    check(content, Framing::Whole, &unexpected, None);
    check(content, Framing::Whole, &unexpected.replace("functionCall", "x"), Some("UNEXPECTED_TOOL_CALL"));

    let converse = |block: &str, reason: &str| {
        format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{block}]}}}},"stopReason":"{reason}","usage":{{"inputTokens":4,"outputTokens":0}}}}"#
        )
    };
    for reason in ["malformed_tool_use", "malformed_model_output"] {
        both(Api::BedrockConverse, &converse("", reason), Some(reason));
        check(Api::BedrockConverse, Framing::Whole, &converse(&large, reason), Some(reason));
    }
    check(Api::BedrockConverse, Framing::Whole, &converse(text, "tool_use"), None);
    // A reason that nobody knows is a failure where nothing was said.
    both(Api::BedrockConverse, &converse("", "gone"), Some("gone"));
    for (block, reason) in [(text, "gone"), (large.as_str(), "gone"), ("", "end_turn")] {
        check(Api::BedrockConverse, Framing::Whole, &converse(block, reason), None);
    }

    let cohere = |reason: &str| {
        format!(
            r#"{{"finish_reason":"{reason}","message":{{"content":[]}},"usage":{{"billed_units":{{"input_tokens":3}}}}}}"#
        )
    };
    for (reason, kind) in [("ERROR", Some("ERROR")), ("TIMEOUT", Some("TIMEOUT")), ("ERROR_TOXIC", None)] {
        check(Api::CohereChat, Framing::Whole, &cohere(reason), kind);
        let end = format!(r#"{{"type":"message-end","delta":{}}}"#, cohere(reason));
        check(Api::CohereChat, Framing::Events, &stream(&[&end]), kind);
    }

    let unknown = cohere("GONE");
    check(Api::CohereChat, Framing::Whole, &unknown, Some("GONE"));
    let end = format!(r#"{{"type":"message-end","delta":{unknown}}}"#);
    check(Api::CohereChat, Framing::Events, &stream(&[&end]), Some("GONE"));
    let piece = r#"{"type":"content-delta","delta":{"message":{"content":{"text":"hi"}}}}"#;
    check(Api::CohereChat, Framing::Events, &stream(&[piece, &end]), None);
    let said = unknown.replace(r#""content":[]"#, r#""content":[{"type":"text","text":"hi"}]"#);
    check(Api::CohereChat, Framing::Whole, &said, None);
    check(Api::CohereV1Chat, Framing::Whole, r#"{"text":"hi","finish_reason":"GONE"}"#, None);

    let choice = |more: &str| format!(r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{{}}{more}}}]}}"#);
    both(Api::OpenAiChat, &choice(r#","finish_reason":"error""#), Some("error"));
    both(Api::OpenAiChat, &choice(r#","finish_reason":"error","error":{"code":"busy"}"#), Some("busy"));
    both(Api::OpenAiChat, &choice(r#","finish_reason":"stop","error":null"#), None);
    both(Api::OpenAiChat, &choice(r#","finish_reason":"gone""#), Some("gone"));
    check(Api::OpenAiChat, Framing::Whole, &choice(r#","finish_reason":"""#), None);
    let thought = r#"{"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}"#;
    let gone = STOP.replace("stop", "gone");
    check(Api::OpenAiChat, Framing::Events, &stream(&[thought, &gone, "[DONE]"]), Some("gone"));
    check(Api::OpenAiChat, Framing::Events, &stream(&[HELLO, HELLO, HELLO, &gone, "[DONE]"]), None);
    let said = r#"{"id":"c","choices":[{"message":{"content":"hi"},"finish_reason":"gone"}]}"#;
    check(Api::OpenAiChat, Framing::Whole, said, None);
    check(Api::OpenAiCompletions, Framing::Whole, r#"{"choices":[{"text":"hi","finish_reason":"gone"}]}"#, None);
    check(Api::OpenAiChat, Framing::Whole, r#"{"id":"c","choices":[]}"#, Some(""));
    check(Api::OpenAiChat, Framing::Events, &stream(&[USAGE, "[DONE]"]), Some(""));
    check(Api::OpenAiChat, Framing::Events, &stream(&[STOP, USAGE, "[DONE]"]), None);
    check(Api::OpenAiImages, Framing::Events, &stream(&[r#"{"type":"x"}"#, "[DONE]"]), None);
    let long = format!(r#","logprobs":[{{"finish_reason":"stop","error":"{}"}}]"#, "x".repeat(300_000));
    check(Api::OpenAiChat, Framing::Whole, &choice(&format!(r#"{long},"finish_reason":"error""#)), Some("error"));
    check(Api::OpenAiChat, Framing::Whole, &choice(&format!(r#","error":{{"code":"busy"}}{long}"#)), Some("busy"));
    check(Api::OpenAiChat, Framing::Whole, &choice(&format!(r#"{long},"finish_reason":"stop""#)), None);
    // With the last of its text, among frames that are not parsed, and before its usage.
    let failed = HELLO.replace(r#""Hello"}}"#, r#""Hello"},"finish_reason":"error"}"#);
    let measured = once(CHAT, &stream(&[HELLO, HELLO, &failed, USAGE, "[DONE]"]));
    assert_eq!(measured.finish, Finish::ErrorInStream { kind: "error".to_owned() });
    assert_eq!(measured.usage, Usage::exact(counts(7, 3)));
}
