//! What another policy would change: added, changed, removed, by name. It shows no secret.

use std::fmt;

use serde_json::Value;

use super::{ApiKey, Policy, shown};
use crate::config::beside::is_read_again;

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which way.
    pub way: Way,
    /// What, by its kind and name.
    pub what: String,
    /// Of what is changed, how: `amount 5 → 9`.
    pub how: String,
}

/// Which way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.way {
            Way::Added => '+',
            Way::Changed => '~',
            Way::Removed => '-',
        };
        write!(f, "{sign} {}", self.what)?;
        if self.how.is_empty() { Ok(()) } else { write!(f, ": {}", self.how) }
    }
}

/// What differs between two policies, in the order of the file's sections.
pub fn diff(before: Option<&Policy>, after: &Policy) -> Vec<Difference> {
    let mut found = Vec::new();
    let tenants = |policy: &Policy| named(&policy.tenants, |tenant| (tenant.name.clone(), Value::Null));
    let models = |policy: &Policy| named(&policy.models, |model| (model.name.clone(), plain(model)));
    let keys = |policy: &Policy| {
        let keys = policy.tenants.iter().flat_map(|tenant| tenant.keys.iter().map(move |key| (&tenant.name, key)));
        keys.map(|(tenant, key)| (format!("{tenant}/{}", key.name), known(key))).collect()
    };
    let limits = |policy: &Policy| named(&policy.limits, |limit| (limit.name.clone(), shown::limit(limit)));
    let access =
        |policy: &Policy| named(&policy.access, |access| (short(&access.token_sha256), plain(&access.tenants)));
    let proxies = |policy: &Policy| named(&policy.proxies, |proxy| (proxy.name.clone(), plain(proxy)));
    let rest = |policy: &Policy| {
        let book = Value::from(policy.book.to_string());
        vec![("metering".to_owned(), plain(&policy.metering)), ("prices".to_owned(), book)]
    };
    type Of<'a> = &'a dyn Fn(&Policy) -> Vec<(String, Value)>;
    let kinds: [(&str, Of<'_>); 7] = [
        ("model ", &models),
        ("tenant ", &tenants),
        ("key ", &keys),
        ("limit ", &limits),
        ("access ", &access),
        ("proxy ", &proxies),
        ("", &rest),
    ];
    for (kind, of) in kinds {
        compare(kind, &before.map(of).unwrap_or_default(), &of(after), &mut found);
    }
    found.extend(before.into_iter().flat_map(|before| beside(before, after)));
    found
}

/// The sections beside the policy that are others, as far as it was told what they were.
fn beside<'a>(before: &'a Policy, after: &'a Policy) -> impl Iterator<Item = Difference> {
    let told = after.beside.iter().filter_map(|(section, digest)| Some((section, digest, before.beside.get(section)?)));
    told.filter(|(_, digest, was)| digest != was).map(|(section, ..)| {
        let how = if is_read_again(section) { "takes effect when it is read" } else { "takes effect at a start" };
        Difference { way: Way::Changed, what: section.clone(), how: how.to_owned() }
    })
}

fn named<T>(all: &[T], one: impl Fn(&T) -> (String, Value)) -> Vec<(String, Value)> {
    all.iter().map(one).collect()
}

/// A key as it is compared: whether its secret is another shows as such.
fn known(key: &ApiKey) -> Value {
    let mut value = shown::key(key);
    if let Some(members) = value.as_object_mut() {
        members.insert(SECRET.into(), key.sha256.to_string().into());
    }
    value
}

const SECRET: &str = "secret";

/// What tells tokens without a name apart.
fn short(digest: &super::Digest) -> String {
    digest.to_string().chars().take(8).collect()
}

fn plain(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn compare(kind: &str, before: &[(String, Value)], after: &[(String, Value)], found: &mut Vec<Difference>) {
    let mut add = |way, name: &str, how| found.push(Difference { way, what: format!("{kind}{name}"), how });
    for (name, value) in after {
        match before.iter().find(|(known, _)| known == name) {
            None => add(Way::Added, name, String::new()),
            Some((_, was)) if was != value => add(Way::Changed, name, how(was, value)),
            Some(_) => {}
        }
    }
    for (name, _) in before.iter().filter(|(name, _)| !after.iter().any(|(known, _)| known == name)) {
        add(Way::Removed, name, String::new());
    }
}

/// The members that differ.
fn how(before: &Value, after: &Value) -> String {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return String::new() };
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let said = differ.map(|name| match (name.as_str(), before.get(name), after.get(name)) {
        (name, ..) if name == SECRET || name.contains("sha256") => "another secret".to_owned(),
        (name, was, is) => format!("{name} {} → {}", word(was), word(is)),
    });
    said.collect::<Vec<_>>().join(", ")
}

fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture,
        id::BookHash,
        limit::Window,
        policy::{Digest, Tenant},
    };

    #[test]
    fn what_differs_is_said_by_name_and_without_secrets() {
        let before = fixture::policy(vec![fixture::limit(5, Window::Day)], BookHash::NONE);
        let mut after = before.clone();
        assert_eq!(diff(Some(&before), &after), []);
        after.limits[0].amount = 9;
        let key = ApiKey { name: "ci".into(), sha256: Digest([7; 32]), ..ApiKey::default() };
        after.tenants[0].keys.push(key.clone());
        after.tenants.push(Tenant { name: "globex".into(), keys: Vec::new() });
        let said = |before: &Policy, after: &Policy| {
            diff(Some(before), after).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said(&before, &after), ["+ tenant globex", "+ key acme/ci", "~ limit l: amount 5 → 9"]);
        let mut beside = after.clone();
        beside.beside = ["admins", "cors", "providers"].map(|section| (section.to_owned(), Digest([1; 32]))).into();
        assert!(said(&after, &beside).is_empty(), "nobody knows what they were");
        let mut later = beside.clone();
        later.beside.extend(["admins", "providers"].map(|section| (section.to_owned(), Digest([2; 32]))));
        let wanted = ["~ admins: takes effect when it is read", "~ providers: takes effect at a start"];
        assert_eq!(said(&beside, &later), wanted);
        let mut rotated = after.clone();
        rotated.tenants[0].keys[0] = ApiKey { sha256: Digest([8; 32]), disabled: true, ..key };
        assert_eq!(said(&after, &rotated), ["~ key acme/ci: disabled false → true, another secret"]);
        assert_eq!(
            said(&after, &before),
            ["- tenant globex", "- key acme/ci", "~ limit l: amount 9 → 5"].map(|line| line.to_owned())
        );
    }
}
