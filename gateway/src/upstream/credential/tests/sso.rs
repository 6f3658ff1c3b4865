//! Amazon's single sign-on, as documented: the files that `aws sso login` leaves, the service that renews its tokens, and the portal.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::{Value, json};

use super::*;

const CONFIG: &str = "[sso-session corp]\nsso_region = eu-central-1\nsso_start_url = https://corp.test/start\n\
    [profile session]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Bed rock\n\
    aws_access_key_id = AKIAOWN\naws_secret_access_key = own\n\
    [profile legacy]\nsso_region = eu-central-1\nsso_start_url = https://old.test/start\nsso_account_id = 1\n\
    sso_role_name = R\n\
    [profile role]\nrole_arn = arn:r\nsource_profile = session\n\
    [profile half]\nsso_session = corp\nsso_account_id = 1\n\
    [profile nowhere]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = R\n\
    [profile torn]\nsso_session = corp\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = R\n\
    [profile bearer]\nsso_session = corp\n";
/// SHA-1 of `corp`, and of the address that the old form is logged in at.
const FILES: [&str; 2] =
    ["ee0bfd2552fbd840c02cc48b6e823320543c450f.json", "a02fe920932556accebfc49a5a2c4ca7b7edfad4.json"];

fn aws() -> CredentialSource {
    CredentialSource::Aws { region: "eu-west-1".into() }
}

/// A home directory in which somebody has logged in.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.0.path().join(".aws/sso/cache")).unwrap();
        fs::write(home.0.path().join(".aws/config"), CONFIG).unwrap();
        home
    }

    fn file(&self, n: usize) -> PathBuf {
        self.0.path().join(".aws/sso/cache").join(FILES[n])
    }

    /// The n-th login to the session, for an hour.
    fn log_in(&self, n: usize, clock: &Clock) {
        let login = json!({
            "startUrl": "https://corp.test/start", "region": "eu-central-1", "accessToken": format!("{VERY}-login{n}"),
            "expiresAt": clock.now().after(Duration::from_secs(3_600)), "clientId": "c", "clientSecret": format!("{VERY}-client"),
            "registrationExpiresAt": "2027-02-01T00:00:00Z", "refreshToken": format!("{VERY}-renews-login{n}"),
        });
        fs::write(self.file(0), login.to_string()).unwrap();
    }

    fn said(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.file(0)).unwrap()).unwrap()
    }

    fn env(&self, profile: &str, service: &Service) -> Vec<(&'static str, String)> {
        let service = ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL_STS"]
            .map(|name| (name, service.url()));
        [&[("HOME", self.0.path().display().to_string()), ("AWS_PROFILE", profile.to_owned())], &service[..]].concat()
    }
}

/// Both services, and STS. What renews a token is good for one use; keys end six hours after noon and tell the token that they are for.
async fn amazon() -> Service {
    let used = Mutex::new(Vec::new());
    Service::start(move |asked| {
        let (path, query) = asked.line.split_once('?').unwrap_or((&asked.line, ""));
        match path {
            "GET /federation/credentials" => {
                let token = asked.header("x-amz-sso_bearer_token");
                if token.is_empty() || token.ends_with("revoked") {
                    let error = "{\"message\":\"Session token not found or invalid\",\"__type\":\"com.amazonaws#UnauthorizedException\"}";
                    return (401, error.into());
                }
                let keys = json!({ "accessKeyId": format!("ASIA {query}"), "secretAccessKey": format!("{VERY}-key"),
                    "sessionToken": format!("for {token}"), "expiration": 1_795_888_800_000_i64 });
                (200, json!({ "roleCredentials": keys }).to_string())
            }
            "POST /token" => {
                let asked: Value = serde_json::from_str(&asked.body).unwrap();
                let renews = asked["refreshToken"].as_str().unwrap().to_owned();
                let is_known = asked["clientId"] == "c" && asked["clientSecret"] == format!("{VERY}-client");
                let mut used = used.lock().unwrap();
                if !is_known || asked["grantType"] != "refresh_token" || used.contains(&renews) {
                    return (400, format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{renews}\"}}"));
                }
                used.push(renews);
                let n = used.len();
                let answer = json!({ "accessToken": format!("{VERY}-{n}"), "expiresIn": 3600, "tokenType": "Bearer",
                    "refreshToken": format!("{VERY}-renews-{n}") });
                (200, answer.to_string())
            }
            _ => (200, super::aws::sts("AssumeRole", 9)),
        }
    })
    .await
}

