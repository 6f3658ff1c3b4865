//! Tokens of other issuers: who calls, by a JSON web token that an issuer signed.
//!
//! Only algorithms are taken for which who checks cannot also sign, and only those that the configuration names for the issuer; the key is
//! looked up by `kid` among those that the issuer publishes, and has to be of the algorithm's kind. What was found good is remembered by
//! the token's hash until it expires, the issuer's keys are others, or the issuer itself is. Nothing here fetches: whoever does puts the
//! keys in ([`Identity::publish`]), and is told when a token names a key that is not among them ([`Known::wanted`]); its call waits for what
//! comes of that (`Identity::look`). The issuers may change at any time ([`Identity::replace`]); one that stays the same keeps its keys.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use jsonwebtoken::{
    Algorithm as Alg, DecodingKey, Header, Validation,
    jwk::{Jwk, PublicKeyUse},
};
use schemas::{
    config::{Algorithm, Issuer},
    error_code::ErrorCode,
    id::Lane,
    map::Map,
    policy::{ApiKey, Digest},
    subject::Subject,
    time::Time,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::{error::Fault, obey::Caller, terms::Terms};

mod looks;

pub(crate) use looks::Look;
use looks::Looks;

/// The most tokens that are remembered: some 500 bytes each, so 5 MB.
const MOST: usize = 10_000;

/// The longest token that is looked at.
const LONGEST: usize = 16 << 10;

/// The parts of a token.
const HEADER: usize = 0;
const CLAIMS: usize = 1;

/// The longest text that is taken of a token.
const LONGEST_TEXT: usize = 256;

/// The issuers whose tokens are good here.
#[derive(Default)]
pub struct Identity {
    issuers: watch::Sender<Issuers>,
    seen: Mutex<Map<[u8; 32], Seen>>,
}

/// All of them, in the order of the configuration.
pub type Issuers = Arc<Vec<Arc<Known>>>;

/// An issuer and its keys.
pub struct Known {
    issuer: Issuer,
    keys: RwLock<Option<Keys>>,
    /// Grows when its keys are others, and when it is no issuer any more.
    generation: AtomicU64,
    looks: Looks,
}

/// The keys of an issuer, and until when they are good if they cannot be had again.
struct Keys {
    set: Vec<(Jwk, DecodingKey)>,
    until: Time,
}

/// A token that was found good.
struct Seen {
    issuer: Arc<Known>,
    caller: Caller,
    until: Time,
}

impl Identity {
    /// These issuers, without keys yet.
    pub fn new(issuers: &[Issuer]) -> Self {
        let identity = Self::default();
        identity.replace(issuers);
        identity
    }

    /// Puts these issuers in the place of those that there were; says whether any is another. One that is the same keeps its keys, and its
    /// tokens stay good; of one that is not no token is, until its keys are there.
    pub fn replace(&self, issuers: &[Issuer]) -> bool {
        let before = Arc::clone(&self.issuers.borrow());
        if before.iter().map(|known| &known.issuer).eq(issuers) {
            return false;
        }
        let kept = |issuer: &Issuer| before.iter().find(|known| known.issuer == *issuer).map(Arc::clone);
        let after: Issuers =
            Arc::new(issuers.iter().map(|issuer| kept(issuer).unwrap_or_else(|| Known::new(issuer))).collect());
        self.issuers.send_replace(Arc::clone(&after));
        for gone in before.iter().filter(|known| !after.iter().any(|other| Arc::ptr_eq(known, other))) {
            self.forget(gone);
        }
        true
    }

    /// The issuers, now and when they are others.
    pub fn issuers(&self) -> watch::Receiver<Issuers> {
        self.issuers.subscribe()
    }

    /// Puts in the keys that an issuer publishes at an instant; says how many of them can be used. What is no key that is known here
    /// is left out.
    pub fn publish(&self, known: &Arc<Known>, set: &Value, at: Time) -> usize {
        let listed = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let usable = |key: &Value| {
            let key: Jwk = serde_json::from_value(key.clone()).ok()?;
            let signs = !matches!(&key.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature);
            let decoding = DecodingKey::from_jwk(&key).ok().filter(|_| signs)?;
            Some((key, decoding))
        };
        let set: Vec<(Jwk, DecodingKey)> = listed.iter().filter_map(usable).collect();
        let count = set.len();
        if count == 0 {
            return 0;
        }
        let mut keys = known.keys.write().unwrap_or_else(PoisonError::into_inner);
        let others = |keys: &Keys| !keys.set.iter().map(|(key, _)| key).eq(set.iter().map(|(key, _)| key));
        let is_new = keys.as_ref().is_none_or(others);
        *keys = Some(Keys { set, until: at.after(known.issuer.stale) });
        drop(keys);
        if is_new {
            self.forget(known);
        }
        count
    }

    /// No token of an issuer is good any more only because it was.
    fn forget(&self, known: &Arc<Known>) {
        // In this order: what was checked before is either not remembered any more, or gone with the rest.
        known.generation.fetch_add(1, Ordering::AcqRel);
        self.seen().retain(|_, seen| !Arc::ptr_eq(&seen.issuer, known));
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Map<[u8; 32], Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who calls with a token at an instant; nothing if it is no token of these issuers. `tenants` are those of the policy.
    pub(crate) fn caller(
        &self,
        token: &str,
        digest: Digest,
        tenants: &Map<String, Lane>,
        at: Time,
    ) -> Option<Result<Caller, Fault>> {
        let issuers = Arc::clone(&self.issuers.borrow());
        if issuers.is_empty() || token.len() > LONGEST || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return None;
        }
        let remembered = self
            .seen()
            .get(&digest.0)
            .filter(|seen| at < seen.until)
            .map(|seen| (Arc::clone(&seen.issuer), seen.caller.clone()));
        let fresh = |(issuer, _): &(Arc<Known>, Caller)| issuer.is_fresh(at);
        if let Some((_, caller)) = remembered.filter(fresh) {
            // The policy may have changed since.
            return Some(if tenants.contains_key(&caller.subject.tenant) { Ok(caller) } else { Err(no_tenant()) });
        }
        let known = issuer_of(&issuers, token)?;
        let generation = known.generation.load(Ordering::Acquire);
        let checked = known.check(token, tenants, at);
        if let Ok((caller, until)) = &checked {
            let mut seen = self.seen();
            if seen.len() >= MOST {
                seen.retain(|_, seen| at < seen.until);
            }
            if seen.len() >= MOST {
                seen.clear();
            }
            if known.generation.load(Ordering::Acquire) == generation {
                seen.insert(digest.0, Seen { issuer: Arc::clone(known), caller: caller.clone(), until: *until });
            }
        }
        Some(checked.map(|(caller, _)| caller))
    }

    /// What the call of a token can wait for whose issuer's key is not known ([`ErrorCode::IssuerAway`]).
    pub(crate) fn look(&self, token: &str) -> Option<Look> {
        let issuers = Arc::clone(&self.issuers.borrow());
        issuer_of(&issuers, token).map(|known| known.looks.after_now())
    }
}

/// The issuer that a token states.
fn issuer_of<'k>(issuers: &'k [Arc<Known>], token: &str) -> Option<&'k Arc<Known>> {
    let stated = stated(token, CLAIMS)?;
    let of = stated.get("iss").and_then(Value::as_str)?;
    issuers.iter().find(|known| known.issuer.issuer == of)
}

