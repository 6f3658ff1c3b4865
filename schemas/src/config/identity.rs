//! Tokens of other issuers that clients may call with: JSON web tokens, checked by the issuer's published keys.
//!
//! A tenant is either fixed or a claim, and in any case one of the policy. Nothing here fetches anything.

use std::{path::PathBuf, time::Duration};

use super::{
    base_url::BaseUrl,
    reader::{Fields, Reader},
    remark::{Place, Remark, Warning},
    store::path,
    tenant::{is_tag_name, own_name},
    unique::Unique,
    yaml::{Node, Value},
};
use crate::{
    error_code::ErrorCode,
    policy::{ApiKey, Tenant},
};

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What calls with its tokens have as the name of their key.
    pub name: String,
    /// What its tokens state as `iss`.
    pub issuer: String,
    /// One of these has to be in `aud`.
    pub audience: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Whose calls they are, if all are one tenant's.
    pub tenant: Option<String>,
    /// What is read of the tokens.
    pub claims: Claims,
    /// By how much its clock and ours may differ.
    pub leeway: Duration,
    /// How often its keys are looked at again.
    pub refresh: Duration,
    /// How long its keys are good when they cannot be had again.
    pub stale: Duration,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// At an address: https, or http on this machine.
    Url(BaseUrl),
    /// In a file.
    File(PathBuf),
}

/// How a token is signed. There are only those for which who checks cannot also sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the name of an algorithm")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

/// Which claims say who calls: the name of a claim, or a path of names with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The tenant.
    pub tenant: Option<String>,
    /// The team.
    pub team: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The user.
    pub user: String,
    /// The models that it may ask for: a list, or names with spaces between them.
    pub models: Option<String>,
    /// Tags, by name.
    pub tags: Vec<(String, String)>,
}

const KNOWN: &[&str] = &[
    "name",
    "issuer",
    "audience",
    "jwks_url",
    "jwks_file",
    "algorithms",
    "tenant",
    "claims",
    "leeway",
    "refresh",
    "stale",
];

const ALGORITHMS: [(&str, Algorithm); 7] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

impl Issuer {
    /// What is to be said of a tenant's key that is called as its tokens' calls are.
    pub fn named_as(&self, tenant: &str, key: &str) -> Option<Warning> {
        let is_alike = self.name == key && self.tenant.as_ref().is_none_or(|own| own == tenant);
        let what = || {
            format!(
                "key {tenant}/{key} is called as an issuer is: calls with either have that name as their key, so a budget of the key counts \
                 both, and no row tells them apart"
            )
        };
        is_alike.then(|| Remark::new(Place::default(), ErrorCode::DuplicateConfig, what(), "rename one of them"))
    }
}

/// Says which keys are called as an issuer.
pub(super) fn namesakes(reader: &mut Reader, at: Option<Place>, issuers: &[Issuer], tenants: &[Tenant]) {
    for tenant in tenants {
        let named = |key: &ApiKey| issuers.iter().find_map(|issuer| issuer.named_as(&tenant.name, &key.name));
        let found = tenant.keys.iter().filter_map(named);
        reader.warnings.extend(found.map(|warning| Warning { at: at.unwrap_or_default(), ..warning }));
    }
}

/// Reads the section `identity`; `tenants` are those that the file defines.
pub(super) fn identity(reader: &mut Reader, node: &Node, tenants: &[String]) -> Option<Vec<Issuer>> {
    let fields = reader.fields(node, "identity", &["jwt"])?;
    let (mut names, mut issuers) = (Unique::new("issuer"), Unique::new("issuer"));
    reader.need(&fields, "jwt", |reader, node| {
        reader.list(node, "jwt", |reader, item| issuer(reader, item, tenants, [&mut names, &mut issuers]))
    })
}

