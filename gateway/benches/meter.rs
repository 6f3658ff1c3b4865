//! What metering costs: nanoseconds a frame of a stream and a document of 1 kB, beside parsing the same with serde_json.
//!
//! Run with `cargo bench -p gateway --bench meter`. Each line is the median of many rounds on one core; a stream has 64 frames
//! of one token each and its usage at the end, and arrives a frame a chunk or all in one. Nothing is sent anywhere.

#![expect(clippy::expect_used, reason = "a benchmark may fail")]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use gateway::{
    meter::{Answer, End, Framing, Meter, tokens},
    request::{Cap, CapMember, Edits, parse},
};
use schemas::{event::Api, price::Encoding};

const ROUNDS: usize = 2_000;
const FRAMES: usize = 64;

fn main() {
    for (name, api, chunks) in [("chat", Api::OpenAiChat, chat()), ("messages", Api::AnthropicMessages, messages())] {
        let whole = vec![Bytes::from(chunks.concat())];
        let frames = chunks.len() as u64;
        let baseline = median(frames, || chunks.iter().for_each(|frame| parsed(frame)));
        line(&format!("{name}: a frame, parsed by serde_json"), baseline, baseline);
        for (how, chunks, strip_usage) in [
            ("a frame a chunk", &chunks, false),
            ("all in one chunk", &whole, false),
            ("usage withheld", &chunks, true),
        ] {
            let answer = Answer { api, status: 200, framing: Framing::Events, strip_usage };
            line(&format!("{name}: a frame, metered, {how}"), median(frames, || metered(answer, chunks)), baseline);
        }
    }
    let document = [Bytes::from(document())];
    let answer = Answer { api: Api::OpenAiChat, status: 200, framing: Framing::Whole, strip_usage: false };
    let baseline = median(1, || parsed(&document[0]));
    line("a document of 1 kB, parsed by serde_json", baseline, baseline);
    line("a document of 1 kB, metered", median(1, || metered(answer, &document)), baseline);
    let request = request();
    let baseline = median(1, || parsed(&request));
    line("a request of 1 kB, parsed by serde_json", baseline, baseline);
    line("a request of 1 kB, read", median(1, || drop(black_box(parse(Api::OpenAiChat, &request)))), baseline);
    let edits = Edits {
        model: Some("gpt-5-mini-2025-08-07"),
        ask_usage: true,
        cap: Some(Cap { member: CapMember::MaxCompletionTokens, tokens: 512 }),
    };
    let (read, _) = parse(Api::OpenAiChat, &request).expect("a request");
    line("a request of 1 kB, edited thrice", median(1, || drop(black_box(read.edit(&edits)))), baseline);
    let text = "The quick brown fox jumps over the lazy dog, again and again. ".repeat(16);
    black_box(tokens(Encoding::O200kBase, &text));
    line(
        "1 kB of prose, tokens counted",
        median(1, || {
            black_box(tokens(Encoding::O200kBase, &text));
        }),
        baseline,
    );
}

fn line(what: &str, ns: u64, baseline: u64) {
    println!("{what:45} {ns:>8} ns {:>4} % of serde_json", ns * 100 / baseline.max(1));
}

/// The median time of one of `each` things that `work` does.
fn median(each: u64, mut work: impl FnMut()) -> u64 {
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            work();
            u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2] / each
}

fn parsed(frame: &[u8]) {
    let json = frame.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: ")).unwrap_or(frame);
    black_box(serde_json::from_slice::<serde_json::Value>(json).ok());
}

fn metered(answer: Answer, chunks: &[Bytes]) {
    let mut meter = Meter::new(answer);
    for chunk in chunks {
        meter.push(chunk.clone());
        while let Some(frame) = meter.pop() {
            black_box(frame);
        }
    }
    meter.close();
    black_box(meter.measured(End::Closed));
}

fn chat() -> Vec<Bytes> {
    const HEAD: &str = r#"data: {"id":"chatcmpl-CMKB4CzjM9AbvNcftqEsFcWBSrZNT","object":"chat.completion.chunk","created":1759436814,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_cbf1785567","#;
    let frame = |rest: &str| Bytes::from(format!("{HEAD}{rest}\n\n"));
    let token = r#""choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"5bJ1xkTl"}"#;
    let stop = r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"b2Q"}"#;
    let usage = r#""choices":[],"usage":{"prompt_tokens":14,"completion_tokens":64,"total_tokens":78,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"obfuscation":"x"}"#;
    let mut frames = vec![frame(token); FRAMES];
    frames.extend([frame(stop), frame(usage), Bytes::from_static(b"data: [DONE]\n\n")]);
    frames
}

fn messages() -> Vec<Bytes> {
    let frame = |name: &str, rest: &str| Bytes::from(format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n"));
    let start = r#","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":14,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":1}}"#;
    let token = r#","index":0,"delta":{"type":"text_delta","text":" token"}"#;
    let delta = r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":64}"#;
    let mut frames = vec![frame("message_start", start)];
    frames.extend(vec![frame("content_block_delta", token); FRAMES]);
    frames.extend([frame("message_delta", delta), frame("message_stop", "")]);
    frames
}

fn document() -> String {
    let text = "Lorem ipsum dolor sit amet, \\\"consectetur\\\" adipiscing elit.\\n".repeat(9);
    format!(
        r#"{{"id":"chatcmpl-CMKB4CzjM9AbvNcftqEsFcWBSrZNT","object":"chat.completion","created":1759436814,"model":"gpt-4o-2024-08-06","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":14,"completion_tokens":120,"total_tokens":134,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}},"service_tier":"default","system_fingerprint":null}}"#
    )
}

fn request() -> Bytes {
    let text = "Lorem ipsum dolor sit amet, \\\"consectetur\\\" adipiscing elit.\\n".repeat(13);
    format!(
        r#"{{"model":"gpt-5-mini","stream":true,"messages":[{{"role":"user","content":"{text}"}}],"temperature":0.5}}"#
    )
    .into()
}
