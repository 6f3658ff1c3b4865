//! Tenants, the tokens that read, and the other proxies that may ask.
//!
//! A key or token in clear becomes its SHA-256 here and is dropped; no message quotes one.

use super::{
    key::Keys,
    reader::{Fields, Reader},
    remark::Place,
    unique::Unique,
    yaml::Node,
};
use crate::{
    error_code::ErrorCode,
    policy::{Access, Digest, Proxy, Tenant, Tenants},
};

/// The lines in which a secret stands in clear.
#[derive(Default)]
pub(super) struct InClear(Vec<Place>);

impl InClear {
    /// One warning for all of them.
    pub(super) fn warn(&self, reader: &mut Reader) {
        if let Some(first) = self.0.first() {
            let lines: Vec<String> = self.0.iter().map(|at| at.line.to_string()).collect();
            let (many, verb) = if lines.len() == 1 { ("key or token", "stands") } else { ("keys and tokens", "stand") };
            let what = format!("{} {many} {verb} in clear (lines {})", lines.len(), lines.join(", "));
            let remedy = "in production write its SHA-256: printf %s \"$KEY\" | sha256sum";
            reader.warn(*first, ErrorCode::ClearSecret, what, remedy);
        }
    }
}

/// Reads the section `tenants`.
pub(super) fn tenants(reader: &mut Reader, node: &Node, keys: &mut Keys<'_>) -> Vec<Tenant> {
    let mut names = Unique::new("tenant");
    let tenants = reader.list(node, "tenants", |reader, item| {
        let fields = reader.fields(item, "a tenant", &["name", "keys"])?;
        let name = reader.need(&fields, "name", |reader, node| own_name(reader, node, &mut names));
        let its = reader.maybe(&fields, "keys", |reader, node| keys.read(reader, node, name.as_deref()));
        Some(Tenant { name: name?, keys: its.unwrap_or_default() })
    });
    tenants.unwrap_or_default()
}

/// A name that scopes can match: without `*`, which stands for others there.
pub(super) fn own_name(reader: &mut Reader, node: &Node, names: &mut Unique) -> Option<String> {
    let name = value(reader, node)?;
    names.add(reader, node.at, &name);
    Some(name)
}

pub(super) fn value(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.contains('*') {
        reader.bad(node.at, format!("{text:?} has a *, which only limits may use"), "choose a name without it");
    }
    Some(text)
}

pub(super) fn value_or_empty(reader: &mut Reader, node: &Node) -> Option<String> {
    if reader.scalar(node)?.text.is_empty() { None } else { value(reader, node) }
}

/// What a name has to be to be a tag's, in words.
pub const TAG_NAME: &str = "a tag's name has 1 to 64 letters, digits, dashes, dots or underscores";

/// Whether clients and keys may call a tag so.
pub fn is_tag_name(name: &str) -> bool {
    let clean = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (1..=64).contains(&name.len()) && clean
}

pub(super) fn tag_name(reader: &mut Reader, node: &Node) -> Option<String> {
    let name = reader.text(node)?;
    if is_tag_name(&name) {
        return Some(name);
    }
    // What it is may come from the environment, and is not said.
    reader.bad(node.at, "this is not the name of a tag", TAG_NAME);
    None
}

/// The hash of a secret: as given, or made of the secret in clear.
pub(super) fn digest(
    reader: &mut Reader,
    fields: &Fields<'_>,
    [hashed, clear]: [&'static str; 2],
    hashes: &mut Unique,
    in_clear: &mut InClear,
) -> Option<Digest> {
    let (node, digest) = match (fields.get(hashed), fields.get(clear)) {
        (Some(node), None) => {
            let digest = Digest::parse(&reader.scalar(node)?.text);
            if digest.is_none() {
                let remedy = "write 64 hexadecimal digits: printf %s \"$KEY\" | sha256sum";
                reader.bad(node.at, format!("{hashed} is not a SHA-256"), remedy);
            }
            (node, digest?)
        }
        (None, Some(node)) => {
            let secret = &reader.scalar(node)?.text;
            if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                let remedy = "a header carries it: letters, digits and signs, no spaces";
                reader.bad(
                    node.at,
                    format!("the {clear} is empty or has characters that a header cannot carry"),
                    remedy,
                );
                return None;
            }
            in_clear.0.push(node.at);
            (node, Digest::of(secret))
        }
        (Some(_), Some(node)) => {
            reader.bad(node.at, format!("{hashed} and {clear} stand together"), format!("keep {hashed}"));
            return None;
        }
        (None, None) => {
            let what = format!("neither {hashed} nor {clear} is given");
            let remedy = format!("add {hashed}: \"<64 hexadecimal digits>\", or {clear}: … in development");
            reader.mistake(fields.at, ErrorCode::MissingConfigKey, what, remedy);
            return None;
        }
    };
    hashes.add_hidden(reader, node.at, digest.to_string());
    Some(digest)
}

