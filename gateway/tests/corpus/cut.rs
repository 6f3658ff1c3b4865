//! Recorded answers that break off, wherever they do: what is measured of a part is never more than what is measured of all, and is
//! called exact only where it is that.

use gateway::meter::Finish;
use schemas::{
    event::Api,
    tokens::{Completeness, Vector},
};

use super::{Cut, Exchange, corpus, exchanges, frames, messages, run};
use gateway::meter::Framing;

/// Bodies up to this size are cut at each byte.
const SMALL: usize = 800;
/// Around the end of a frame, and before the end of all.
const NEAR: usize = 2;
const LAST: usize = 24;
/// Where a larger body is cut besides.
const PIECES: usize = 8;
/// The most bytes of the blank line that ends a frame.
const BLANK: usize = 4;

/// Where its frames end.
fn ends(exchange: &Exchange) -> Vec<usize> {
    let cut = match exchange.framing {
        Framing::Messages => messages(&exchange.body),
        _ => frames(&exchange.body),
    };
    let ends = cut.iter().scan(0, |at, frame| {
        *at += frame.len();
        Some(*at)
    });
    ends.collect()
}

/// Where a body is cut.
fn places(exchange: &Exchange, ends: &[usize]) -> Vec<usize> {
    let size = exchange.body.len();
    if size <= SMALL {
        return (0..size).collect();
    }
    // Of a long stream the first and the last frames are those that say something.
    let telling = ends.iter().take(8).chain(ends.iter().rev().take(8));
    let near = telling.flat_map(|end| end.saturating_sub(NEAR)..=end + NEAR);
    let spread = (0..PIECES).map(|piece| piece * size / PIECES);
    let mut places: Vec<usize> = near.chain(spread).chain(size.saturating_sub(LAST)..size).collect();
    places.retain(|place| *place < size);
    places.sort_unstable();
    places.dedup();
    places
}

/// Anthropic's first report can be more input than its last, where what was cached is told apart only there; Gemini's counts go up
/// and down, and the last one is right.
fn is_at_most(api: Api, part: &Vector, whole: &Vector) -> bool {
    let lowers = matches!(api, Api::AnthropicMessages | Api::GeminiGenerateContent);
    let falls = api == Api::GeminiGenerateContent;
    part.tool_calls <= whole.tool_calls
        && (falls || part.all_output() <= whole.all_output())
        && (lowers || part.input() <= whole.input())
}

fn check(exchange: &Exchange) -> Result<(), String> {
    let (.., whole) = run(exchange, Cut::Every(64 * 1024), false);
    let ends = ends(exchange);
    for place in places(exchange, &ends) {
        let cut = Exchange {
            id: exchange.id.clone(),
            api: exchange.api,
            framing: exchange.framing,
            meta: exchange.meta.clone(),
            body: exchange.body.slice(..place),
        };
        let (passed, _, _, part) = run(&cut, Cut::Every(64 * 1024), false);
        let wrong = |what: &str| Err(format!("{what} at byte {place}: {:?}, and of all {:?}", part.usage, whole.usage));
        if passed != cut.body {
            return wrong("other bytes");
        }
        match (&part.usage.completeness, part.usage.total(), whole.usage.total()) {
            (Completeness::Exact, ..) if part.usage == whole.usage => {}
            // Bedrock's headers say all that is charged before the answer calls any tool.
            (Completeness::Exact, Some(part), Some(whole))
                if exchange.api == Api::BedrockInvoke
                    && part == (Vector { tool_calls: part.tool_calls, ..whole })
                    && part.tool_calls <= whole.tool_calls => {}
            (Completeness::Missing(_), None, _) => {}
            (Completeness::LowerBound(_), Some(part), Some(whole)) if is_at_most(exchange.api, &part, &whole) => {}
            _ => return wrong("it is not a part of the whole"),
        }
        // A frame that lacks only its blank line is read.
        let is_read = ends.iter().any(|end| (place..=place + BLANK).contains(end));
        let is_within = exchange.framing != Framing::Whole && !is_read && part.usage != whole.usage;
        if part.finish == Finish::Complete && is_within {
            return wrong("it is called complete");
        }
    }
    Ok(())
}

#[test]
fn what_breaks_off_is_never_more_than_the_whole_and_exact_only_if_it_is() {
    let Some(corpus) = corpus() else { return };
    let billed = |exchange: &Exchange| exchange.status() < 400 && !exchange.api.is_free();
    let (mut count, mut wrong) = (0, Vec::new());
    for exchange in exchanges(&corpus).iter().filter(|exchange| billed(exchange)) {
        // What is not streamed is one document; some of each are enough, since a cut document is read in one way.
        if exchange.framing == Framing::Whole && exchange.body.len() > 8 * SMALL {
            continue;
        }
        count += 1;
        wrong.extend(check(exchange).err().map(|why| format!("{} {}: {why}", exchange.id, exchange.text("api"))));
    }
    assert!(count > 1_000, "only {count} exchanges");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
