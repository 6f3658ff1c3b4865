//! Google's application default credentials: a file of one of three kinds, or the metadata server.
//!
//! The file is the one that `GOOGLE_APPLICATION_CREDENTIALS` names, or the one that `gcloud` leaves; it is read anew for every token. A
//! service account signs for itself, a user refreshes, and a workload from elsewhere exchanges a token that its own platform gives it, for
//! one that may go on to stand for a service account. Not here: subject tokens that a program or Amazon's signature gives.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Method, header};
use ring::{rand::SystemRandom, rsa, signature::RSA_PKCS1_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use schemas::{config::Secret, time::Time};
use serde_json::{Value, json};

use super::{
    Given, Got,
    fetch::{self, World, address, headers, text},
};

const FILE: &str = "the file of Google's credentials";
const GOOGLE: &str = "Google's token service";
const STS: &str = "Google's STS";
const IAM: &str = "Google's IAM";
const SUBJECT: &str = "the source of the subject token";
const METADATA: &str = "Google's metadata server";
const METADATA_AT: &str = "169.254.169.254";
const TOKENS_AT: &str = "https://oauth2.googleapis.com/token";
const STS_AT: &str = "https://sts.googleapis.com/v1/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long a service account's own word is good for: as long as Google takes one.
const ASSERTED_S: i64 = 3_600;

/// Asks whoever is configured.
pub(super) async fn fetch(world: &World) -> Result<Got, String> {
    let named = world.var("GOOGLE_APPLICATION_CREDENTIALS");
    let usual = match world.var("CLOUDSDK_CONFIG") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => world.at_home(".config/gcloud"),
    };
    let file = match (named, usual) {
        (Some(path), _) => Some(world.file(PathBuf::from(path)).await?),
        (None, Some(dir)) => world.file(dir.join("application_default_credentials.json")).await.ok(),
        (None, None) => None,
    };
    let Some(file) = file else { return metadata(world).await };
    let file = fetch::json(FILE, &file)?;
    match text(FILE, &file, "type")? {
        "service_account" => service_account(world, &file).await,
        "authorized_user" => authorized_user(world, &file).await,
        "external_account" => external_account(world, &file).await,
        _ => Err(format!("{FILE} is of no type that is known: service_account, authorized_user or external_account")),
    }
}

async fn metadata(world: &World) -> Result<Got, String> {
    let host = world.var("GCE_METADATA_HOST").unwrap_or_else(|| METADATA_AT.into());
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let asked = world.now();
    let answer = world.get(METADATA, &url, headers(&[("metadata-flavor", "Google")])?).await?;
    world.token(METADATA, &answer, asked)
}

/// A service account's word about itself, exchanged for a token (RFC 7523).
async fn service_account(world: &World, file: &Value) -> Result<Got, String> {
    let url = file.get("token_uri").and_then(Value::as_str).unwrap_or(TOKENS_AT);
    let asked = world.now();
    let word = word(file, url, asked)?;
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &*word)];
    world.token(GOOGLE, &world.post(GOOGLE, url, &form).await?, asked)
}

/// What a service account signs: who it is, what it wants, from whom, and until when.
fn word(file: &Value, url: &str, at: Time) -> Result<String, String> {
    let pem = text(FILE, file, "private_key")?;
    let bad = || format!("the private_key in {FILE} is no RSA key in PKCS#8");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| bad())?;
    let key = rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| bad())?;
    let head = json!({ "alg": "RS256", "typ": "JWT", "kid": file.get("private_key_id") });
    let now = at.as_micros() / 1_000_000;
    let claims = json!({
        "iss": text(FILE, file, "client_email")?, "scope": SCOPE, "aud": url, "iat": now, "exp": now + ASSERTED_S,
    });
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let said = format!("{}.{}", encoded(&head), encoded(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature).map_err(|_| bad())?;
    Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

async fn authorized_user(world: &World, file: &Value) -> Result<Got, String> {
    let url = file.get("token_uri").and_then(Value::as_str).unwrap_or(TOKENS_AT);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", text(FILE, file, "client_id")?),
        ("client_secret", text(FILE, file, "client_secret")?),
        ("refresh_token", text(FILE, file, "refresh_token")?),
    ];
    let asked = world.now();
    world.token(GOOGLE, &world.post(GOOGLE, url, &form).await?, asked)
}

/// A token of another platform, exchanged for one of Google's (RFC 8693).
async fn external_account(world: &World, file: &Value) -> Result<Got, String> {
    let subject = subject(world, file).await?;
    let url = file.get("token_url").and_then(Value::as_str).unwrap_or(STS_AT);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", text(FILE, file, "audience")?),
        ("scope", SCOPE),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.expose()),
        ("subject_token_type", text(FILE, file, "subject_token_type")?),
    ];
    let asked = world.now();
    let got = world.token(STS, &world.post(STS, url, &form).await?, asked)?;
    match (file.get("service_account_impersonation_url").and_then(Value::as_str), &got.given) {
        (Some(url), Given::Token(token)) => impersonate(world, file, url, token).await,
        _ => Ok(got),
    }
}

/// The token that the platform gives: in a file, or at an address near by.
async fn subject(world: &World, file: &Value) -> Result<Secret, String> {
    let source = file.get("credential_source").unwrap_or(&Value::Null);
    let said = match (source.get("file").and_then(Value::as_str), source.get("url").and_then(Value::as_str)) {
        (Some(path), _) => world.file(PathBuf::from(path)).await?,
        (None, Some(url)) => {
            let mut head = headers(&[])?;
            for (name, value) in source.get("headers").and_then(Value::as_object).into_iter().flatten() {
                let pair = (HeaderName::try_from(name), HeaderValue::try_from(value.as_str().unwrap_or_default()));
                let (Ok(name), Ok(value)) = pair else { return Err(format!("{FILE} has headers that are none")) };
                head.insert(name, value);
            }
            world.get(SUBJECT, url, head).await?
        }
        (None, None) => return Err(format!("the credential_source in {FILE} is neither a file nor a url")),
    };
    let format = source.get("format").unwrap_or(&Value::Null);
    match format.get("type").and_then(Value::as_str) {
        Some("json") => {
            let name = text(FILE, format, "subject_token_field_name")?;
            Ok(Secret::new(text(SUBJECT, &fetch::json(SUBJECT, &said)?, name)?))
        }
        _ if said.trim().is_empty() => Err(format!("{SUBJECT} is empty")),
        _ => Ok(Secret::new(said.trim())),
    }
}

/// A token of a service account, for one that may stand for it.
async fn impersonate(world: &World, file: &Value, url: &str, token: &Secret) -> Result<Got, String> {
    let stated =
        file.get("service_account_impersonation").and_then(|said| said.get("token_lifetime_seconds")?.as_u64());
    let body = json!({ "scope": [SCOPE], "lifetime": format!("{}s", stated.unwrap_or(3_600)) });
    let mut head = headers(&[("authorization", &format!("Bearer {}", token.expose()))])?;
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = world.ask(IAM, Method::POST, address(IAM, url)?, head, body.to_string()).await?;
    let answer = fetch::json(IAM, &answer)?;
    let until = Time::parse(text(IAM, &answer, "expireTime")?).map_err(|_| format!("{IAM} says no time of an end"))?;
    Ok(Got { given: Given::Token(Secret::new(text(IAM, &answer, "accessToken")?)), until: Some(until) })
}
