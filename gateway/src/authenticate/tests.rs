//! Keys and tags by example.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemas::config::{Algorithm, Claims, Issuer, KeySource};
use serde_json::{Value, json};

use super::*;
use crate::error::Retry;

fn keys() -> Map<[u8; 32], Caller> {
    let tags = vec![("env".to_owned(), "prod".to_owned())];
    let acme = Subject { tenant: "acme".into(), key: "ci".into(), tags, ..Subject::default() };
    let caller = Caller { subject: Arc::new(acme), lane: Lane(0), terms: None, corrects: false };
    Map::from_iter([(Digest::of("tg-acme").0, caller)])
}

fn check(headers: &[(&'static str, &str)], query: Option<&str>) -> Result<Arc<Subject>, ErrorCode> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (keys, tenants, identity) = (keys(), Map::default(), Identity::default());
    let register = Register { keys: &keys, tenants: &tenants, identity: &identity };
    authenticate(&map, query, register, Time::ZERO).map(|caller| caller.subject).map_err(|fault| fault.code)
}

#[test]
fn a_key_is_taken_wherever_an_sdk_puts_it() {
    for headers in [
        [("authorization", "Bearer tg-acme")],
        [("authorization", "bearer   tg-acme ")],
        [("x-api-key", "tg-acme")],
        [("api-key", "tg-acme")],
        [("x-goog-api-key", "tg-acme")],
        [(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=tg-acme/20261128/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0",
        )],
    ] {
        assert_eq!(check(&headers, None).unwrap().tenant, "acme", "{headers:?}");
    }
    for query in ["beta=true&key=tg%2dacme", "%6bey=tg-acme", "a%3d=b&k%65%79=tg-acme"] {
        assert_eq!(check(&[], Some(query)).unwrap().tenant, "acme", "{query}");
    }
    assert_eq!(check(&[("authorization", "Bearer tg-acme"), ("x-api-key", "tg-acme")], None).unwrap().key, "ci");
}

#[test]
fn no_key_a_wrong_key_and_two_keys_are_told_apart() {
    assert_eq!(check(&[], None), Err(ErrorCode::MissingKey));
    assert_eq!(check(&[("authorization", "Bearer ")], None), Err(ErrorCode::MissingKey));
    assert_eq!(check(&[("authorization", "Basic tg-acme")], None), Err(ErrorCode::MissingKey));
    for signed in
        ["Signature=tg-acme", "Credential=tg-acme", "Credential=tg-acme/a/b/c/d", "Credential=/a/b/c/aws4_request"]
    {
        let signed = format!("AWS4-HMAC-SHA256 {signed}");
        assert_eq!(check(&[("authorization", &signed)], None), Err(ErrorCode::MissingKey), "{signed}");
    }
    assert_eq!(check(&[("x-api-key", "tg-acm")], None), Err(ErrorCode::UnknownKey));
    assert_eq!(
        check(&[("x-api-key", "tg-acme"), ("authorization", "Bearer other")], None),
        Err(ErrorCode::KeysDisagree)
    );
    assert_eq!(check(&[("x-api-key", "tg-acme"), ("x-api-key", "other")], None), Err(ErrorCode::KeysDisagree));
    assert_eq!(check(&[("x-api-key", "tg-acme")], Some("key=other")), Err(ErrorCode::KeysDisagree));
    assert_eq!(check(&[("x-api-key", "tg-acme")], Some("ke%79=other")), Err(ErrorCode::KeysDisagree));
}

#[test]
fn tags_are_added_but_never_replace_the_keys_own() {
    let subject = check(&[("x-api-key", "tg-acme"), ("x-tollgate-tags", "feature=search, env=dev")], None).unwrap();
    let tag = |name| subject.tag(name);
    assert_eq!((tag("feature"), tag("env")), (Some("search"), Some("prod")));
    let many = (0..17).map(|n| format!("t{n}=x")).collect::<Vec<_>>().join(",");
    let long = format!("{}=x", "n".repeat(65));
    for bad in ["feature", "=x", "a=1,a=2", &many, &long] {
        assert_eq!(
            check(&[("x-api-key", "tg-acme"), ("x-tollgate-tags", bad)], None),
            Err(ErrorCode::BadTags),
            "{bad}"
        );
    }
}

#[test]
fn the_key_never_goes_on_in_the_query() {
    assert_eq!(without_key("beta=true&key=secret").as_deref(), Some("beta=true"));
    assert_eq!(without_key("key=secret"), None);
    assert_eq!(without_key("%6bey=secret&a=%6bey&k%65y=b").as_deref(), Some("a=%6bey"));
    assert_eq!(without_key("monkey=1&%zz=2").as_deref(), Some("monkey=1&%zz=2"));
    assert_eq!(without_key("beta=true").as_deref(), Some("beta=true"));
    assert_eq!(without_key(""), None);
}

/// An issuer whose keys nobody fetches.
fn issuer() -> Issuer {
    let claims = Claims { tenant: None, team: None, project: None, user: "sub".into(), models: None, tags: Vec::new() };
    Issuer {
        name: "sso".into(),
        issuer: "https://sso.test".into(),
        audience: vec!["tollgate".into()],
        keys: KeySource::File("unread".into()),
        algorithms: vec![Algorithm::EdDsa],
        tenant: Some("acme".into()),
        claims,
        leeway: Duration::ZERO,
        refresh: Duration::from_secs(600),
        stale: Duration::from_secs(600),
    }
}

/// What it publishes: one key of this name (that of RFC 8037).
fn published(kid: &str) -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }] })
}

