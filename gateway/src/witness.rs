//! What stands between an answer's bytes and its meter: which bytes go on, and what the meter can read of them.
//!
//! Providers are asked not to compress. One that does all the same has its bytes passed as they are, and a copy is decoded
//! for the meter; what cannot be decoded is settled as unreadable, never as free. Nothing here does I/O.

use std::{collections::VecDeque, io::Write, mem, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use schemas::{
    bound::AtMost,
    event::{Api, Operation},
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use crate::{
    meter::{self, Answer, Finish, Framing, Measured, Meter, Verdict, estimate},
    request::Parsed,
};

/// The most that is decoded of one answer.
const DECODED_MAX: usize = 64 << 20;

/// The witness of one answer.
pub(crate) struct Witness {
    meter: Option<Meter>,
    copy: Copy,
    /// A piece of an encoded answer that may be its last.
    held: Option<Bytes>,
    framing: Framing,
    is_terminal: bool,
}

/// How an answer is to be read, by what was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Whether the client did not ask for usage, but we did.
    pub(crate) strip_usage: bool,
    /// Whether a guardrail looks at it.
    pub(crate) is_guarded: bool,
    /// How many answers were asked for in one.
    pub(crate) choices: u64,
    /// Whether code that the provider runs costs nothing, if that is known.
    pub(crate) code_is_free: Option<bool>,
}

/// How the meter comes to read the bytes.
enum Copy {
    /// As they are.
    Plain,
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>, usize),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>, usize),
    /// Not at all.
    Unreadable,
}

/// A whole answer that states no usage, and all that an estimate of it needs.
pub(crate) struct Estimable {
    api: Api,
    model: String,
    parsed: Arc<Parsed>,
    measured: Measured,
}

impl Witness {
    /// A witness for an answer whose head has come.
    pub(crate) fn new(api: Api, headers: &HeaderMap, status: StatusCode, reading: Reading) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let framing = if status.is_success() { Framing::of(kind) } else { Framing::Whole };
        let copy = Copy::of(headers);
        let strip_usage = reading.strip_usage && matches!(copy, Copy::Plain);
        let mut meter = Meter::new(Answer { api, status: status.as_u16(), framing, strip_usage });
        meter.choices(reading.choices);
        if reading.is_guarded {
            meter.guarded();
        }
        if let Some(is_free) = reading.code_is_free {
            meter.code_is_free(is_free);
        }
        for (name, value) in headers {
            if let Ok(value) = value.to_str() {
                meter.header(name.as_str(), value);
            }
        }
        Self { meter: Some(meter), copy, held: None, framing, is_terminal: false }
    }

    /// From now on each frame of a stream comes out by itself and whole; says whether that is possible.
    pub(crate) fn by_frame(&mut self) -> bool {
        let possible = self.is_stream() && matches!(self.copy, Copy::Plain);
        if let Some(meter) = self.meter.as_mut().filter(|_| possible) {
            meter.by_frame();
        }
        possible
    }

    /// Takes a piece of the body; what may go on comes into `out`.
    pub(crate) fn take(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) {
        let Some(meter) = &mut self.meter else { return out.push_back(data) };
        if matches!(self.copy, Copy::Plain) {
            meter.push(data);
            return self.pass_on(out);
        }
        if let Some(decoded) = self.copy.decode(&data) {
            meter.push(decoded);
            while let Some(frame) = meter.pop() {
                self.is_terminal |= frame.verdict == Verdict::Last;
            }
        }
        out.extend(self.held.replace(data));
    }

    fn pass_on(&mut self, out: &mut VecDeque<Bytes>) {
        while let Some(frame) = self.meter.as_mut().and_then(Meter::pop) {
            self.is_terminal |= frame.verdict == Verdict::Last;
            if frame.verdict != Verdict::Strip {
                out.push_back(frame.bytes);
            }
        }
    }

    /// The body is over, or will not be read further: what was held back comes into `out`.
    pub(crate) fn close(&mut self, out: &mut VecDeque<Bytes>) {
        if let Some(meter) = &mut self.meter {
            meter.close();
        }
        if matches!(self.copy, Copy::Plain) {
            self.pass_on(out);
        } else {
            out.extend(self.held.take());
        }
    }

    /// What the answer used, given how its body came to its end. A second time there is nothing.
    pub(crate) fn measured(&mut self, end: meter::End) -> Option<Measured> {
        let mut measured = self.meter.take()?.measured(end);
        if matches!(self.copy, Copy::Unreadable) && !matches!(measured.usage.completeness, Completeness::Exact) {
            measured.usage = Usage::missing(Doubt::Unreadable);
            // Nobody could see where it ends; that it ended is all that is known.
            measured.finish = Finish::Complete;
        }
        Some(measured)
    }

    /// Whether the last piece of the answer is in what was given out.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether it is a stream that lacks the mark which ends those of its API, behind why it ends. Without it more may have been to come.
    pub(crate) const fn lacks_mark(&self, api: Api) -> bool {
        self.is_stream() && matches!(api, Api::OpenAiChat | Api::OpenAiCompletions) && !self.is_terminal
    }

    /// Whether the answer is a stream of events.
    pub(crate) const fn is_stream(&self) -> bool {
        !matches!(self.framing, Framing::Whole)
    }

    /// Whether a comment between two frames means nothing to who reads them.
    pub(crate) const fn takes_comments(&self) -> bool {
        matches!(self.framing, Framing::Events)
    }

    /// Whether something may be put into the stream here.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.copy, Copy::Plain) && self.meter.as_ref().is_some_and(Meter::between_frames)
    }

    /// The bytes of output text seen so far.
    pub(crate) fn seen_bytes(&self) -> u64 {
        self.meter.as_ref().map_or(0, Meter::visible_output_bytes)
    }

    /// What was reported so far.
    pub(crate) fn reported(&self) -> Vec<Part> {
        self.meter.as_ref().map(Meter::reported).unwrap_or_default()
    }

    /// The least that was used so far.
    pub(crate) fn so_far(&self) -> Vector {
        self.meter.as_ref().map(Meter::so_far).unwrap_or_default()
    }
}

