//! What Envoy's rate limit filter says: descriptors, which together describe one call.
//!
//! An entry says who calls, of which provider and model, and what the call is named; a descriptor with a `unit` states how much of it:
//! in a check the most that the call can use, in a settlement what it used. Envoy leaves a descriptor out when it does not know a
//! value of it, so what is not stated is never taken for none. Pure; it looks nobody up.

use schemas::{
    bound::Stated,
    config::{TAG_NAME, is_tag_name},
    policy::Digest,
    subject::Subject,
    tokens::Vector,
    wire,
};

use super::{
    Check, EXPIRES_IN, Ending, Most, Name, Settlement, Stating, Told, Who, Wrong, api, api_of,
    envoy::{Descriptor, Request},
    expiry, is_text, wrong,
};
use crate::route::short;

/// The most descriptors, and entries of one: more than any route has.
const MOST: usize = 64;
/// The most of a unit that Envoy can state.
const HITS_MAX: u64 = 1_000_000_000;
/// The most answers to one request: several times what any API gives.
const CHOICES_MAX: u64 = 1_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// Whether a call may be made that will be settled.
    Check(Check),
    /// Whether a call may be made of which nothing more is heard: what it says is what it uses.
    Final(Box<(Check, Told)>),
    /// What became of a call.
    Settle(Settlement),
}

/// Reads a request; `body` is what it was decoded from.
pub(crate) fn question(request: &Request, body: &[u8]) -> Result<Question, Wrong> {
    let mut said = Said::default();
    if request.descriptors.is_empty() || request.descriptors.len() > MOST {
        return Err(wrong(format!("a request has 1 to {MOST} descriptors")));
    }
    let mut takes_all = false;
    for descriptor in &request.descriptors {
        takes_all |= said.take(descriptor, request.hits_addend)?;
    }
    if request.hits_addend > 1 && !takes_all {
        return Err(one_request());
    }
    match (said.settles, said.call.take()) {
        (true, Some(call)) => {
            if said.units.choices.is_some() {
                return Err(wrong("the unit `choices` belongs to a check"));
            }
            let told = Told { outcome: ending(&said.details), ..said.units.told()? };
            Ok(Question::Settle(Settlement { name: Name::Call(call), told, content: wire::hash(body) }))
        }
        (true, None) => Err(wrong("`settle` stands without the `call` that it is about")),
        (false, call) => {
            if said.units.status.is_some() {
                return Err(wrong("the unit `status` belongs to a settlement"));
            }
            if !said.details.is_empty() {
                return Err(wrong("`details` belong to a settlement"));
            }
            let is_final = call.is_none();
            let told = said.units.told()?;
            let check = said.check(call)?;
            Ok(if is_final { Question::Final(Box::new((check, told))) } else { Question::Check(check) })
        }
    }
}

/// What Envoy's details of a response say of the end, where the status alone says otherwise: the client left, a deadline passed, or the
/// answer broke off.
fn ending(details: &str) -> Option<Ending> {
    let reset = |of: &str| details.ends_with(of) || details.contains(&format!("{of}{{"));
    if details.starts_with("downstream_") || reset(".remote_reset") || reset(".remote_refuse") {
        return Some(Ending::ClientGone);
    }
    if details.contains("timeout") || details.contains("max_stream_duration") {
        return Some(Ending::Timeout);
    }
    details.starts_with("upstream_reset_after_response_started").then_some(Ending::ProviderError)
}

fn one_request() -> Wrong {
    wrong("a call is one request: `hits_addend` is 1, but in descriptors with a `unit`")
}

/// What the descriptors say so far.
#[derive(Default)]
struct Said {
    subject: Subject,
    key: Option<Digest>,
    provider: String,
    model: String,
    api: String,
    call: Option<String>,
    settles: bool,
    expires_in: String,
    /// Envoy's details of the response.
    details: String,
    tags: Vec<(String, String)>,
    units: Units,
}

/// How much is said of each unit.
#[derive(Default)]
struct Units {
    /// All input, cached or not; and all output.
    all: [Option<u64>; 2],
    /// The classes, in the order of their names.
    classes: [Option<u64>; CLASSES.len()],
    /// How many answers may each have the output that is stated; 1 where that is not said.
    choices: Option<u64>,
    status: Option<u64>,
}

/// The classes of tokens as units, each with what it is a part of: input, output, or neither.
const CLASSES: [(&str, Option<usize>); 16] = [
    ("input", Some(0)),
    ("cache_read", Some(0)),
    ("cache_write_5m", Some(0)),
    ("cache_write_1h", Some(0)),
    ("audio_input", Some(0)),
    ("output", Some(1)),
    ("audio_output", Some(1)),
    ("reasoning", None),
    ("web_search", None),
    ("search_unit", None),
    ("guardrail", None),
    ("tool_calls", None),
    ("image_input", Some(0)),
    ("image_output", Some(1)),
    ("cache_read_audio", Some(0)),
    ("code_session", None),
];