/// The token that the keys of a source are for.
fn of(source: &Source) -> String {
    shown(source).split_once("for very-secret-").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_token_of_a_login_is_exchanged_for_the_keys_of_a_role() {
    let (service, home, clock) = (amazon().await, Home::new(), Clock::new());
    home.log_in(1, &clock);
    let before = fs::read(home.file(0)).unwrap();
    let found = source(aws(), &home.env("session", &service), &clock);
    found.ask().await;
    // It goes before the keys that the profile has too.
    let wanted = "eu-west-1 ASIA role_name=Bed%20rock&account_id=123456789012 very-secret-key for very-secret-login1";
    assert_eq!(shown(&found), wanted);
    assert_eq!(found.held().unwrap().until, Time::parse("2026-11-28T18:00:00Z").ok());
    assert_eq!((service.asked().len(), fs::read(home.file(0)).unwrap()), (1, before));
    let role = once(aws(), &home.env("role", &service), &clock).await;
    assert_eq!(role, Ok(format!("eu-west-1 ASIA9 {VERY}/key+9 {VERY}/token+9==")));
    assert!(service.asked()[2].header("authorization").contains("Credential=ASIA role_name"));
    // The form without a session, by an old tool's own time.
    fs::write(home.file(1), format!("{{\"accessToken\":\"{VERY}-old\",\"expiresAt\":\"2026-11-28T12:00:01UTC\"}}"))
        .unwrap();
    let env = home.env("legacy", &service);
    let wanted = format!("eu-west-1 ASIA role_name=R&account_id=1 {VERY}-key for {VERY}-old");
    assert_eq!(once(aws(), &env, &clock).await, Ok(wanted));
    clock.go_on(1);
    let why = once(aws(), &env, &clock).await.unwrap_err();
    let wanted = "the token of the login ended at 2026-11-28T12:00:01.000000Z, and nothing came with it that renews it: log in again with \
                  `aws sso login --profile legacy`";
    assert!(why.contains(wanted), "{why}");
}

#[tokio::test]
async fn a_token_is_renewed_in_its_file_before_it_ends() {
    let (service, home, clock) = (amazon().await, Home::new(), Clock::new());
    home.log_in(1, &clock);
    let first = source(aws(), &home.env("session", &service), &clock);
    clock.go_on(3_300);
    for (n, until) in [(1, "2026-11-28T13:55:00Z"), (2, "2026-11-28T14:50:00Z")] {
        first.ask().await;
        assert_eq!(of(&first), n.to_string());
        let said = home.said();
        assert_eq!((&said["refreshToken"], &said["expiresAt"]), (&json!(format!("{VERY}-renews-{n}")), &json!(until)));
        assert_eq!((&said["startUrl"], &said["clientId"]), (&json!("https://corp.test/start"), &json!("c")));
        clock.go_on(3_300);
    }
    // One that has begun since goes on from there.
    let second = source(aws(), &home.env("session", &service), &clock);
    second.ask().await;
    assert_eq!(of(&second), "3");
    // Two at once: the later one finds what the first has got.
    clock.go_on(3_300);
    let world = Arc::clone(&second.world);
    let both = [(); 2].map(|()| Source { world: Arc::clone(&world), ..source(aws(), &[], &clock) });
    tokio::join!(both[0].ask(), both[1].ask());
    assert_eq!(both.each_ref().map(of), ["4", "4"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_until_somebody_logs_in_again_or_out() {
    let (service, home, clock) = (amazon().await, Home::new(), Clock::new());
    home.log_in(1, &clock);
    let found = source(aws(), &home.env("session", &service), &clock);
    let file = home.file(0);
    let before = fs::read(&file).unwrap();
    let allow = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o400);
    clock.go_on(3_599);
    for n in ["1", "1", "2", "3"] {
        found.ask().await;
        assert_eq!(of(&found), n);
        clock.go_on(if n == "1" { 1_700 } else { 3_500 });
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    allow(0o600);
    home.log_in(2, &clock);
    found.ask().await;
    assert_eq!(of(&found), "login2");
    let before = fs::read(&file).unwrap();
    allow(0o400);
    clock.go_on(3_300);
    found.ask().await;
    assert_eq!(of(&found), "4");
    // Who logs out has logged out.
    fs::remove_file(&file).unwrap();
    found.ask().await;
    assert!(found.pace().trouble.as_ref().is_some_and(|why| why.contains("log in again")));
    fs::write(&file, &before).unwrap();
    clock.go_on(300);
    found.ask().await;
    assert!(found.pace().trouble.as_ref().is_some_and(|why| why.contains("invalid_grant")));
}

#[tokio::test]
async fn a_login_that_has_ended_says_what_to_do_and_no_secret() {
    let (service, home, clock) = (amazon().await, Home::new(), Clock::new());
    let text = logged(async {
        let env = home.env("session", &service);
        let check = async |wanted: &str| {
            let why = once(aws(), &env, &clock).await.unwrap_err();
            assert!(why.contains(wanted) && why.contains("`aws sso login --sso-session corp`"), "{wanted}: {why}");
        };
        check("cannot be read").await;
        home.log_in(1, &clock);
        let with = |name: &str, value: &str| {
            let mut said = home.said();
            said[name] = value.into();
            fs::write(home.file(0), said.to_string()).unwrap();
        };
        with("accessToken", "very-secret-revoked");
        check("Amazon's SSO at 127.0.0.1 answers 401: UnauthorizedException").await;
        with("clientId", "other");
        clock.go_on(3_599);
        // It cannot be renewed but is good for a second.
        check("answers 401").await;
        clock.go_on(1);
        check("Amazon's SSO OIDC at 127.0.0.1 answers 400: invalid_grant").await;
        with("registrationExpiresAt", "2026-11-28T13:00:00Z");
        check("the token of the login ended at 2026-11-28T13:00:00.000000Z, and who logged in is registered no longer")
            .await;
        fs::write(home.file(0), "{").unwrap();
        check("is not JSON").await;
        for (profile, wanted) in [
            ("half", "has no sso_role_name"),
            ("nowhere", "is not in Amazon's shared config file"),
            ("torn", "do not say the same sso_region"),
            ("bearer", "neither keys nor a role"),
        ] {
            let why = once(aws(), &home.env(profile, &service), &clock).await.unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    });
    assert!(!text.await.contains(VERY));
}
