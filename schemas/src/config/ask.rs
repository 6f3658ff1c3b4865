//! What the admin API is asked: the same words as in the file, one thing at a time, in JSON.
//!
//! A name that it refers to is one of the policy in force. Variables are not expanded: what is asked is as it stands. What has no effect
//! is told with it, in the words that a file would be told it in.

use std::time::Duration;

use super::{
    key::{self, Keys},
    limit,
    reader::Reader,
    remark::{Mistake, Warning},
    tenant::{InClear, own_name},
    unique::Unique,
    yaml::{self, Node},
};
use crate::{
    error_code::ErrorCode,
    limit::Limit,
    policy::{ApiKey, Digest, Policy, What},
};

/// A key that is asked for.
#[derive(Clone, Debug)]
pub struct AskedKey {
    /// The key. Its secret is nobody's if none was given.
    pub key: ApiKey,
    /// The limits that it brings along.
    pub budgets: Vec<Limit>,
    /// What of it is taken and is not as it reads.
    pub warnings: Vec<Warning>,
}

impl AskedKey {
    /// Whether its secret has to be made.
    pub fn lacks_secret(&self) -> bool {
        self.key.sha256 == Digest::default()
    }
}

type Asked<T> = Result<T, Vec<Mistake>>;

/// Reads a tenant: its name.
pub fn asked_tenant(body: &str) -> Asked<String> {
    asked(body, |reader, node| {
        let fields = reader.fields(node, "a tenant", &["name"])?;
        reader.need(&fields, "name", |reader, node| own_name(reader, node, &mut Unique::new("tenant")))
    })
}

/// Reads a key of a tenant.
pub fn asked_key(body: &str, tenant: &str, policy: &Policy) -> Asked<AskedKey> {
    let names = Names::of(policy);
    warned(body, |reader, node| {
        let (mut limits, mut in_clear) = (Unique::new("limit"), InClear::default());
        let mut keys = Keys::new(&mut limits, names.known(), &mut in_clear);
        keys.generates = true;
        let key = keys.key(reader, node, Some(tenant), &mut Unique::new("key"))?;
        Some((key, keys.budgets))
    })
    .map(|((key, budgets), warnings)| AskedKey { key, budgets, warnings })
}

/// Reads what is to change of a key in place.
pub fn asked_key_change(body: &str, tenant: &str, key: &str, policy: &Policy) -> Asked<What> {
    let names = Names::of(policy);
    asked(body, |reader, node| key::change(reader, node, (tenant, key), &names.models))
}

/// Reads how long the secret that a key has is to be good beside its new one, and the SHA-256 of that, if it is not to be made.
pub fn asked_rotation(body: &str) -> Asked<(Duration, Option<Digest>)> {
    asked(body, |reader, node| {
        let fields = reader.fields(node, "a rotation", &["grace", "sha256"])?;
        if fields.get("grace").is_none() {
            let remedy =
                "add grace: for how long the old secret is still good, such as \"24h\", or \"0s\" to end it now";
            reader.mistake(fields.at, ErrorCode::MissingConfigKey, "a rotation lacks \"grace\"", remedy);
        }
        let grace = reader.maybe(&fields, "grace", Reader::duration_or_zero);
        let wanted = "64 hexadecimal digits";
        let sha256 = reader.maybe(&fields, "sha256", |reader, node| reader.parsed(node, wanted, Digest::parse));
        Some((grace?, sha256))
    })
}

/// Reads a limit, and what of it is taken and is not as it reads.
pub fn asked_limit(body: &str, policy: &Policy) -> Asked<(Limit, Vec<Warning>)> {
    let names = Names::of(policy);
    warned(body, |reader, node| limit::asked(reader, node, names.known()))
}

/// Reads what is to change of a limit in place.
pub fn asked_change(body: &str, of: &Limit) -> Asked<What> {
    asked(body, |reader, node| {
        let fields = reader.fields(node, "a change of a limit", &["amount", "mode", "alerts"])?;
        let amount = reader.maybe(&fields, "amount", |reader, node| limit::amount(reader, node, Some(of.unit)));
        let mode = reader.maybe(&fields, "mode", limit::mode);
        let alerts = reader.maybe(&fields, "alerts", limit::alerts);
        if fields.entries().next().is_none() {
            let remedy = "give amount, mode or alerts; what else is another makes another limit";
            reader.mistake(fields.at, ErrorCode::MissingConfigKey, "nothing is to change", remedy);
        }
        Some(What::ChangeLimit { limit: of.name.clone(), id: of.id(), amount, mode, alerts })
    })
}