/// Reads the section `access`; `tenants` are the names that the configuration defines.
pub(super) fn access(reader: &mut Reader, node: &Node, known: &[String], in_clear: &mut InClear) -> Vec<Access> {
    let mut hashes = Unique::new("token");
    let access = reader.list(node, "access", |reader, item| {
        let fields = reader.fields(item, "an access token", &["token_sha256", "token", "tenants"])?;
        let token_sha256 = digest(reader, &fields, ["token_sha256", "token"], &mut hashes, in_clear);
        let tenants = reader.need(&fields, "tenants", |reader, node| some_tenants(reader, node, known, &READS));
        Some(Access { token_sha256: token_sha256?, tenants: tenants? })
    });
    access.unwrap_or_default()
}

/// Reads the section `proxies`; `tenants` are those that the configuration defines.
pub(super) fn proxies(reader: &mut Reader, node: &Node, tenants: &[Tenant], in_clear: &mut InClear) -> Vec<Proxy> {
    let known: Vec<String> = tenants.iter().map(|tenant| tenant.name.clone()).collect();
    let (mut names, mut hashes) = (Unique::new("proxy"), Unique::new("token"));
    let proxies = reader.list(node, "proxies", |reader, item| {
        let fields = reader.fields(item, "a proxy", &["name", "token_sha256", "token", "tenants"])?;
        let name = reader.need(&fields, "name", |reader, node| own_name(reader, node, &mut names));
        let token_sha256 = digest(reader, &fields, ["token_sha256", "token"], &mut hashes, in_clear)?;
        if tenants.iter().flat_map(|tenant| &tenant.keys).any(|key| key.sha256 == token_sha256) {
            let remedy = "give the proxy a token of its own: a key speaks for its owner only";
            reader.mistake(item.at, ErrorCode::DuplicateConfig, "the token is also a tenant's key", remedy);
        }
        let tenants = reader.need(&fields, "tenants", |reader, node| some_tenants(reader, node, &known, &SPEAKS));
        Some(Proxy { name: name?, token_sha256, tenants: tenants? })
    });
    proxies.unwrap_or_default()
}

/// What the tenants of a token are for: said of one that has none, and of a tenant that is not defined.
pub(super) struct Purpose {
    nobody: &'static str,
    gone: &'static str,
}

const READS: Purpose =
    Purpose { nobody: "a token that may read no tenant", gone: "its rows can be read all the same, if there are any" };
const SPEAKS: Purpose = Purpose {
    nobody: "a proxy that may speak for no tenant",
    gone: "the proxy can speak for it once the tenant is defined",
};
pub(super) const MANAGES: Purpose = Purpose {
    nobody: "an admin of no tenant",
    gone: "it can manage the tenant once that is defined, here or by the admin API",
};

pub(super) fn some_tenants(reader: &mut Reader, node: &Node, known: &[String], purpose: &Purpose) -> Option<Tenants> {
    let names = reader.list(node, "tenants", |reader, item| {
        let name = reader.text(item)?;
        if name != "*" && name.contains('*') {
            reader.bad(item.at, format!("{name:?} is not a tenant"), "name tenants, or write \"*\" alone for all");
        } else if name != "*" && !known.contains(&name) {
            let what = format!("no tenant is called {name:?} in this file");
            reader.warn(item.at, ErrorCode::DanglingReference, what, purpose.gone);
        }
        Some(name)
    })?;
    if names.is_empty() {
        reader.bad(node.at, purpose.nobody, "name tenants, or write [\"*\"] for all");
        return None;
    }
    if names.iter().any(|name| name == "*") {
        if names.len() > 1 {
            reader.bad(node.at, "\"*\" stands beside other tenants", "keep [\"*\"], or the names");
        }
        return Some(Tenants::All);
    }
    Some(Tenants::Only(names))
}
