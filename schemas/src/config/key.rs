//! The keys of tenants, and the limits that a key brings along.
//!
//! A `budget` is an ordinary limit of what is called with one key: its name is made of the key's, its unit and its window, so that it
//! stays the same limit wherever it stands.

use super::{
    limit::{self, Known},
    reader::{Fields, Reader},
    tenant::{self, InClear, TAG_NAME, digest, is_tag_name, own_name, value_or_empty},
    unique::Unique,
    yaml::{Node, Value},
};
use crate::{
    error_code::ErrorCode,
    limit::{Limit, matches},
    policy::{ApiKey, Digest, Expiry, What},
    time::Time,
};

/// The most tags of a key, as of a call.
const MAX_TAGS: usize = 16;

const KNOWN: &[&str] = &[
    "name", "sha256", "key", "team", "project", "user", "tags", "expires", "models", "disabled", "budget", "corrects",
];

/// What the keys of all tenants have in common while they are read.
pub(super) struct Keys<'a> {
    hashes: Unique,
    names: &'a mut Unique,
    known: Known<'a>,
    in_clear: &'a mut InClear,
    /// Whether a key without a secret is given one later. Then it may not have one in clear.
    pub(super) generates: bool,
    /// The limits that the keys bring along.
    pub(super) budgets: Vec<Limit>,
}

impl<'a> Keys<'a> {
    /// None yet. `names` are those of the limits.
    pub(super) fn new(names: &'a mut Unique, known: Known<'a>, in_clear: &'a mut InClear) -> Self {
        Self { hashes: Unique::new("key"), names, known, in_clear, generates: false, budgets: Vec::new() }
    }

    /// Reads the keys of a tenant; of one without a name, which is reported, the limits are left out.
    pub(super) fn read(&mut self, reader: &mut Reader, node: &Node, tenant: Option<&str>) -> Option<Vec<ApiKey>> {
        let mut names = Unique::new("key of this tenant");
        reader.list(node, "keys", |reader, item| self.key(reader, item, tenant, &mut names))
    }

    pub(super) fn key(
        &mut self,
        reader: &mut Reader,
        node: &Node,
        tenant: Option<&str>,
        names: &mut Unique,
    ) -> Option<ApiKey> {
        let fields = reader.fields(node, "a key", KNOWN)?;
        let name = reader.need(&fields, "name", |reader, node| own_name(reader, node, names));
        let sha256 = self.secret(reader, &fields);
        let team = reader.or(&fields, "team", String::new(), value_or_empty);
        let project = reader.or(&fields, "project", String::new(), value_or_empty);
        let user = reader.or(&fields, "user", String::new(), value_or_empty);
        let tags = reader.or(&fields, "tags", Vec::new(), tags);
        let expires = reader.maybe(&fields, "expires", expires);
        let models = reader.or(&fields, "models", Vec::new(), |reader, node| models(reader, node, self.known.models));
        let disabled = reader.or(&fields, "disabled", false, Reader::boolean);
        if let (Some(budget), Some(tenant), Some(name)) = (fields.get("budget"), tenant, &name) {
            self.budget(reader, budget, (tenant, name));
        }
        let corrects = reader.or(&fields, "corrects", false, Reader::boolean);
        let former = None;
        Some(ApiKey {
            name: name?,
            sha256: sha256?,
            team,
            project,
            user,
            tags,
            expires,
            models,
            disabled,
            former,
            corrects,
        })
    }

    fn secret(&mut self, reader: &mut Reader, fields: &Fields<'_>) -> Option<Digest> {
        match (self.generates, fields.get("sha256"), fields.get("key")) {
            (true, _, Some(node)) => {
                reader.bad(node.at, "a secret in clear is not taken", "give its sha256, or nothing and one is made");
                None
            }
            (true, None, None) => Some(Digest::default()),
            _ => digest(reader, fields, ["sha256", "key"], &mut self.hashes, self.in_clear),
        }
    }

    /// One limit, or a list of them.
    fn budget(&mut self, reader: &mut Reader, node: &Node, key: (&str, &str)) {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let budgets = items.iter().filter_map(|item| limit::budget(reader, item, key, self.names, self.known));
        self.budgets.extend(budgets);
    }
}

/// Reads what is to change of a key in place: what is given as null has no team, may use all models, or is not over by itself.
pub(super) fn change(reader: &mut Reader, node: &Node, (tenant, key): (&str, &str), known: &[String]) -> Option<What> {
    let fields = reader.fields(node, "a change of a key", &["team", "models", "expires"])?;
    let given = |name: &str| fields.place(name).is_some();
    let team = given("team").then(|| reader.or(&fields, "team", String::new(), value_or_empty));
    let models =
        given("models").then(|| reader.or(&fields, "models", Vec::new(), |reader, node| models(reader, node, known)));
    let expires = given("expires").then(|| reader.maybe(&fields, "expires", expires).map_or(Expiry::Never, Expiry::At));
    if fields.entries().next().is_none() {
        let remedy = "give team, models or expires; a secret is rotated, and what else is another makes another key";
        reader.mistake(fields.at, ErrorCode::MissingConfigKey, "nothing is to change", remedy);
    }
    Some(What::ChangeKey { tenant: tenant.to_owned(), key: key.to_owned(), team, models, expires })
}

fn expires(reader: &mut Reader, node: &Node) -> Option<Time> {
    reader.parsed(node, "an instant such as 2026-12-31T23:00:00Z", Time::instant)
}

fn models(reader: &mut Reader, node: &Node, known: &[String]) -> Option<Vec<String>> {
    let mut seen = Unique::new("model");
    let models = reader.list(node, "models", |reader, item| {
        let name = reader.text(item)?;
        seen.add(reader, item.at, &name);
        let start = name.strip_suffix('*').unwrap_or(&name);
        if start.contains('*') {
            let remedy = "write a model, a beginning and *, or * alone";
            reader.bad(item.at, format!("{name:?} has a * before its end"), remedy);
        } else if !known.iter().any(|served| matches(served, start) || matches(&name, served)) {
            let what = format!("no model of this file serves {name:?}");
            let remedy = "check the name; the key cannot use it until it stands under models";
            reader.warn(item.at, ErrorCode::DanglingReference, what, remedy);
        }
        Some(name)
    })?;
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let remedy = "name models, leave it out for all of them, or say disabled: true";
        reader.bad(node.at, "a key that may use no model", remedy);
    }
    Some(models)
}

fn tags(reader: &mut Reader, node: &Node) -> Option<Vec<(String, String)>> {
    let fields = reader.any_fields(node, "tags")?;
    let mut tags = Vec::new();
    for (key, node) in fields.entries() {
        if !is_tag_name(&key.name) {
            reader.bad(key.at, format!("{:?} is not the name of a tag", key.name), TAG_NAME);
        }
        if let Some(value) = tenant::value(reader, node) {
            tags.push((key.name.clone(), value));
        }
    }
    if tags.len() > MAX_TAGS {
        reader.bad(node.at, format!("{} tags; a key has {MAX_TAGS} at most", tags.len()), "take some out");
    }
    tags.sort();
    Some(tags)
}