/// Reads what nothing is to be said about.
fn asked<T>(body: &str, read: impl FnOnce(&mut Reader, &Node) -> Option<T>) -> Asked<T> {
    warned(body, read).map(|(found, _)| found)
}

/// Reads one document of JSON; gives what is to be said about it as well.
fn warned<T>(body: &str, read: impl FnOnce(&mut Reader, &Node) -> Option<T>) -> Asked<(T, Vec<Warning>)> {
    let mut reader = Reader::default();
    // YAML would take more than JSON, and a dollar sign would name a variable.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(body) {
        reader.bad(super::Place::default(), format!("the body is not JSON: {error}"), "send a JSON object");
        return Err(reader.mistakes);
    }
    let body = body.replace("${", "$${");
    let root = yaml::parse(&body, &|_| None, &mut reader.mistakes);
    let found = root.and_then(|root| read(&mut reader, &root));
    match found {
        Some(found) if reader.mistakes.is_empty() => Ok((found, reader.warnings)),
        _ => Err(reader.mistakes),
    }
}

/// The names that a policy defines.
struct Names {
    tenants: Vec<String>,
    providers: Vec<String>,
    models: Vec<String>,
}

impl Names {
    fn of(policy: &Policy) -> Self {
        let targets = policy.models.iter().flat_map(|model| &model.targets);
        Self {
            tenants: policy.tenants.iter().map(|tenant| tenant.name.clone()).collect(),
            providers: targets.map(|target| target.provider.clone()).collect(),
            models: policy.models.iter().map(|model| model.name.clone()).collect(),
        }
    }