impl Known {
    fn new(issuer: &Issuer) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.clone(),
            keys: RwLock::default(),
            generation: AtomicU64::new(0),
            looks: Looks::default(),
        })
    }

    /// What the configuration says of it.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Its keys are looked at from now on.
    pub fn begin_look(&self) {
        self.looks.begin();
    }

    /// They were, and came or not; what came was put in before this.
    pub fn end_look(&self, is_good: bool) {
        self.looks.end(is_good);
    }

    /// Waits until a token that names a key which is not known calls for a look; they may do so only now and then.
    pub async fn wanted(&self) {
        self.looks.wanted().await;
    }

    fn is_fresh(&self, at: Time) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|keys| at < keys.until)
    }

    /// Who it is that this issuer signed for, and until when.
    fn check(&self, token: &str, tenants: &Map<String, Lane>, at: Time) -> Result<(Caller, Time), Fault> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| wrong("its header cannot be read"))?;
        // What it names has to be understood, and nothing of the kind is here (RFC 7515, 4.1.11).
        if stated(token, HEADER).is_none_or(|header| header.get("crit").is_some()) {
            return Err(wrong("its header has `crit`: it asks for extensions that are not known here"));
        }
        let claims = self.signed(token, &header, at)?;
        let until = self.times(&claims, at)?;
        let audience = &self.issuer.audience;
        let is_ours = |value: &Value| value.as_str().is_some_and(|text| audience.iter().any(|known| known == text));
        match claims.get("aud") {
            Some(Value::Array(all)) if all.iter().any(is_ours) => {}
            Some(one) if is_ours(one) => {}
            _ => return Err(wrong("it is for another audience")),
        }
        let (subject, models) = self.who(&claims)?;
        let lane = tenants.get(&subject.tenant).copied().ok_or_else(no_tenant)?;
        let key = ApiKey { expires: Some(until), models, ..ApiKey::default() };
        Ok((Caller { subject: Arc::new(subject), lane, terms: Terms::of(&key), corrects: false }, until))
    }

    /// The claims, if one of the issuer's keys has signed them.
    fn signed(&self, token: &str, header: &Header, at: Time) -> Result<Value, Fault> {
        if !self.issuer.algorithms.iter().any(|known| algorithm(*known) == header.alg) {
            return Err(wrong("it is signed with an algorithm that is not allowed"));
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = keys.as_ref().filter(|keys| at < keys.until) else {
            let what = format!("the keys of `{}` could not be had yet, or not for too long", self.issuer.name);
            return Err(Fault::new(ErrorCode::IssuerAway, what));
        };
        let fits = |key: &&(Jwk, DecodingKey)| match (&header.kid, &key.0.common.key_id) {
            (Some(wanted), known) => known.as_ref() == Some(wanted),
            // Without a name there has to be nothing to choose from.
            (None, _) => keys.set.len() == 1,
        };
        let Some((_, key)) = keys.set.iter().find(fits) else {
            if header.kid.is_none() {
                return Err(wrong("it does not name its key, and its issuer has several"));
            }
            let what =
                format!("`{}` had not published the key that it names when that was looked at last", self.issuer.name);
            return Err(Fault::new(ErrorCode::IssuerAway, what));
        };
        // Times and audience are looked at here, by the clock that everything goes by.
        let mut rules = Validation::new(header.alg);
        (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
        rules.required_spec_claims.clear();
        rules.set_issuer(&[&self.issuer.issuer]);
        rules.set_required_spec_claims(&["iss"]);
        let signed = jsonwebtoken::decode::<Value>(token, key, &rules);
        signed.map(|signed| signed.claims).map_err(|_| wrong("its signature is not good"))
    }

    /// Until when it is good, if it is now.
    fn times(&self, claims: &Value, at: Time) -> Result<Time, Fault> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or_else(|| wrong("its times are not numbers")),
        };
        let Some(expires) = time("exp")? else { return Err(wrong("it never expires")) };
        let until = expires.after(self.issuer.leeway);
        if at >= until {
            return Err(wrong("it has expired"));
        }
        if time("nbf")?.is_some_and(|from| at.after(self.issuer.leeway) < from) {
            return Err(wrong("it is not good yet"));
        }
        Ok(until)
    }

    fn who(&self, claims: &Value) -> Result<(Subject, Vec<String>), Fault> {
        let names = &self.issuer.claims;
        // A call without one of these would fall under no limit that counts each value of it.
        let of = |name: &Option<String>| name.as_ref().map_or(Ok(String::new()), |name| needed(claims, name));
        let tenant = match &self.issuer.tenant {
            Some(tenant) => tenant.clone(),
            None => of(&names.tenant)?,
        };
        let mut tags = Vec::with_capacity(names.tags.len());
        for (tag, claim) in &names.tags {
            let value = optional(claims, claim)?;
            if !value.is_empty() {
                tags.push((tag.clone(), value));
            }
        }
        let subject = Subject {
            tenant,
            team: of(&names.team)?,
            project: of(&names.project)?,
            user: needed(claims, &names.user)?,
            key: self.issuer.name.clone(),
            tags,
        };
        let models = match &names.models {
            None => Vec::new(),
            // Who is to be held to a list, and has none, may use nothing.
            Some(claim) => models(find(claims, claim)?).ok_or_else(|| wrong("it names no models"))?,
        };
        Ok((subject, models))
    }
}

