//! What is acted on of a form: the model, and whether the answer streams; files in it are not looked at.
//!
//! A form goes on as it came but for the name of the model, which is put in front where the path named it. A field that matters may
//! stand once, as in JSON, and a form whose parts cannot be told apart is refused, since nobody could say which model it asks for.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use schemas::{error_code::ErrorCode, event::Api};
use serde_json::Value;

use super::{BodyKind, Given, Parsed, Problem, bounded, problem};

/// The most parts of a form: more files than any API takes.
const PARTS_MAX: usize = 128;
/// The longest boundary, as the format has it.
const BOUNDARY_MAX: usize = 70;

/// The boundary of a form's content type; nothing for what is no form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut pieces = content_type.split(';');
    if !pieces.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let stated = parameter(pieces, "boundary");
    // Without one nothing can be found in it, which is said when it is read.
    Some(stated.filter(|boundary| boundary.len() <= BOUNDARY_MAX).unwrap_or_default())
}

/// The value of a parameter that stands once.
fn parameter<'a>(pieces: impl Iterator<Item = &'a str>, wanted: &str) -> Option<String> {
    let mut stated = pieces.filter_map(|piece| {
        let (name, value) = piece.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
    });
    stated.next().filter(|_| stated.next().is_none())
}

/// Reads a form; what the path says is not asked of it.
pub(super) fn parse(api: Api, body: &Bytes, boundary: &str, given: &Given<'_>) -> Result<Parsed, Problem> {
    let bad = |what: &str| problem(ErrorCode::MalformedForm, what.to_owned());
    if boundary.is_empty() {
        return Err(bad("its content type states no boundary"));
    }
    let (mut model, mut stream) = (None, None);
    let (open, fields) = fields(body, boundary).ok_or_else(|| bad("its parts cannot be told apart"))?;
    for field in &fields {
        let kept = match field.name.as_str() {
            "model" => &mut model,
            "stream" => &mut stream,
            _ => continue,
        };
        if kept.replace(field.value.clone()).is_some() {
            return Err(problem(ErrorCode::DuplicateJsonKey, format!("`{}` may stand once", field.name)));
        }
    }
    let text = |span: &Range<usize>| body.get(span.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let stated = || {
        let span = model.as_ref().ok_or_else(|| problem(ErrorCode::BadValue, "`model` is missing".to_owned()))?;
        let name = text(span).map(str::trim).filter(|name| !name.is_empty());
        name.ok_or_else(|| problem(ErrorCode::BadValue, "`model` must be a name".to_owned()))
    };
    let name = given.model.map_or_else(stated, Ok)?;
    let mut parsed = Parsed::plain(api, body, bounded(name)?);
    let asks = || stream.as_ref().and_then(text).is_some_and(|flag| flag.trim() == "true");
    parsed.stream = given.streams.unwrap_or_else(asks);
    parsed.named_in_body = given.model.is_none();
    (parsed.spans.open, parsed.spans.model, parsed.spans.kind) = (open, model, BodyKind::Form);
    parsed.form = Some(Bytes::from(written(body, &fields)));
    Ok(parsed)
}

impl Parsed {
    /// What bounds it: the body, the fields of one that is a form, or nothing where it is not acted on.
    pub(crate) fn document(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::from_static(b"{}");
        match (&self.form, self.spans.kind) {
            (Some(fields), _) => fields,
            (None, BodyKind::Unread) => &NOTHING,
            (None, _) => &self.body,
        }
    }

    /// Whether it is a form.
    pub(crate) const fn is_form(&self) -> bool {
        self.form.is_some()
    }
}

/// A field of a form.
struct Field {
    name: String,
    /// Where its value stands.
    value: Range<usize>,
    is_file: bool,
}

/// The fields as the members of an object, for who bounds it: texts, `true` for a file, and the number of answers as one. Of one name
/// that stands several times it is a list.
fn written(body: &[u8], fields: &[Field]) -> String {
    let value = |field: &Field| {
        let text = body.get(field.value.clone()).filter(|_| !field.is_file);
        match text.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            Some(text) => {
                text.parse::<u64>().ok().filter(|_| is_number(&field.name)).map_or_else(|| text.into(), Value::from)
            }
            None => Value::Bool(true),
        }
    };
    let mut members = serde_json::Map::new();
    for field in fields {
        match members.get_mut(&field.name) {
            None => drop(members.insert(field.name.clone(), value(field))),
            Some(Value::Array(several)) => several.push(value(field)),
            Some(one) => *one = Value::Array(vec![one.take(), value(field)]),
        }
    }
    Value::Object(members).to_string()
}

/// Whether a field is a number that bounds what is asked for.
fn is_number(name: &str) -> bool {
    matches!(name, "n" | "partial_images")
}

