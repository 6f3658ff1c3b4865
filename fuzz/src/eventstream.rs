//! Amazon's event stream: what is read of a message is in it, and a stream says the same in whatever pieces it comes.
//!
//! An input is taken as a message, as a stream, and as payloads of messages that are written properly: those are read back as they
//! were, and not any more once a bit of one is changed.

use gateway::meter::{
    Answer, Framing,
    eventstream::{read, write},
};
use schemas::event::Api;

use super::{
    dice::arrivals,
    meter::{run, sizes},
};

/// The headers of the messages that are written.
const HEADERS: [(&str, &str); 2] = [(":message-type", "event"), (":event-type", "chunk")];

/// Reads an input in each of these ways.
pub fn check(input: &[u8]) {
    if let Ok(message) = read(input) {
        assert!(message.payload.len() + 16 <= input.len(), "{message:?}");
    }
    let size = 1 + usize::from(input.first().copied().unwrap_or_default() % 64);
    let messages: Vec<Vec<u8>> = input.chunks(size).map(|payload| write(&HEADERS, payload)).collect();
    for (message, payload) in messages.iter().zip(input.chunks(size)) {
        let found = read(message).unwrap();
        assert_eq!((found.kind, found.payload), ("chunk", payload));
    }
    if let Some(message) = messages.first() {
        let bit = input.last().copied().map_or(0, usize::from) % (8 * message.len());
        let mut spoilt = message.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&spoilt).is_err(), "bit {bit} of {message:?}");
    }
    for stream in [input, &messages.concat()] {
        for api in [Api::BedrockConverseStream, Api::BedrockInvokeStream] {
            let answer = Answer { api, status: 200, framing: Framing::Messages, strip_usage: false };
            let outcome = run(answer, &[stream]);
            for way in arrivals(stream) {
                assert_eq!(run(answer, &way), outcome, "in pieces of {:?}", sizes(&way));
            }
        }
    }
}
