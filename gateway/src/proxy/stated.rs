//! What `POST /v1/check` and `POST /v1/settle` say: JSON, of which every member is known or refused.
//!
//! Counts are those of `POST /v1/events`: disjoint classes, of which one that is not named has none. Pure; it looks nobody up.

use bytes::Bytes;
use schemas::{
    bound::Stated,
    error_code::ErrorCode,
    id::CallId,
    json::{Kind, Value},
    policy::Digest,
    subject::Subject,
    wire,
};

use super::{
    Check, EXPIRES_IN, Ending, Most, Name, Settlement, Stating, Told, Who, Wrong, api, api_of, expiry, is_text, wrong,
};
use crate::{
    external::{count, dollars, tags, text, vector},
    route::short,
};

/// Reads a check.
pub(crate) fn check(value: Value<'_>) -> Result<Check, Wrong> {
    read_check(value).map_err(ours)
}

/// Reads a settlement.
pub(crate) fn settlement(value: Value<'_>) -> Result<Settlement, Wrong> {
    read_settlement(value).map_err(ours)
}

/// A mistake in a member that events have as well is told under the code of this route.
fn ours((code, what): Wrong) -> Wrong {
    (if code == ErrorCode::BadEvent { ErrorCode::BadCheck } else { code }, what)
}

fn read_check(value: Value<'_>) -> Result<Check, Wrong> {
    let (mut call, mut who, mut provider, mut model, mut api_named) = (None, Who::Asker, None, String::new(), None);
    let (mut stream, mut own, mut most, mut expires_in) = (false, Vec::new(), None, EXPIRES_IN);
    for (name, value) in members("a check", value)? {
        match &*name {
            "call" => call = Some(word(&name, value)?),
            "subject" => who = one(who, Who::Stated(subject(value)?))?,
            "client_key" => who = one(who, Who::Key(Digest::of(&text(&name, value)?)))?,
            "provider" => provider = Some(word(&name, value)?),
            "model" => model = word(&name, value)?,
            "api" => api_named = Some(api(&text(&name, value)?)?),
            "stream" => match value.kind() {
                Kind::Bool(flag) => stream = flag,
                _ => return Err(wrong("`stream` is true or false")),
            },
            "tags" => own = tags(value)?,
            "most" | "request" if most.is_some() => return Err(wrong("state `most` or `request`, not both")),
            "most" => most = Some(Most::Stated(at_most(value)?)),
            "request" => most = Some(Most::Request(Bytes::copy_from_slice(value.raw().as_bytes()))),
            "expires_in" => expires_in = expiry(count(&name, value).ok())?,
            _ => return Err(wrong(format!("`{}` is no member of a check", short(&name)))),
        }
    }
    let provider = provider.ok_or_else(|| wrong("`provider` is missing"))?;
    let most = most.unwrap_or(Most::Stated(Stated::default()));
    if model.is_empty() && !matches!(most, Most::Request(_)) {
        return Err(wrong("`model` is missing"));
    }
    let api = api_named.unwrap_or_else(|| api_of(&provider));
    Ok(Check { call, who, provider, model, api, stream, tags: own, most, expires_in })
}