/// Where a form opens, and its fields.
fn fields(body: &[u8], boundary: &str) -> Option<(usize, Vec<Field>)> {
    let mark = format!("--{boundary}");
    let between = format!("\r\n{mark}");
    let finder = memmem::Finder::new(between.as_bytes());
    let open = if body.starts_with(mark.as_bytes()) { 0 } else { finder.find(body)? + 2 };
    let (mut at, mut found) = (open + mark.len(), Vec::new());
    for _ in 0..PARTS_MAX {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return Some((open, found));
        }
        let head = at + memmem::find(rest, b"\r\n")? + 2;
        let end = head + finder.find(body.get(head..)?)?;
        let part = body.get(head..end)?;
        let value = memmem::find(part, b"\r\n\r\n")?;
        let (name, is_file) = name(std::str::from_utf8(part.get(..value)?).ok()?)?;
        found.push(Field { name, value: head + value + 4..end, is_file });
        at = end + between.len();
    }
    None
}

/// A new first field, behind the same mark as the one that was first.
pub(super) fn put(body: &[u8], open: usize, name: &str, value: &str) -> Option<String> {
    let rest = body.get(open..)?;
    let mark = std::str::from_utf8(rest.get(..memmem::find(rest, b"\r\n")?)?).ok()?;
    Some(format!("{mark}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
}

/// The name in the head of a part, and whether it is a file.
fn name(head: &str) -> Option<(String, bool)> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let is_file = line.split(';').any(|piece| piece.trim_start().to_ascii_lowercase().starts_with("filename"));
    Some((parameter(line.split(';').skip(1), "name")?, is_file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Edits;

    fn form(fields: &[(&str, &str)]) -> Bytes {
        let part =
            |(name, value): &(&str, &str)| format!("--b\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n");
        Bytes::from(fields.iter().map(part).collect::<String>() + "--b--\r\n")
    }

    #[test]
    fn model_and_stream_are_found_and_the_model_is_changed_in_place() {
        let body = form(&[
            ("name=\"file\"; filename=\"a.wav\"", "RIFF\r\n\r\n--x"),
            ("name=\"model\"", "whisper-1"),
            ("name=\"stream\"", "true"),
        ]);
        let parsed = parse(Api::OpenAiTranscriptions, &body, "b", &Given::default()).unwrap();
        assert_eq!((parsed.model.as_str(), parsed.stream), ("whisper-1", true));
        let edited = parsed.edit(&Edits { model: Some("other"), ..Edits::default() });
        assert_eq!(edited, String::from_utf8_lossy(&body).replace("whisper-1", "other").as_bytes());
    }

    /// As Azure's clients ask.
    #[test]
    fn a_model_that_the_path_names_need_not_be_a_field() {
        let file = ("name=\"file\"; filename=\"a.wav\"", "RIFF");
        let given = Given { model: Some("deployed"), ..Given::default() };
        let bare = form(&[file]);
        for body in [bare.clone(), Bytes::from([b"preamble\r\n", &bare[..]].concat())] {
            let parsed = parse(Api::OpenAiTranscriptions, &body, "b", &given).unwrap();
            assert_eq!((parsed.model.as_str(), parsed.edit(&Edits::default())), ("deployed", body.clone()));
            let edited = parsed.edit(&Edits { model: Some("other"), ..Edits::default() });
            let wanted = form(&[("name=\"model\"", "other"), file]);
            assert!(edited.ends_with(&wanted) && edited.len() - wanted.len() == body.len() - bare.len());
        }
        let both = form(&[file, ("name=\"model\"", "another")]);
        let parsed = parse(Api::OpenAiTranscriptions, &both, "b", &given).unwrap();
        assert_eq!(parsed.model, "deployed");
        let edited = parsed.edit(&Edits { model: Some("deployed"), ..Edits::default() });
        assert_eq!(edited, form(&[file, ("name=\"model\"", "deployed")]));
    }

    #[test]
    fn its_fields_are_told_to_who_bounds_it() {
        let body = form(&[
            ("name=\"image[]\"; filename=\"a.png\"", "PNG"),
            ("name=\"model\"", "gpt-image-1"),
            ("name=\"n\"", "2"),
            ("name=\"prompt\"", "7 \"gates\""),
            ("name=\"image[]\"; filename=\"b.png\"", "PNG"),
        ]);
        let parsed = parse(Api::OpenAiImages, &body, "b", &Given::default()).unwrap();
        let found: Value = serde_json::from_slice(parsed.document()).unwrap();
        let wanted =
            serde_json::json!({ "image[]": [true, true], "model": "gpt-image-1", "n": 2, "prompt": "7 \"gates\"" });
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_form_that_can_be_read_in_two_ways_is_refused() {
        let code = |body: &Bytes, boundary| {
            let read = parse(Api::OpenAiImages, body, boundary, &Given::default());
            read.map(drop).map_err(|problem| problem.code)
        };
        let twice = form(&[("name=\"model\"", "a"), ("name=\"model\"", "b")]);
        assert_eq!(code(&twice, "b"), Err(ErrorCode::DuplicateJsonKey));
        assert_eq!(code(&form(&[("name=\"file\"", "x")]), "b"), Err(ErrorCode::BadValue));
        for (body, boundary) in [(&twice, "c"), (&twice, ""), (&twice.slice(..twice.len() - 6), "b")] {
            assert_eq!(code(body, boundary), Err(ErrorCode::MalformedForm));
        }
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\""), Some("x y".into()));
        assert_eq!(boundary("application/json"), None);
    }
}