fn issuer(reader: &mut Reader, node: &Node, tenants: &[String], [names, issuers]: [&mut Unique; 2]) -> Option<Issuer> {
    let fields = reader.fields(node, "an issuer", KNOWN)?;
    let name = reader.need(&fields, "name", |reader, node| own_name(reader, node, names));
    let issuer = reader.need(&fields, "issuer", |reader, node| {
        let issuer = reader.text(node)?;
        issuers.add(reader, node.at, &issuer);
        Some(issuer)
    });
    let audience = reader.need(&fields, "audience", texts);
    let keys = keys(reader, &fields);
    let algorithms = reader.or(&fields, "algorithms", vec![Algorithm::Rs256], |reader, node| {
        reader.list(node, "algorithms", |reader, item| reader.one_of(item, &ALGORITHMS))
    });
    let tenant = reader.maybe(&fields, "tenant", |reader, node| {
        let tenant = reader.text(node)?;
        if !tenants.contains(&tenant) {
            let what = format!("no tenant is called {tenant:?} in this file");
            reader.warn(node.at, ErrorCode::DanglingReference, what, "tokens are good once the tenant is defined");
        }
        Some(tenant)
    });
    let claims = reader.or(&fields, "claims", Claims::default(), claims);
    if tenant.is_some() == claims.tenant.is_some() {
        let remedy = "give tenant: NAME, or claims: { tenant: CLAIM }";
        reader.bad(fields.at, "whose calls they are is said twice, or not at all", remedy);
    }
    let times = [("leeway", 60), ("refresh", 600), ("stale", 86_400)]
        .map(|(name, seconds)| reader.or(&fields, name, Duration::from_secs(seconds), Reader::duration_or_zero));
    let [leeway, refresh, stale] = times;
    let refresh = refresh.max(Duration::from_secs(1));
    Some(Issuer {
        name: name?,
        issuer: issuer?,
        audience: audience?,
        keys: keys?,
        algorithms,
        tenant,
        claims,
        leeway,
        refresh,
        stale,
    })
}

/// One text, or a list of some.
fn texts(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    let all = match &node.value {
        Value::List(_) => reader.list(node, "audience", Reader::text)?,
        _ => vec![reader.text(node)?],
    };
    if all.is_empty() {
        reader.bad(node.at, "tokens for nobody", "name an audience");
        return None;
    }
    Some(all)
}

fn keys(reader: &mut Reader, fields: &Fields<'_>) -> Option<KeySource> {
    match (fields.get("jwks_url"), fields.get("jwks_file")) {
        (Some(node), None) => {
            let url = BaseUrl::parse(&reader.scalar(node)?.text);
            match url {
                Ok(url) if url.https || url.is_loopback() => Some(KeySource::Url(url)),
                Ok(_) => {
                    reader.mistake(node.at, ErrorCode::AddressNotAllowed, "keys over plain http", "use https");
                    None
                }
                Err(why) => {
                    reader.bad(node.at, format!("jwks_url is not an address: {why}"), "write https://host/path");
                    None
                }
            }
        }
        (None, Some(node)) => path(reader, node).map(KeySource::File),
        _ => {
            let what = "where the keys are is said twice, or not at all";
            reader.mistake(fields.at, ErrorCode::MissingConfigKey, what, "give jwks_url or jwks_file");
            None
        }
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self { tenant: None, team: None, project: None, user: "sub".into(), models: None, tags: Vec::new() }
    }
}

fn claims(reader: &mut Reader, node: &Node) -> Option<Claims> {
    let fields = reader.fields(node, "claims", &["tenant", "team", "project", "user", "models", "tags"])?;
    let tags = reader.or(&fields, "tags", Vec::new(), |reader, node| {
        let fields = reader.any_fields(node, "tags")?;
        let mut tags = Vec::new();
        for (key, node) in fields.entries() {
            if !is_tag_name(&key.name) {
                reader.bad(
                    key.at,
                    "this is not the name of a tag",
                    "write 1 to 64 letters, digits, dashes, dots or underscores",
                );
            }
            tags.extend(reader.text(node).map(|claim| (key.name.clone(), claim)));
        }
        tags.sort();
        Some(tags)
    });
    Some(Claims {
        tenant: reader.maybe(&fields, "tenant", Reader::text),
        team: reader.maybe(&fields, "team", Reader::text),
        project: reader.maybe(&fields, "project", Reader::text),
        user: reader.or(&fields, "user", "sub".into(), Reader::text),
        models: reader.maybe(&fields, "models", Reader::text),
        tags,
    })
}