fn read_settlement(value: Value<'_>) -> Result<Settlement, Wrong> {
    let (mut name_of_call, mut told) = (None, Told::default());
    for (name, value) in members("a settlement", value)? {
        match &*name {
            "call_id" | "call" if name_of_call.is_some() => return Err(wrong("state `call_id` or `call`, not both")),
            "call_id" => {
                let id = CallId::parse(&text(&name, value)?);
                name_of_call = Some(Name::Id(id.ok_or_else(|| wrong("`call_id` is no call id"))?));
            }
            "call" => name_of_call = Some(Name::Call(word(&name, value)?)),
            "tokens" => told.tokens = Some(vector(&name, value)?),
            "completeness" => told.completeness = Some(choice(&name, value, Stating::ALL)?),
            "outcome" => told.outcome = Some(choice(&name, value, Ending::ALL)?),
            "status" => {
                let status = u16::try_from(count(&name, value)?).ok().filter(|status| (100..=599).contains(status));
                told.status = status.ok_or_else(|| wrong("`status` is the provider's HTTP status"))?;
            }
            "model" => told.model = word(&name, value)?,
            "service_tier" => told.service_tier = word(&name, value)?,
            "response_id" => told.response_id = word(&name, value)?,
            "cost_usd" => told.cost = Some(dollars(value)?),
            _ => return Err(wrong(format!("`{}` is no member of a settlement", short(&name)))),
        }
    }
    if told.completeness.is_some() && told.tokens.is_none() {
        return Err(wrong("`completeness` says how sure `tokens` are, which are missing"));
    }
    if told.outcome == Some(Ending::NotSent) && told.tokens.is_some_and(|tokens| tokens.total() > 0) {
        return Err(wrong("what was not sent used no `tokens`"));
    }
    let name = name_of_call.ok_or_else(|| wrong("`call_id` or `call` is missing"))?;
    Ok(Settlement { name, told, content: wire::hash(value.raw().as_bytes()) })
}

/// The members of an object, each name once.
fn members<'t>(what: &str, value: Value<'t>) -> Result<Vec<(String, Value<'t>)>, Wrong> {
    let mut members: Vec<(String, Value<'t>)> = Vec::new();
    for (name, value) in value.members().ok_or_else(|| wrong(format!("{what} is an object")))? {
        let name = name.decoded();
        if members.iter().any(|(known, _)| *known == *name) {
            return Err((ErrorCode::DuplicateJsonKey, format!("`{}` may stand once", short(&name))));
        }
        if members.len() >= MEMBERS_MAX {
            return Err(wrong(format!("{what} has fewer members than that")));
        }
        members.push((name.into_owned(), value));
    }
    Ok(members)
}

/// More members than any object here has: a name is looked for among those before it.
const MEMBERS_MAX: usize = 32;

fn one(before: Who, now: Who) -> Result<Who, Wrong> {
    if before == Who::Asker { Ok(now) } else { Err(wrong("state `subject` or `client_key`, not both")) }
}

/// A text that is not empty.
fn word(name: &str, value: Value<'_>) -> Result<String, Wrong> {
    let word = text(name, value)?;
    if is_text(&word) { Ok(word) } else { Err(wrong(format!("`{name}` is empty"))) }
}

fn subject(value: Value<'_>) -> Result<Subject, Wrong> {
    let mut subject = Subject::default();
    for (name, value) in members("`subject`", value)? {
        match &*name {
            "tenant" => subject.tenant = word(&name, value)?,
            "team" => subject.team = text(&name, value)?,
            "project" => subject.project = text(&name, value)?,
            "user" => subject.user = text(&name, value)?,
            "key" => subject.key = text(&name, value)?,
            "tags" => subject.tags = tags(value)?,
            _ => return Err(wrong(format!("`subject.{}` is not known", short(&name)))),
        }
    }
    if subject.tenant.is_empty() {
        return Err(wrong("`subject.tenant` is missing"));
    }
    subject.tags.sort();
    Ok(subject)
}

fn at_most(value: Value<'_>) -> Result<Stated, Wrong> {
    let mut most = Stated::default();
    for (name, value) in members("`most`", value)? {
        let stated = match &*name {
            "input" => &mut most.input,
            "output" => &mut most.output,
            "tool_calls" => &mut most.tool_calls,
            "web_search" => &mut most.web_searches,
            "search_unit" => &mut most.search_units,
            "guardrail" => &mut most.guardrails,
            _ => {
                let known = "`input`, `output`, `tool_calls`, `web_search`, `search_unit` and `guardrail`";
                return Err(wrong(format!("`most.{}` is not known; state {known}", short(&name))));
            }
        };
        *stated = Some(count(&name, value)?);
    }
    Ok(most)
}

fn choice<T: Copy, const N: usize>(name: &str, value: Value<'_>, choices: [(&str, T); N]) -> Result<T, Wrong> {
    let stated = text(name, value)?;
    let found = choices.iter().find(|(known, _)| *known == stated).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
        wrong(format!("`{name}` is one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;
