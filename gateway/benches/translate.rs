//! What it costs to say a stream in another dialect: nanoseconds and pieces of memory a frame.
//!
//! Run with `cargo bench -p gateway --bench translate`. Each line is the median of many rounds on one core; a stream has 64 frames of
//! one token each, its beginning and its end. What cuts it into frames and finds its usage is the meter's, which has a bench of its own.

#![expect(clippy::expect_used, reason = "a benchmark may fail")]

use std::{hint::black_box, time::Instant};

use allocation_counter::measure;
use gateway::translate::{Client, End, Provider, Request, Stream};
use schemas::tokens::Vector;

const ROUNDS: usize = 2_000;
const FRAMES: usize = 64;

fn main() {
    let (chat, messages) = (chat(), messages());
    for (from, provider, frames) in
        [("chat", Provider::OpenAiChat, &chat), ("messages", Provider::AnthropicMessages, &messages)]
    {
        for (to, client) in [
            ("chat", Client::OpenAiChat),
            ("messages", Client::AnthropicMessages),
            ("responses", Client::OpenAiResponses),
        ] {
            let spent = median(|| carried(provider, client, frames));
            let mut bytes = 0;
            let pieces = measure(|| bytes = carried(provider, client, frames)).count_total;
            let each = frames.len() as u64;
            println!(
                "{from:>9} to {to:9} {:>6} ns and {:>3} pieces a frame, {bytes} bytes",
                spent / each,
                pieces / each
            );
        }
    }
}

/// The median time of what `work` does.
fn median(mut work: impl FnMut() -> usize) -> u64 {
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

/// How many bytes a stream has in a client's dialect.
fn carried(from: Provider, to: Client, frames: &[String]) -> usize {
    let body = match to {
        Client::OpenAiResponses => r#"{"model":"m","input":"hi","stream":true}"#,
        Client::OpenAiChat => {
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}"#
        }
        Client::AnthropicMessages => {
            r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"hi"}],"stream":true}"#
        }
    };
    let told = Request::read(to, body.as_bytes()).expect("a request").told("0123456789abcdef", 1_759_436_814, 14);
    let mut stream = Stream::new(from, "m", to, told);
    let said = frames.iter().map(|frame| stream.push("", frame.as_bytes()).expect("an event").len());
    let said = said.sum::<usize>();
    let usage = Vector { uncached_input: 14, output: 64, ..Vector::default() };
    said + stream.end(End::Complete, Some(&usage)).len()
}

fn chat() -> Vec<String> {
    const HEAD: &str = r#"{"id":"chatcmpl-CMKB4CzjM9AbvNcftqEsFcWBSrZNT","object":"chat.completion.chunk","created":1759436814,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_cbf1785567","#;
    let frame = |rest: &str| format!("{HEAD}{rest}");
    let token = r#""choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"5bJ1xkTl"}"#;
    let stop = r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"b2Q"}"#;
    let usage =
        r#""choices":[],"usage":{"prompt_tokens":14,"completion_tokens":64,"total_tokens":78},"obfuscation":"x"}"#;
    let mut frames = vec![frame(token); FRAMES];
    frames.extend([frame(stop), frame(usage), "[DONE]".to_owned()]);
    frames
}

fn messages() -> Vec<String> {
    let frame = |name: &str, rest: &str| format!("{{\"type\":\"{name}\"{rest}}}");
    let start = r#","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":14,"output_tokens":1}}"#;
    let block = r#","index":0,"content_block":{"type":"text","text":""}"#;
    let token = r#","index":0,"delta":{"type":"text_delta","text":" token"}"#;
    let delta = r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":64}"#;
    let mut frames = vec![frame("message_start", start), frame("content_block_start", block)];
    frames.extend(vec![frame("content_block_delta", token); FRAMES]);
    frames.extend([
        frame("content_block_stop", r#","index":0"#),
        frame("message_delta", delta),
        frame("message_stop", ""),
    ]);
    frames
}