fn wrong(what: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(ErrorCode::TokenNotValid, what)
}

/// What is said of a token whose key was looked for, and is none of its issuer's.
pub(crate) fn not_published() -> Fault {
    wrong("it is signed with a key that its issuer has not published")
}

fn no_tenant() -> Fault {
    wrong("its tenant is not one of this gateway")
}

const fn algorithm(known: Algorithm) -> Alg {
    match known {
        Algorithm::Rs256 => Alg::RS256,
        Algorithm::Rs384 => Alg::RS384,
        Algorithm::Rs512 => Alg::RS512,
        Algorithm::Ps256 => Alg::PS256,
        Algorithm::Es256 => Alg::ES256,
        Algorithm::Es384 => Alg::ES384,
        Algorithm::EdDsa => Alg::EdDSA,
    }
}

/// What a part of a token says before it is checked: who its issuer is, to know whose keys check it, and what it asks of who checks it.
fn stated(token: &str, part: usize) -> Option<Value> {
    use base64::Engine as _;
    let body = token.split('.').nth(part)?;
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

/// Seconds since 1970, whole or not, as an instant.
fn seconds(value: &Value) -> Option<Time> {
    let whole = value.as_i64().or_else(|| value.to_string().split('.').next()?.parse().ok())?;
    Some(Time::from_micros(whole.checked_mul(1_000_000)?))
}

/// The claim of a name, or what a path of names with dots leads to. Where there are both and they differ nobody could say which is meant.
fn find<'c>(claims: &'c Value, name: &str) -> Result<Option<&'c Value>, Fault> {
    let named = claims.get(name);
    let led_to = name.split('.').try_fold(claims, |value, part| value.get(part));
    match (named, led_to) {
        (Some(one), Some(other)) if one != other => Err(wrong(format!(
            "it has the claim `{name}` both under that name and at the end of that path, and they differ"
        ))),
        (named, led_to) => Ok(named.or(led_to)),
    }
}

/// A claim that says who calls, and has to be there.
fn needed(claims: &Value, name: &str) -> Result<String, Fault> {
    let text = optional(claims, name)?;
    if text.is_empty() {
        Err(wrong(format!("it has no claim `{name}`, which says who calls, or an empty one")))
    } else {
        Ok(text)
    }
}

/// A claim that is a text or a number; empty if it is not there.
fn optional(claims: &Value, name: &str) -> Result<String, Fault> {
    let text = match find(claims, name)? {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(wrong("a claim that says who calls is not a text")),
    };
    if text.len() > LONGEST_TEXT || text.contains('*') || text.chars().any(char::is_control) {
        return Err(wrong("a claim that says who calls is too long, or has characters that names do not have"));
    }
    Ok(text)
}

fn models(claim: Option<&Value>) -> Option<Vec<String>> {
    let models: Vec<String> = match claim? {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        _ => return None,
    };
    Some(models).filter(|models| !models.is_empty())
}
