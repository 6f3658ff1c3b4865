//! Meters: however an answer arrives, it passes byte for byte and is measured as the same.
//!
//! The first byte of an input chooses the API, the second how the body is cut into frames and whether usage is withheld; the rest is
//! the body. How each byte of a stream is to be treated does not depend on the pieces either, and what is withheld changes nothing in
//! what is measured.

use bytes::Bytes;
use gateway::meter::{Answer, End, Framing, Measured, Meter, Verdict};
use schemas::{
    event::Api,
    tokens::{Part, Vector},
};

use super::dice::arrivals;

/// How a body can be cut, by the lowest bits of the second byte.
pub const FRAMINGS: [Framing; 4] = [Framing::Whole, Framing::Events, Framing::Lines, Framing::Messages];
/// The bit that says that usage is withheld, and the one that says that the answer is refused.
pub const STRIPS: u8 = 8;
const REFUSED: u8 = 16;

/// What became of an answer.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Where pieces that were withheld begin and end, those that touch as one.
    pub withheld: Vec<(usize, usize)>,
    /// Where each last piece ends.
    pub last: Vec<usize>,
    /// What was reported, and the least that was used, before the end.
    reported: (Vec<Part>, Vector),
    /// What was measured.
    pub measured: Measured,
}

/// Meters an answer in every way that it can arrive.
pub fn check(input: &[u8]) {
    let Some(([api, choice], body)) = input.split_first_chunk::<2>() else { return };
    let answer = Answer {
        api: Api::ALL[usize::from(*api) % Api::ALL.len()],
        status: if choice & REFUSED == 0 { 200 } else { 429 },
        framing: FRAMINGS[usize::from(choice & 3)],
        strip_usage: choice & STRIPS != 0,
    };
    let mut ways = arrivals(body).into_iter();
    let Some(first) = ways.next() else { return };
    let outcome = run(answer, &first);
    for way in ways {
        assert_eq!(run(answer, &way), outcome, "in pieces of {:?}", sizes(&way));
    }
    let other = run(Answer { strip_usage: !answer.strip_usage, ..answer }, &first);
    assert_eq!(other.measured, outcome.measured, "with usage withheld or not");
}

/// Meters an answer that comes in these pieces.
pub fn run(answer: Answer, pieces: &[&[u8]]) -> Outcome {
    let body = pieces.concat();
    let streams = answer.framing != Framing::Whole && answer.status < 400;
    let mut meter = Meter::new(answer);
    let (mut passed, mut withheld, mut last) = (Vec::new(), Vec::<(usize, usize)>::new(), Vec::new());
    let mut take = |meter: &mut Meter| {
        while let Some(frame) = meter.pop() {
            let begin = passed.len();
            passed.extend_from_slice(&frame.bytes);
            match (frame.verdict, withheld.last_mut()) {
                (Verdict::Pass, _) => {}
                (Verdict::Last, _) => last.push(passed.len()),
                (Verdict::Strip, Some((_, end))) if *end == begin => *end = passed.len(),
                (Verdict::Strip, _) => withheld.push((begin, passed.len())),
            }
        }
        passed.len()
    };
    let mut arrived = 0;
    for piece in pieces {
        arrived += piece.len();
        meter.push(Bytes::copy_from_slice(piece));
        let out = take(&mut meter);
        assert!(out <= arrived && (!streams || answer.strip_usage || out == arrived), "{out} of {arrived} came out");
    }
    meter.close();
    take(&mut meter);
    assert_eq!(passed, body, "what came out is what went in");
    for end in &mut last {
        // A line may end in both marks, and the second may come with another piece.
        let events = streams && answer.framing == Framing::Events;
        *end -= usize::from(events && *end > 1 && body[..*end].ends_with(b"\r\n"));
    }
    if !streams {
        assert!(body.is_empty() || last == [body.len()], "the last piece of a whole answer is the last: {last:?}");
    }
    let reported = (meter.reported(), meter.so_far());
    Outcome { withheld, last, reported, measured: meter.measured(End::Closed) }
}

/// The lengths of pieces, to be shown.
pub fn sizes(pieces: &[&[u8]]) -> Vec<usize> {
    pieces.iter().map(|piece| piece.len()).collect()
}