/// A token of it that names a key and is not signed with it: what is wrong with it says whether the key was found.
fn signed(kid: &str) -> HeaderMap {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (head, claims) = (json!({ "alg": "EdDSA", "kid": kid }), json!({ "iss": "https://sso.test" }));
    let token = format!("{}.{}.{}", part(head), part(claims), URL_SAFE_NO_PAD.encode([7; 64]));
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())])
}

#[tokio::test]
async fn a_token_whose_key_is_not_known_is_judged_by_the_look_that_it_calls_for() {
    let (keys, tenants, identity) = (Map::default(), Map::default(), Identity::new(&[issuer()]));
    let register = Register { keys: &keys, tenants: &tenants, identity: &identity };
    let known = Arc::clone(&identity.issuers().borrow()[0]);
    // What comes of a token if the look that it calls for finds this.
    let check = async |kid: &str, found: Option<&str>, code: ErrorCode, what: &str| {
        let look = async {
            known.wanted().await;
            known.begin_look();
            let count = found.map_or(0, |kid| identity.publish(&known, &published(kid), now()));
            known.end_look(count > 0);
        };
        let headers = signed(kid);
        let (told, ()) = tokio::join!(caller(&headers, None, register, now()), look);
        let fault = told.unwrap_err();
        assert!(fault.code == code && fault.message.contains(what), "{kid}: {fault:?}");
    };
    check("a", Some("a"), ErrorCode::TokenNotValid, "signature").await;
    check("b", Some("b"), ErrorCode::TokenNotValid, "signature").await;
    check("a", Some("b"), ErrorCode::TokenNotValid, "not published").await;
    check("a", None, ErrorCode::IssuerAway, "not published").await;
    check("c", Some("c"), ErrorCode::TokenNotValid, "signature").await;
    // The allowance is used up: nobody knows of a new key, so the client is asked to come again.
    let fault = caller(&signed("d"), None, register, now()).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::IssuerAway);
    assert!(matches!(fault.retry, Retry::After(wait) if wait <= Duration::from_secs(6)), "{fault:?}");
    let fault = caller(&signed("c"), None, register, now()).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::TokenNotValid, "one that is known needs no look");
}