impl Estimable {
    /// Whether a whole answer has to be estimated, since it came to its end and states no usage, and whether it can be: by text.
    pub(crate) fn is_needed(api: Api, measured: &Measured) -> bool {
        let unsaid = measured.usage.completeness == Completeness::Missing(Doubt::NotReported);
        Self::speaks(api) && unsaid && measured.finish == Finish::Complete
    }

    /// Whether an answer that did not come to its end said something before, and not what it used. Then its request was read as well.
    pub(crate) fn has_begun(api: Api, measured: &Measured) -> bool {
        let unsaid = matches!(measured.usage.completeness, Completeness::Missing(_));
        Self::speaks(api) && unsaid && measured.visible.bytes() > 0
    }

    const fn speaks(api: Api) -> bool {
        matches!(
            api.operation(),
            Operation::Chat | Operation::TextCompletion | Operation::GenerateContent | Operation::Embeddings
        )
    }

    pub(crate) const fn new(api: Api, model: String, parsed: Arc<Parsed>, measured: Measured) -> Self {
        Self { api, model, parsed, measured }
    }

    /// The estimate. It counts tokens, which takes its time: not for an async thread.
    pub(crate) fn estimate(mut self) -> Measured {
        self.measured.usage = estimate::usage(self.api, &self.model, self.parsed.body(), &self.measured.visible);
        self.measured
    }
}