impl Said {
    /// Takes a descriptor in; says whether its number is that of the whole request.
    fn take(&mut self, descriptor: &Descriptor, of_request: u32) -> Result<bool, Wrong> {
        if descriptor.limit.is_some() {
            return Err(wrong("a descriptor has a `limit` of its own; limits stand in Tollgate's configuration"));
        }
        if descriptor.is_negative_hits {
            return Err(wrong("hits cannot be taken back; settle the call with what it used"));
        }
        if descriptor.entries.is_empty() || descriptor.entries.len() > MOST {
            return Err(wrong(format!("a descriptor has 1 to {MOST} entries")));
        }
        let mut unit = None;
        for entry in &descriptor.entries {
            if !is_text(&entry.value) {
                let what = "has 1 to 256 bytes and no control characters";
                return Err(wrong(format!("the value of `{}` {what}", short(&entry.key))));
            }
            if entry.key != "unit" {
                self.entry(&entry.key, &entry.value)?;
            } else if unit.replace(entry.value.as_str()).is_some_and(|other| other != entry.value) {
                return Err(wrong("a descriptor has two units"));
            }
        }
        let stated = descriptor.hits_addend.map(|number| number.value);
        let Some(unit) = unit else {
            return if stated.unwrap_or(1) == 1 { Ok(false) } else { Err(one_request()) };
        };
        let number = stated.or((of_request > 0).then_some(of_request.into()));
        let number = number.ok_or_else(|| wrong(format!("`{}` has no `hits_addend`", short(unit))))?;
        self.units.take(unit, number)?;
        Ok(stated.is_none())
    }

    fn entry(&mut self, key: &str, value: &str) -> Result<(), Wrong> {
        let slot = match key {
            "tenant" => &mut self.subject.tenant,
            "team" => &mut self.subject.team,
            "project" => &mut self.subject.project,
            "user" => &mut self.subject.user,
            "key" => &mut self.subject.key,
            "provider" => &mut self.provider,
            "model" => &mut self.model,
            "api" => &mut self.api,
            "expires_in" => &mut self.expires_in,
            "details" => &mut self.details,
            "call" => self.call.get_or_insert_default(),
            "settle" => {
                self.settles = true;
                return Ok(());
            }
            "authorization" => {
                let bare = match value.split_once(' ') {
                    Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
                    _ => value,
                };
                let digest = Digest::of(bare);
                return if *self.key.get_or_insert(digest) == digest { Ok(()) } else { Err(disagree(key)) };
            }
            _ => self.tag(key)?,
        };
        if slot.is_empty() {
            value.clone_into(slot);
        }
        if slot == value { Ok(()) } else { Err(disagree(key)) }
    }

    fn tag(&mut self, key: &str) -> Result<&mut String, Wrong> {
        let name =
            key.strip_prefix("tag.").ok_or_else(|| wrong(format!("`{}` is no entry that is known", short(key))))?;
        if !is_tag_name(name) {
            return Err(wrong(format!("`{}`: {TAG_NAME}", short(key))));
        }
        let place = self.tags.iter().position(|(known, _)| known == name);
        if place.is_none() {
            self.tags.push((name.to_owned(), String::new()));
        }
        if self.tags.len() > TAGS_MAX {
            return Err(wrong(format!("a call has at most {TAGS_MAX} tags")));
        }
        let place = place.unwrap_or(self.tags.len() - 1);
        self.tags.get_mut(place).map(|(_, value)| value).ok_or_else(|| disagree(key))
    }

    fn check(self, call: Option<String>) -> Result<Check, Wrong> {
        let Self { subject, key, provider, model, api: named, expires_in, tags, units, .. } = self;
        let is_stated = subject != Subject::default();
        let who = match key {
            Some(_) if is_stated => return Err(wrong("`authorization` says who calls; state nobody beside it")),
            Some(digest) => Who::Key(digest),
            None if is_stated && subject.tenant.is_empty() => return Err(wrong("`tenant` is missing")),
            None if is_stated => Who::Stated(subject),
            None => Who::Asker,
        };
        for (name, value) in [("provider", &provider), ("model", &model)] {
            if value.is_empty() {
                return Err(wrong(format!("`{name}` is missing")));
            }
        }
        let api = if named.is_empty() { api_of(&provider) } else { api(&named)? };
        let most = Most::Stated(units.most()?);
        let expires_in = if expires_in.is_empty() { EXPIRES_IN } else { expiry(expires_in.parse().ok())? };
        Ok(Check { call, who, provider, model, api, stream: false, tags, most, expires_in })
    }
}

/// The most tags of a call.
const TAGS_MAX: usize = 16;

