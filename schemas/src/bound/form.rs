//! What a request may spell out, as data: the allowed fields of each object, and what each of them adds.
//!
//! A dialect whose requests are objects of texts, values and lists is a table of [`Form`]s and no code. A field that its form does
//! not name makes the request unbounded, wherever it stands; so does a value that is not of the shape that its rule has.

use super::{
    BoundError, Why,
    json::{self, Path},
    tally::{Tally, count},
    window,
};
use crate::{json::Value, price::joined};

/// The allowed fields of an object.
pub(super) struct Form {
    /// Tokens that the object is framed by.
    pub(super) each: u64,
    pub(super) fields: &'static [(&'static str, Rule)],
}

/// What a field adds.
pub(super) enum Rule {
    /// Nothing: it steers the answer or its form.
    Silent,
    /// The text that it is.
    Text,
    /// The texts that it is a list of, or the one text.
    Texts,
    /// What it is, as the model is shown it: its JSON.
    Value,
    /// An object, or a list of objects.
    Form(&'static Form),
    /// A text, or a list of objects.
    TextOr(&'static Form),
    /// Tools: what the presence of any adds, and each.
    Tools(u64, &'static Form),
    /// The cap of the output.
    Cap,
    /// How many answers are asked for.
    Answers,
    /// An image, whose bytes are in the request if it is text that begins so.
    Image(&'static str),
    /// An image, or a list of them, that is in the request whatever stands there.
    Pictures,
    /// One of these words; else it is unbounded for this reason.
    Word(&'static [&'static str], Why),
    /// A list of such words.
    Words(&'static [&'static str], Why),
    /// A cache is written, by default for five minutes.
    Writes,
    /// The tier that is asked for.
    Tier,
    /// A guardrail, which is charged apart.
    Guardrail,
    /// Names of what is not generally there.
    Betas,
    /// Nothing bounds it.
    Not(Why),
}

/// Counts an object by its form.
pub(super) fn object(value: Value<'_>, path: &Path<'_>, form: &Form, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    tally.add(form.each);
    for (name, value) in tally.members(value, path)? {
        let path = Path::Field(path, &name);
        match form.fields.iter().find(|(known, _)| *known == &*name) {
            Some((_, rule)) => field(value, &path, rule, tally)?,
            None => tally.unbounded(&path, Why::UnknownField),
        }
    }
    Ok(())
}

/// Counts a request, which has to be an object.
pub(super) fn request(body: Value<'_>, form: &Form, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    json::members(body, &Path::Body)?.ok_or(BoundError::NotAnObject)?;
    object(body, &Path::Body, form, tally)
}

fn field(value: Value<'_>, path: &Path<'_>, rule: &Rule, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    match rule {
        Rule::Silent => {}
        Rule::Text => tally.text_at(value, path),
        Rule::Texts if value.text().is_some() => tally.text_at(value, path),
        Rule::Texts => {
            for (place, item) in tally.items(value, path).enumerate() {
                tally.text_at(item, &Path::Item(path, place));
            }
        }
        Rule::Value => tally.value(value),
        Rule::Form(form) if value.items().is_none() => object(value, path, form, tally)?,
        Rule::TextOr(_) if value.text().is_some() => tally.text_at(value, path),
        Rule::Form(form) | Rule::TextOr(form) => list(value, path, form, tally)?,
        Rule::Tools(any, form) => {
            if value.items().is_some_and(|mut items| items.next().is_some()) {
                tally.add(*any);
            }
            list(value, path, form, tally)?;
        }
        Rule::Cap => tally.state(count(value, path)?),
        Rule::Answers => tally.answers = tally.answers.max(count(value, path)?),
        Rule::Image(begin) => match value.text() {
            Some(image) if image.starts_with(begin) => tally.image(path),
            _ => tally.unbounded(path, Why::Reference),
        },
        Rule::Pictures => {
            let pictures = value.items().map_or(1, Iterator::count);
            (0..pictures).for_each(|_| tally.image(path));
        }
        Rule::Word(words, why) => word(value, path, words, *why, tally),
        Rule::Words(words, why) => {
            for (place, item) in tally.items(value, path).enumerate() {
                word(item, &Path::Item(path, place), words, *why, tally);
            }
        }
        Rule::Writes => {
            let hour =
                value.members().is_some_and(|mut members| members.any(|(name, ttl)| name == *"ttl" && is_hour(ttl)));
            tally.writes = (true, tally.writes.1 || hour);
        }
        Rule::Tier => match value.word() {
            Some(tier) => tally.tier = joined(&tally.tier, &tier),
            None => tally.unbounded(path, Why::UnknownShape),
        },
        Rule::Guardrail => tally.guarded = true,
        Rule::Betas => {
            for (place, name) in tally.items(value, path).enumerate() {
                match name.word() {
                    Some(name) => tally.window = tally.window.max(window(&name)),
                    None => tally.unbounded(&Path::Item(path, place), Why::UnknownShape),
                }
            }
        }
        Rule::Not(why) => tally.unbounded(path, *why),
    }
    Ok(())
}

fn list(value: Value<'_>, path: &Path<'_>, form: &Form, tally: &mut Tally<'_>) -> Result<(), BoundError> {
    for (place, item) in tally.items(value, path).enumerate() {
        object(item, &Path::Item(path, place), form, tally)?;
    }
    Ok(())
}

fn word(value: Value<'_>, path: &Path<'_>, words: &[&str], why: Why, tally: &mut Tally<'_>) {
    if value.text().is_none_or(|text| !words.iter().any(|word| text == **word)) {
        tally.unbounded(path, why);
    }
}

fn is_hour(ttl: Value<'_>) -> bool {
    ttl.text().is_some_and(|ttl| ttl == *"1h")
}