impl Estimable {
    /// What of an answer that did not come to its end has been used so far: what was reported, and of the text seen an estimate, as far as
    /// it is within the most that was held for. The rest of that stays held. Why the answer ended is why it is one.
    pub(crate) fn so_far(mut self, most: Option<&AtMost>) -> Measured {
        let seen = estimate::usage(self.api, &self.model, self.parsed.body(), &self.measured.visible);
        let seen = seen.total().unwrap_or_default();
        let usage = &mut self.measured.usage;
        let output = most.map_or(seen.output, |most| seen.output.min(most.output));
        let why = match (&usage.completeness, usage.parts.first_mut()) {
            (Completeness::LowerBound(why), Some(part)) if part.vector.all_output() < output => {
                part.vector.output = output.saturating_sub(part.vector.audio_output);
                *why
            }
            (Completeness::LowerBound(_), Some(_)) => return self.measured,
            (said, _) => {
                let why = if let Completeness::Missing(why) = said { *why } else { Doubt::Truncated };
                let input = most.map_or(seen.uncached_input, |most| seen.uncached_input.min(most.input));
                let vector = Vector { uncached_input: input, output, ..self.measured.visible.units() };
                usage.parts = vec![Part { model: None, vector }];
                why
            }
        };
        // One that ended with an error may have all marks of an end; an estimate of it is not all there is.
        let why = if why == Doubt::NotReported { Doubt::Truncated } else { why };
        usage.completeness = Completeness::Estimated(why);
        self.measured
    }
}

impl Copy {
    fn of(headers: &HeaderMap) -> Self {
        let mut stated = headers.get_all(header::CONTENT_ENCODING).iter();
        let first = stated.next().map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
        if stated.next().is_some() {
            return Self::Unreadable;
        }
        match first.as_deref() {
            None | Some(b"" | b"identity") => Self::Plain,
            Some(b"gzip" | b"x-gzip") => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new())), 0),
            Some(b"zstd") => match zstd::stream::write::Decoder::new(Vec::new()) {
                Ok(decoder) => Self::Zstd(Box::new(decoder), 0),
                Err(_) => Self::Unreadable,
            },
            Some(_) => Self::Unreadable,
        }
    }

    /// The next piece, decoded; nothing from the moment when it cannot be.
    fn decode(&mut self, data: &[u8]) -> Option<Bytes> {
        let (written, decoded, size) = match self {
            Self::Plain | Self::Unreadable => return None,
            Self::Gzip(decoder, size) => {
                let written = decoder.write_all(data).and_then(|()| decoder.flush());
                (written, mem::take(decoder.get_mut()), size)
            }
            Self::Zstd(decoder, size) => {
                let written = decoder.write_all(data).and_then(|()| decoder.flush());
                (written, mem::take(decoder.get_mut()), size)
            }
        };
        *size += decoded.len();
        if written.is_err() || *size > DECODED_MAX {
            *self = Self::Unreadable;
            return None;
        }
        Some(Bytes::from(decoded))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ANSWER: &[u8] =
        br#"{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

    fn check(encoding: Option<&'static str>, body: &[u8], wanted: Completeness) {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let mut witness = Witness::new(Api::OpenAiChat, &headers, StatusCode::OK, Reading::default());
        let mut out = VecDeque::new();
        for piece in body.chunks(10) {
            witness.take(Bytes::copy_from_slice(piece), &mut out);
        }
        let before: usize = out.iter().map(Bytes::len).sum();
        assert!(before < body.len(), "the last piece waits for the settlement");
        witness.close(&mut out);
        assert_eq!(out.iter().flatten().copied().collect::<Vec<u8>>(), body, "every byte passes");
        let measured = witness.measured(meter::End::Closed).unwrap();
        assert_eq!(measured.usage.completeness, wanted, "{encoding:?}");
        assert!(witness.measured(meter::End::Closed).is_none());
    }

    #[test]
    fn an_answer_that_is_encoded_all_the_same_is_read_from_a_copy() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(ANSWER).unwrap();
        let gzip = gzip.finish().unwrap();
        check(None, ANSWER, Completeness::Exact);
        check(Some("gzip"), &gzip, Completeness::Exact);
        check(Some("zstd"), &zstd::encode_all(ANSWER, 1).unwrap(), Completeness::Exact);
        check(Some("br"), ANSWER, Completeness::Missing(Doubt::Unreadable));
        check(Some("gzip"), ANSWER, Completeness::Missing(Doubt::Unreadable));
    }
}
