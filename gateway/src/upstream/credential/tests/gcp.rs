//! Google's services, as documented: the token endpoint, STS, IAM's impersonation and the metadata server.

use std::{process::Command, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::*;

/// A key that is made for each run and opens nothing.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let asked = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let made = Command::new("openssl").args(asked).output().unwrap();
    assert!(made.status.success(), "openssl makes no key");
    String::from_utf8(made.stdout).unwrap()
});

async fn with(file: &Value, clock: &Clock) -> Result<String, String> {
    let kept = tempfile::NamedTempFile::new().unwrap();
    fs::write(kept.path(), file.to_string()).unwrap();
    let env = [("GOOGLE_APPLICATION_CREDENTIALS", kept.path().display().to_string())];
    once(CredentialSource::Gcp, &env, clock).await
}

#[tokio::test]
async fn a_service_account_signs_for_itself() {
    let (is_well, clock) = (Arc::new(true.into()), Clock::new());
    let service = tokens(&is_well).await;
    let url = format!("{}/token", service.url());
    let file = json!({
        "type": "service_account", "client_email": "me@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": *KEY, "token_uri": url,
    });
    assert_eq!(with(&file, &clock).await, Ok(format!("authorization: Bearer {VERY}-1")));
    let form = service.asked()[0].form();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let parts: Vec<&str> = form["assertion"].split('.').collect();
    let [head, claims, signature] = parts.as_slice() else { panic!("{form:?}") };
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(read(head), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let at = clock.now().as_micros() / 1_000_000;
    let scope = "https://www.googleapis.com/auth/cloud-platform";
    let wanted = json!({
        "iss": "me@p.iam.gserviceaccount.com", "scope": scope, "aud": url, "iat": at, "exp": at + 3_600,
    });
    assert_eq!(read(claims), wanted);
    let der = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public.verify(format!("{head}.{claims}").as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn a_user_refreshes() {
    let (is_well, clock) = (Arc::new(true.into()), Clock::new());
    let service = tokens(&is_well).await;
    let file = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "very-secret-c", "refresh_token": "very-secret/r",
        "token_uri": service.url(),
    });
    assert_eq!(with(&file, &clock).await, Ok(format!("authorization: Bearer {VERY}-1")));
    let form = service.asked()[0].form();
    assert_eq!((form["grant_type"].as_str(), form["refresh_token"].as_str()), ("refresh_token", "very-secret/r"));
    is_well.store(false, Ordering::SeqCst);
    let why = with(&file, &clock).await.unwrap_err();
    assert!(why.contains("Google's token service at 127.0.0.1 answers 400: invalid_client"), "{why}");
}

#[tokio::test]
async fn a_workload_from_elsewhere_exchanges_its_token_and_may_stand_for_a_service_account() {
    let service = Service::start(|asked| match asked.line.as_str() {
        "GET /subject" if asked.header("x-mine") == "very-secret-h" => (200, "{\"t\":\"very-secret-subject\"}".into()),
        "POST /sts" => {
            let kind = "urn:ietf:params:oauth:token-type:access_token";
            (
                200,
                format!(
                    "{{\"access_token\":\"very-secret-sts\",\"issued_token_type\":\"{kind}\",\"expires_in\":3599}}"
                ),
            )
        }
        "POST /iam" if asked.header("authorization") == "Bearer very-secret-sts" => {
            (200, "{\"accessToken\":\"very-secret-iam\",\"expireTime\":\"2026-11-28T12:10:00.5Z\"}".into())
        }
        _ => (403, "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\",\"message\":\"very-secret\"}}".into()),
    });
    let (service, clock) = (service.await, Clock::new());
    let subject = tempfile::NamedTempFile::new().unwrap();
    fs::write(subject.path(), "very-secret-file\n").unwrap();
    let kind = "urn:ietf:params:oauth:token-type:jwt";
    let mut file = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/x", "subject_token_type": kind,
        "token_url": format!("{}/sts", service.url()),
        "credential_source": { "file": subject.path().display().to_string() },
    });
    assert_eq!(with(&file, &clock).await, Ok("authorization: Bearer very-secret-sts".to_owned()));
    let form = service.asked()[0].form();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!((form["subject_token"].as_str(), form["subject_token_type"].as_str()), ("very-secret-file", kind));
    assert_eq!(form["audience"], "//iam.googleapis.com/projects/1/x");
    let format = json!({ "type": "json", "subject_token_field_name": "t" });
    let url = format!("{}/subject", service.url());
    file["credential_source"] = json!({ "url": url, "headers": { "X-Mine": "very-secret-h" }, "format": format });
    file["service_account_impersonation_url"] = format!("{}/iam", service.url()).into();
    assert_eq!(with(&file, &clock).await, Ok("authorization: Bearer very-secret-iam".to_owned()));
    let asked = service.asked();
    assert_eq!(asked[2].form()["subject_token"], "very-secret-subject");
    assert_eq!(serde_json::from_str::<Value>(&asked[3].body).unwrap()["lifetime"], "3600s");
    file["service_account_impersonation_url"] = format!("{}/other", service.url()).into();
    let why = with(&file, &clock).await.unwrap_err();
    assert!(why.contains("Google's IAM at 127.0.0.1 answers 403: PERMISSION_DENIED"), "{why}");
    file["token_url"] = "http://sts.example.com/".into();
    assert!(with(&file, &clock).await.unwrap_err().contains("sts.example.com is not asked"));
}

#[tokio::test]
async fn the_metadata_server_is_asked_where_there_is_no_file() {
    let service = Service::start(|asked| match asked.header("metadata-flavor") {
        "Google" => (200, "{\"access_token\":\"very-secret-m\",\"expires_in\":3599,\"token_type\":\"Bearer\"}".into()),
        _ => (403, String::new()),
    });
    let service = service.await;
    let env = [("GCE_METADATA_HOST", service.address.to_string())];
    let wanted = "authorization: Bearer very-secret-m".to_owned();
    assert_eq!(once(CredentialSource::Gcp, &env, &Clock::new()).await, Ok(wanted));
    assert_eq!(service.asked()[0].line, "GET /computeMetadata/v1/instance/service-accounts/default/token");
}

#[tokio::test]
async fn what_a_file_lacks_is_told() {
    let clock = Clock::new();
    let account = json!({ "type": "service_account", "client_email": "m", "private_key": "very-secret" });
    for (file, wanted) in [
        (json!("very-secret"), "lacks type"),
        (json!({ "type": "very-secret" }), "of no type that is known"),
        (account, "no RSA key in PKCS#8"),
        (json!({ "type": "authorized_user", "client_id": "c" }), "lacks client_secret"),
        (
            json!({ "type": "external_account", "credential_source": { "environment_id": "aws1" } }),
            "neither a file nor a url",
        ),
    ] {
        let why = with(&file, &clock).await.unwrap_err();
        assert!(why.contains(wanted), "{why}");
    }
}
