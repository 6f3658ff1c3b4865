//! Bodies that are encoded, of requests and of answers: no more is made of them than may be, and it is what they were.
//!
//! The first byte says how the rest is encoded; it is also taken as what is to be encoded.

use gateway::fuzz::{CODINGS, decoded, encoded, witnessed};
use schemas::{error_code::ErrorCode, event::Api};

use super::dice::arrivals;

/// The most that a body may be when it is decoded: less than a short one can become.
const MOST: u64 = 64 << 10;

/// Decodes the input, and what comes of encoding it.
pub fn check(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let coding = CODINGS[usize::from(*choice) % CODINGS.len()];
    request(coding, body);
    answer(coding, body);
    for coding in CODINGS {
        let Some(encoded) = encoded(coding, body) else { continue };
        // What is not encoded is as long as it came, which is bounded as it comes.
        let fits = coding == CODINGS[0] || body.len() as u64 <= MOST;
        let wanted = if fits { Ok(body) } else { Err(&ErrorCode::BodyTooLarge) };
        assert_eq!(decoded(coding, &encoded, MOST).as_deref(), wanted);
        let plain = witnessed(Api::OpenAiChat, "identity", &[body]);
        let (passed, measured) = witnessed(Api::OpenAiChat, coding, &[&encoded]);
        assert_eq!(passed, encoded);
        assert_eq!(measured, plain.1, "what is read in it does not depend on how it came");
    }
}

fn request(coding: &'static str, body: &[u8]) {
    if coding == CODINGS[0] {
        return assert_eq!(decoded(coding, body, MOST).as_deref(), Ok(body));
    }
    match decoded(coding, body, MOST) {
        Ok(read) => {
            assert!(read.len() as u64 <= MOST, "{} bytes", read.len());
            assert_eq!(decoded(coding, body, MOST * 2), Ok(read.clone()), "a larger bound changes nothing");
            if let Some(less) = (read.len() as u64).checked_sub(1) {
                assert_eq!(decoded(coding, body, less), Err(ErrorCode::BodyTooLarge));
            }
        }
        Err(code) => assert!([ErrorCode::BodyTooLarge, ErrorCode::UnsupportedEncoding].contains(&code), "{code:?}"),
    }
}

fn answer(coding: &'static str, body: &[u8]) {
    let mut ways = arrivals(body).into_iter();
    let Some(first) = ways.next() else { return };
    let (passed, measured) = witnessed(Api::OpenAiChat, coding, &first);
    assert_eq!(passed, body, "every byte passes, readable or not");
    for way in ways {
        let (passed, other) = witnessed(Api::OpenAiChat, coding, &way);
        assert_eq!(passed, body);
        // What is broken is not read from where that is seen, which pieces decide.
        let whole =
            |measured: &Option<gateway::meter::Measured>| measured.as_ref().map(|measured| measured.usage.clone());
        if decoded(coding, body, MOST).is_ok() {
            assert_eq!(whole(&other), whole(&measured));
        }
    }
}
