//! What a request for images, speech or a transcription spells out; a form's fields come as the members of an object.
//!
//! Output here has no member that caps it: it is as much as its kind has at most. OpenAI states that for an image of a size and quality;
//! for the rest it is what the catalogue says of the model, and where it says nothing nothing bounds them. What a file comes to is not in
//! its bytes. Models that are billed by the image, the character or the minute report no tokens and have no maximum here.

use super::{
    BoundError, Why,
    cost::Reach,
    form::{self, Form, Rule},
    json::{self, Path},
    tally::{Makes, Tally, count},
};
use crate::json::Value;

/// Tokens that a request is framed by.
const PER_REQUEST: u64 = 32;

/// The models that make images of so many tokens, as OpenAI's guide to images has them (read 2026-11): by size, square, upright and wide,
/// for the qualities low, medium and high.
const IMAGE_MODELS: [&str; 3] = ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5"];
const IMAGE_TOKENS: [(&str, [u64; 3]); 3] =
    [("1024x1024", [272, 1_056, 4_160]), ("1024x1536", [408, 1_584, 6_240]), ("1536x1024", [400, 1_568, 6_208])];
const QUALITIES: [&str; 3] = ["low", "medium", "high"];
/// What an unfinished image that is shown on the way costs.
const PARTIAL_IMAGE: u64 = 100;
/// The most of those.
const PARTIAL_IMAGES: u64 = 3;

/// Counts a request for images: each is as large as its size and quality are, or the largest there is where they are not said.
pub(super) fn images(body: Value<'_>, model: &str, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    form::request(body, &IMAGES, tally)?;
    tally.makes = Makes::Uncapped;
    let fields = json::members(body, &Path::Body)?.ok_or(BoundError::NotAnObject)?;
    let word = |name: &str| fields.get(name).and_then(Value::word).filter(|word| *word != "auto");
    if IMAGE_MODELS.contains(&undated(model)) {
        let (size, quality) = (word("size"), word("quality"));
        let sizes = IMAGE_TOKENS.iter().filter(|(known, _)| size.as_deref().is_none_or(|size| size == *known));
        let tokens = sizes.flat_map(|(_, tokens)| {
            let of_quality = QUALITIES.iter().zip(tokens);
            of_quality.filter(|(known, _)| quality.as_deref().is_none_or(|quality| quality == **known))
        });
        let partial = match fields.get("partial_images") {
            Some(images) => count(images, &Path::Field(&Path::Body, "partial_images"))?.min(PARTIAL_IMAGES),
            None => 0,
        };
        // A size that is none of these has no maximum here.
        if let Some(most) = tokens.map(|(_, tokens)| *tokens).max() {
            tally.state(most + partial * PARTIAL_IMAGE);
        }
    }
    Ok(Reach { images: true, ..Reach::default() })
}

/// A model's name without the date of its version.
fn undated(model: &str) -> &str {
    let is_date = |rest: &str| rest.len() == 10 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match model.split_at_checked(model.len().saturating_sub(11)) {
        Some((name, date)) if date.strip_prefix('-').is_some_and(is_date) => name,
        _ => model,
    }
}

/// Counts a request for speech.
pub(super) fn speech(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    form::request(body, &SPEECH, tally)?;
    tally.makes = Makes::Uncapped;
    Ok(Reach { sounds: true, audio: true, ..Reach::default() })
}

/// Counts a request for a transcription. How long a sound is, its bytes do not say: it is all that the model hears at most.
pub(super) fn transcription(body: Value<'_>, tally: &mut Tally<'_>) -> Result<Reach<'static>, BoundError> {
    form::request(body, &TRANSCRIPTION, tally)?;
    tally.makes = Makes::Uncapped;
    Ok(Reach { audio: true, ..Reach::default() })
}

static IMAGES: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("prompt", Rule::Text),
        ("n", Rule::Answers),
        ("image", Rule::Pictures),
        ("image[]", Rule::Pictures),
        ("mask", Rule::Pictures),
        ("images", Rule::Not(Why::Reference)),
        ("model", Rule::Silent),
        ("size", Rule::Silent),
        ("quality", Rule::Silent),
        ("background", Rule::Silent),
        ("input_fidelity", Rule::Silent),
        ("moderation", Rule::Silent),
        ("output_compression", Rule::Silent),
        ("output_format", Rule::Silent),
        ("partial_images", Rule::Silent),
        ("response_format", Rule::Silent),
        ("stream", Rule::Silent),
        ("style", Rule::Silent),
        ("user", Rule::Silent),
    ],
};

static SPEECH: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("input", Rule::Text),
        ("instructions", Rule::Text),
        ("model", Rule::Silent),
        ("voice", Rule::Silent),
        ("response_format", Rule::Silent),
        ("speed", Rule::Silent),
        ("stream_format", Rule::Silent),
    ],
};

static TRANSCRIPTION: Form = Form {
    each: PER_REQUEST,
    fields: &[
        ("file", Rule::Not(Why::Audio)),
        ("prompt", Rule::Text),
        ("model", Rule::Silent),
        ("language", Rule::Silent),
        ("response_format", Rule::Silent),
        ("temperature", Rule::Silent),
        ("include", Rule::Silent),
        ("include[]", Rule::Silent),
        ("timestamp_granularities", Rule::Silent),
        ("timestamp_granularities[]", Rule::Silent),
        ("stream", Rule::Silent),
    ],
};
