//! Server-sent events: the frames are those of the standard, told line by line.
//!
//! The reader here knows lines and nothing of pieces. A stream that is cut into its frames and written again in the plainest way is
//! measured as the stream itself; pieces are withheld, and end an answer, only as whole frames; and the meter says that it stands
//! between two frames exactly where it does. Streams are shorter here than the largest frame that is looked at.

use std::ops::Range;

use bytes::Bytes;
use gateway::meter::{Answer, Framing, Meter};
use schemas::event::Api;

use super::{
    dice::arrivals,
    meter::{Outcome, run, sizes},
};

/// A frame: where it stands, its data, and whether a blank line ends it.
struct Frame {
    place: Range<usize>,
    data: Option<Vec<u8>>,
    ended: bool,
}

/// Holds the stream to its frames, in each dialect that streams.
pub fn check(input: &[u8]) {
    let frames = frames(input);
    let plain: Vec<Vec<u8>> = frames.iter().map(written).collect();
    let plain: Vec<&[u8]> = plain.iter().map(Vec::as_slice).collect();
    for api in [Api::OpenAiChat, Api::AnthropicMessages] {
        for strip_usage in [false, true] {
            let answer = Answer { api, status: 200, framing: Framing::Events, strip_usage };
            let (outcome, again) = (run(answer, &[input]), run(answer, &plain));
            assert_eq!(outcome.measured, again.measured, "frame by frame");
            whole_frames(&outcome, &frames, input);
        }
        for way in arrivals(input) {
            stands_between(api, &way, &frames, input);
        }
    }
}

/// The frames of a stream.
fn frames(stream: &[u8]) -> Vec<Frame> {
    let (mut frames, mut begin, mut data, mut at) = (Vec::new(), 0, None::<Vec<u8>>, 0);
    while at < stream.len() {
        let length = stream[at..].iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let end = length.map_or(stream.len(), |length| at + length);
        let line = &stream[at..end];
        let mark = if stream[end..].starts_with(b"\r\n") { 2 } else { usize::from(end < stream.len()) };
        let blank = line.is_empty();
        let line = if frames.is_empty() && at == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let value = match line.strip_prefix(b"data") {
            Some([]) => Some(&[][..]),
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => Some(value),
            _ => None,
        };
        if let Some(value) = value {
            let before = data.take().map(|before| [before, b"\n".to_vec()].concat());
            data = Some([before.unwrap_or_default(), value.to_vec()].concat());
        }
        at = end + mark;
        if blank || at == stream.len() {
            frames.push(Frame { place: begin..at, data: data.take(), ended: blank });
            begin = at;
        }
    }
    frames
}

/// A frame in the plainest way: its data, line by line. One that breaks off before it has any is a comment that does: that a stream ends
/// within a frame says something of it.
fn written(frame: &Frame) -> Vec<u8> {
    let lines = frame.data.iter().flat_map(|data| data.split(|byte| *byte == b'\n'));
    let lines: Vec<Vec<u8>> = lines.map(|line| [b"data: ", line].concat()).collect();
    let mut out = lines.join(&b'\n');
    match (frame.ended, &frame.data) {
        (true, _) => out.extend_from_slice(b"\n\n"),
        (false, None) => out.push(b':'),
        (false, Some(_)) => {}
    }
    out
}

fn whole_frames(outcome: &Outcome, frames: &[Frame], stream: &[u8]) {
    let begins = |at: usize| frames.iter().any(|frame| frame.place.start == at);
    let ends = |at: usize| frames.iter().any(|frame| frame.place.end == at);
    for (begin, end) in &outcome.withheld {
        assert!(begins(*begin) && ends(*end), "{begin}..{end} is withheld");
    }
    for end in &outcome.last {
        assert!(ends(*end) || stream[*end..].starts_with(b"\n") && ends(*end + 1), "the answer ends at {end}");
    }
}

/// Nothing is held back here, so what came out is what arrived.
fn stands_between(api: Api, pieces: &[&[u8]], frames: &[Frame], stream: &[u8]) {
    let mut meter = Meter::new(Answer { api, status: 200, framing: Framing::Events, strip_usage: false });
    let mut arrived = 0;
    for piece in pieces {
        meter.push(Bytes::copy_from_slice(piece));
        arrived += piece.len();
        let second = stream[..arrived].ends_with(b"\r") && stream[arrived..].starts_with(b"\n");
        let at = arrived + usize::from(second);
        let between = at == 0 || frames.iter().any(|frame| frame.place.end == at && frame.ended);
        assert_eq!(meter.between_frames(), between, "behind {arrived} bytes in pieces of {:?}", sizes(pieces));
    }
}