fn disagree(key: &str) -> Wrong {
    wrong(format!("two values of `{}` disagree", short(key)))
}

impl Units {
    fn take(&mut self, unit: &str, number: u64) -> Result<(), Wrong> {
        let class = CLASSES.iter().position(|(name, _)| *name == unit);
        let slot = match unit {
            "input_tokens" => self.all.get_mut(0),
            "output_tokens" => self.all.get_mut(1),
            "choices" if !(1..=CHOICES_MAX).contains(&number) => {
                return Err(wrong(format!("a request has 1 to {CHOICES_MAX} `choices`")));
            }
            "choices" => Some(&mut self.choices),
            "status" => Some(&mut self.status),
            _ => class.and_then(|class| self.classes.get_mut(class)),
        };
        let slot = slot.ok_or_else(|| wrong(format!("`{}` is no unit that is known", short(unit))))?;
        if number > HITS_MAX {
            return Err(wrong(format!("of `{unit}` at most {HITS_MAX} can be stated")));
        }
        if *slot.get_or_insert(number) == number { Ok(()) } else { Err(disagree(unit)) }
    }

    fn class(&self, name: &str) -> Option<u64> {
        let place = CLASSES.iter().position(|(known, _)| *known == name)?;
        self.classes.get(place).copied().flatten()
    }

    /// How much input and output is stated, of all answers together, and whether that is all of it.
    fn sides(&self) -> Result<[(u64, bool); 2], Wrong> {
        let side = |place: usize, rest: &str, all: &str| {
            let parts = CLASSES.iter().zip(&self.classes).filter(|((_, side), _)| *side == Some(place));
            let parts: u64 = parts.filter_map(|(_, count)| *count).sum();
            match (self.all.get(place).copied().flatten(), self.class(rest)) {
                (Some(_), Some(_)) => Err(wrong(format!("`{all}` has `{rest}` in it; state one of them"))),
                (Some(sum), None) if sum < parts => Err(wrong(format!("`{all}` is less than its parts"))),
                (Some(sum), None) => Ok((sum, true)),
                (None, rest) => Ok((parts, rest.is_some())),
            }
        };
        let (output, is_whole) = side(1, "output", "output_tokens")?;
        let output = output.saturating_mul(self.choices.unwrap_or(1));
        Ok([side(0, "input", "input_tokens")?, (output, is_whole)])
    }

    /// The most that a check by these says.
    fn most(&self) -> Result<Stated, Wrong> {
        let [input, output] = self.sides()?.map(|(sum, is_whole)| is_whole.then_some(sum));
        Ok(Stated {
            input,
            output,
            tool_calls: self.class("tool_calls"),
            web_searches: self.class("web_search"),
            search_units: self.class("search_unit"),
            guardrails: self.class("guardrail"),
        })
    }

    /// What a settlement by these says.
    fn told(&self) -> Result<Told, Wrong> {
        let status = self.status.map_or(Ok(0), u16::try_from).ok().filter(|status| (0..=599).contains(status));
        let status = status.ok_or_else(|| wrong("`status` is the provider's HTTP status"))?;
        let [(input, has_input), (output, has_output)] = self.sides()?;
        if self.all.iter().chain(&self.classes).all(Option::is_none) {
            return Ok(Told { status, ..Told::default() });
        }
        let of = |name| self.class(name).unwrap_or(0);
        let parts =
            ["cache_read", "cache_read_audio", "cache_write_5m", "cache_write_1h", "audio_input", "image_input"];
        let parts = parts.map(of);
        let parts = parts.into_iter().fold(0, u64::saturating_add);
        let made = of("audio_output").saturating_add(of("image_output"));
        // What is known of a part is known of the whole.
        let output = if has_output { output } else { output.max(of("reasoning").saturating_add(made)) };
        let tokens = Vector {
            uncached_input: input.saturating_sub(parts),
            cache_read: of("cache_read"),
            cache_write_5m: of("cache_write_5m"),
            cache_write_1h: of("cache_write_1h"),
            output: output.saturating_sub(made),
            audio_input: of("audio_input"),
            audio_output: of("audio_output"),
            web_searches: of("web_search"),
            search_units: of("search_unit"),
            guardrails: of("guardrail"),
            image_input: of("image_input"),
            image_output: of("image_output"),
            reasoning: of("reasoning"),
            tool_calls: of("tool_calls"),
            cache_read_audio: of("cache_read_audio"),
            code_sessions: of("code_session"),
        };
        if tokens.reasoning > tokens.output {
            return Err(wrong("`reasoning` is a part of `output`"));
        }
        let completeness = if has_input && has_output { Stating::Exact } else { Stating::LowerBound };
        Ok(Told { status, tokens: Some(tokens), completeness: Some(completeness), ..Told::default() })
    }
}

#[cfg(test)]
mod tests;