    fn known(&self) -> limit::Known<'_> {
        limit::Known { tenants: &self.tenants, providers: &self.providers, models: &self.models }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, id::BookHash, limit::Window, policy::Expiry, time::Time};

    fn policy() -> Policy {
        fixture::policy(vec![fixture::limit(5, Window::Day)], BookHash::NONE)
    }

    fn said<T>(asked: Asked<T>) -> String {
        let mistakes = asked.err().unwrap_or_default();
        mistakes.iter().map(|mistake| format!("{}; {}", mistake.what, mistake.remedy)).collect()
    }

    #[test]
    fn a_key_is_asked_for_in_the_words_of_the_file() {
        let body = r#"{"name": "ci", "team": "a ${HOME} \/ \u00e9", "expires": "2027-01-01T00:00:00Z",
            "budget": {"unit": "usd", "amount": "2.5", "window": "day"}}"#;
        let asked = asked_key(body, "acme", &policy()).expect("a key");
        assert!(asked.lacks_secret() && asked.key.expires.is_some());
        assert_eq!(asked.key.team, "a ${HOME} / \u{e9}");
        assert_eq!(asked.budgets[0].name, "acme/ci/usd/day");
        let given = format!(r#"{{"name": "ci", "sha256": "{}"}}"#, "ab".repeat(32));
        assert!(!asked_key(&given, "acme", &policy()).expect("a key").lacks_secret());
        for (body, says) in [
            (r#"{"name": "ci", "key": "tg-very"}"#, "in clear is not taken"),
            (r#"{"name": "ci", "teem": "x"}"#, "did you mean \"team\"?"),
            (r#"{"team": "x"}"#, "lacks \"name\""),
            ("name: ci", "not JSON"),
            ("[]", "a key is written as a list"),
        ] {
            let said = said(asked_key(body, "acme", &policy()));
            assert!(said.contains(says) && !said.contains("very"), "{body}: {said}");
        }
    }

    #[test]
    fn a_key_changes_in_what_may_change() {
        let change = |body: &str| asked_key_change(body, "acme", "ci", &policy());
        let what = |team, models, expires| {
            let (tenant, key) = ("acme".to_owned(), "ci".to_owned());
            Ok(What::ChangeKey { tenant, key, team, models, expires })
        };
        let until = Time::instant("2027-01-01T00:00:00Z").map(Expiry::At);
        assert_eq!(
            change(r#"{"team": "search", "models": ["gpt-*"], "expires": "2027-01-01T00:00:00Z"}"#),
            what(Some("search".into()), Some(vec!["gpt-*".into()]), until)
        );
        assert_eq!(
            change(r#"{"team": null, "models": null, "expires": null}"#),
            what(Some(String::new()), Some(Vec::new()), Some(Expiry::Never))
        );
        assert_eq!(change(r#"{"team": "a"}"#), what(Some("a".into()), None, None));
        for (body, says) in [
            ("{}", "nothing is to change"),
            (r#"{"models": []}"#, "may use no model"),
            (r#"{"expires": "soon"}"#, "an instant such as"),
            (r#"{"sha256": "00"}"#, "unknown key"),
        ] {
            let said = said(change(body));
            assert!(said.contains(says), "{body}: {said}");
        }
    }

    #[test]
    fn a_limit_changes_in_what_may_change() {
        let limit = fixture::limit(5, Window::Day);
        let what = asked_change(r#"{"amount": 9, "mode": "soft", "alerts": [0.5]}"#, &limit).expect("a change");
        assert!(matches!(what, What::ChangeLimit { amount: Some(9), mode: Some(_), alerts: Some(_), .. }));
        assert!(said(asked_change("{}", &limit)).contains("nothing is to change"));
        assert!(said(asked_change(r#"{"window": "day"}"#, &limit)).contains("unknown key"));
        let body = r#"{"name": "n", "scope": {"tenant": "acme"}, "unit": "tokens", "amount": 1, "window": "day", "mode": "hard"}"#;
        let (limit, warnings) = asked_limit(body, &policy()).expect("a limit");
        assert_eq!((limit.name.as_str(), warnings), ("n", Vec::new()));
        assert_eq!(asked_rotation(r#"{"grace": "24h"}"#).expect("a time").0, Duration::from_secs(86_400));
        let said = said(asked_rotation(r#"{"grace": null}"#));
        assert!(said.contains("lacks \"grace\"") && said.contains("old secret"), "{said}");
    }

    #[test]
    fn a_limit_is_called_as_a_budget_only_if_it_is_that_one() {
        for (name, key, is_taken) in [
            ("globex/bot/requests/day", "bot", false),
            ("acme/other/requests/day", "bot", false),
            ("acme/bot/tokens/day", "bot", false),
            ("acme/b/o/t/requests/day", "bot", false),
            ("acme/bot/requests/day", "bot", true),
            ("bot/requests/day", "bot", true),
            ("acme/bot/requests/today", "bot", true),
        ] {
            let body = format!(
                r#"{{"name": "{name}", "scope": {{"tenant": "acme", "key": "{key}"}}, "unit": "requests", "amount": 9,
                    "window": "day", "mode": "observe"}}"#
            );
            assert_eq!(asked_limit(&body, &policy()).is_ok(), is_taken, "{name}");
        }
    }

    #[test]
    fn what_has_no_effect_is_told_and_taken_out() {
        for (more, says) in [
            (r#""unit": "requests", "window": "day", "stream": "slices""#, "\"stream: slices\" has an effect only"),
            (r#""unit": "requests", "window": "day", "on_exceed": "finish""#, "\"on_exceed: finish\" needs"),
            (r#""unit": "tokens", "window": "minute", "stream": "slices""#, "\"stream: slices\" has an effect only"),
            (r#""unit": "tokens", "window": "day", "max_instances": 3"#, "without a \"*\" over a tag"),
            (r#""unit": "tokens", "window": "day", "values": ["a"]"#, "without a \"*\" over a tag"),
            (r#""unit": "requests", "window": "day", "unbounded": "admit""#, "\"unbounded\" has no effect"),
            (r#""unit": "concurrent", "unbounded": "refuse""#, "\"unbounded\" has no effect"),
        ] {
            let limit = |more: &str| {
                let body = format!(r#"{{"name": "n", "amount": 1, "mode": "hard", {more}}}"#);
                asked_limit(&body, &policy()).expect("a limit")
            };
            let (found, warnings) = limit(more);
            let told: Vec<_> = warnings.iter().map(|warning| (warning.code, warning.what.contains(says))).collect();
            assert_eq!(told, [(ErrorCode::ConfigHasNoEffect, true)], "{more}: {warnings:?}");
            // It is the limit that it would be without the last member.
            let plain = more.rsplit_once(", \"").map_or(more, |(plain, _)| plain);
            assert_eq!((found, Vec::new()), limit(plain), "{more}");
        }
        let body = r#"{"name": "k", "budget": {"unit": "requests", "amount": 1, "window": "day", "stream": "slices"}}"#;
        let asked = asked_key(body, "acme", &policy()).expect("a key");
        assert_eq!((asked.budgets.len(), asked.warnings.len()), (1, 1));
    }
}
