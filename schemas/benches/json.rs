//! How long it takes to read a request, and to bound it: `cargo bench -p schemas --bench json`.
//!
//! Prints microseconds, the best of some rounds: of the tree alone, of the tree and the bound, and of what `serde_json` takes to
//! skip the same bytes, which is the least that a second reading would add.

#![expect(clippy::expect_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use schemas::{
    bound::{Beside, Measure, bound},
    event::Api,
    json::Tree,
    price::{Book, Key},
    time::Time,
};
use serde::de::IgnoredAny;

const ROUNDS: u32 = 20;
/// Bytes that are read in a round.
const BYTES: usize = 20_000_000;
/// 2026-11-22: the builtin prices are valid.
const TODAY: Time = Time::from_micros(1_795_305_600_000_000);

fn main() {
    let chat = |content: &str, more: &str| {
        format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":{content}}}]{more}}}"#)
    };
    let text = "twenty-four letters here\\n".repeat(1_000_000 / 26);
    let image = "iVBORw0KGgoAAAANSUhE".repeat(1_000_000 / 20);
    let image = format!(r#"[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]"#);
    let short = r#""What is the capital of France? Answer in one word, please.""#;
    report("chat", &chat(short, r#","temperature":0.7,"max_tokens":100,"stream":true"#));
    report("text", &chat(&format!("\"{text}\""), ""));
    report("image", &chat(&image, ""));
}

fn report(name: &str, body: &str) {
    let book = Book::builtin();
    let key = Key { provider: "openai", vendor: "openai", model: "gpt-4o", tier: "", at: TODAY };
    let facts = book.facts(key.provider, key.vendor, key.model);
    let body = body.as_bytes();
    let skip = best(body, |body| drop(black_box(serde_json::from_slice::<IgnoredAny>(body))));
    let read = best(body, |body| drop(black_box(Tree::read(body))));
    let both = best(body, |body| {
        let tree = Tree::read(body).expect("a document");
        drop(black_box(bound(Api::OpenAiChat, (&tree, &Beside::default()), &facts, &book, &key, Measure::Bytes)));
    });
    println!("{name:6} {:8} bytes: skipped {skip:>9}, read {read:>9}, read and bounded {both:>9}", body.len());
}

fn best(body: &[u8], run: impl Fn(&[u8])) -> String {
    let times = u32::try_from(BYTES / body.len()).expect("a short body");
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..times).for_each(|_| run(black_box(body)));
        best = best.min(start.elapsed() / times);
    }
    format!("{}.{:03} us", best.as_micros(), best.as_nanos() % 1_000)
}
