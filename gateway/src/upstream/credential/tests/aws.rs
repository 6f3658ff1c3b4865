//! Amazon's services, as documented: STS in XML, the containers' and the instances' metadata in JSON.

use super::*;

fn aws() -> CredentialSource {
    CredentialSource::Aws { region: "eu-west-1".into() }
}

/// What STS answers; the session lasts an hour.
pub(super) fn sts(action: &str, n: usize) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <Arn>arn:aws:sts::1:assumed-role/r/tollgate</Arn><AssumedRoleId>AROA:tollgate</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>ASIA{n}</AccessKeyId><SecretAccessKey>{VERY}/key+{n}</SecretAccessKey>\
         <SessionToken>{VERY}/token+{n}==</SessionToken><Expiration>2026-11-28T13:00:00Z</Expiration></Credentials>\
         </{action}Result><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></{action}Response>"
    )
}

fn listed(n: usize) -> String {
    format!(
        "{{\"Code\":\"Success\",\"LastUpdated\":\"2026-11-28T11:59:00Z\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIA{n}\",\
         \"SecretAccessKey\":\"{VERY}-key{n}\",\"Token\":\"{VERY}-token{n}\",\"Expiration\":\"2026-11-28T18:00:00Z\"}}"
    )
}

#[tokio::test]
async fn the_environment_goes_before_all_else() {
    let env = vec![
        ("AWS_ACCESS_KEY_ID", "AKIA".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", VERY.to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere".to_owned()),
        ("AWS_ROLE_ARN", "r".to_owned()),
    ];
    assert_eq!(once(aws(), &env, &Clock::new()).await, Ok(format!("eu-west-1 AKIA {VERY} ")));
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_session_with_the_token_of_the_day() {
    let counted = AtomicI64::new(0);
    let service = Service::start(move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        (200, sts("AssumeRoleWithWebIdentity", usize::try_from(n).unwrap()))
    });
    let (service, clock, dir) = (service.await, Clock::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("token");
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r".to_owned()),
        ("AWS_ENDPOINT_URL_STS", service.url()),
    ];
    let source = source(aws(), &env, &clock);
    for n in 1..3 {
        fs::write(&file, format!("{VERY}.jwt.{n}\n")).unwrap();
        source.ask().await;
        assert_eq!(shown(&source), format!("eu-west-1 ASIA{n} {VERY}/key+{n} {VERY}/token+{n}=="));
        assert_eq!(service.asked()[n - 1].form()["WebIdentityToken"], format!("{VERY}.jwt.{n}"));
    }
    assert_eq!(source.held().unwrap().until, Time::parse("2026-11-28T13:00:00Z").ok());
    let form = service.asked()[0].form();
    let wanted = ["AssumeRoleWithWebIdentity", "2011-06-15", "arn:aws:iam::1:role/r", "tollgate"];
    assert_eq!(["Action", "Version", "RoleArn", "RoleSessionName"].map(|name| form[name].as_str()), wanted);
}

#[tokio::test]
async fn sts_is_told_by_the_name_of_its_error_and_nothing_it_repeats() {
    let service = Service::start(|asked| {
        let error = format!("<Code>ExpiredTokenException</Code><Message>{}</Message>", asked.body);
        (400, format!("<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"))
    });
    let (service, file) = (service.await, tempfile::NamedTempFile::new().unwrap());
    fs::write(file.path(), VERY).unwrap();
    let env = |url: String| {
        let file = file.path().display().to_string();
        vec![("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", "r".to_owned()), ("AWS_ENDPOINT_URL_STS", url)]
    };
    let why = once(aws(), &env(service.url()), &Clock::new()).await.unwrap_err();
    assert!(why.contains("Amazon's STS at 127.0.0.1 answers 400: ExpiredTokenException"), "{why}");
    let why = once(aws(), &env("http://sts.example.com".into()), &Clock::new()).await.unwrap_err();
    assert!(why.contains("sts.example.com is not asked"), "{why}");
}

#[tokio::test]
async fn a_container_is_asked_with_its_token() {
    let service = Service::start(|asked| match asked.header("authorization") {
        "very-secret-a" => (200, listed(1)),
        "very-secret-b" => (200, listed(2)),
        _ => (401, "{\"Code\":\"Unauthorized\"}".into()),
    });
    let (service, file) = (service.await, tempfile::NamedTempFile::new().unwrap());
    let env = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", service.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.path().display().to_string()),
    ];
    let source = source(aws(), &env, &Clock::new());
    for (token, n) in [("a", 1), ("b", 2)] {
        fs::write(file.path(), format!("{VERY}-{token}")).unwrap();
        source.ask().await;
        assert_eq!(shown(&source), format!("eu-west-1 ASIA{n} {VERY}-key{n} {VERY}-token{n}"));
    }
    fs::write(file.path(), "other").unwrap();
    source.ask().await;
    assert!(source.pace().trouble.as_ref().is_some_and(|why| why.ends_with("answers 401: Unauthorized")));
    assert_eq!(service.asked()[0].line, "GET /v1/credentials");
}

#[tokio::test]
async fn an_instance_is_asked_by_the_second_version_of_its_service() {
    let service = Service::start(|asked| {
        let roles = "/latest/meta-data/iam/security-credentials/";
        let (method, path) = asked.line.split_once(' ').unwrap();
        let is_token = method == "PUT" && path == "/latest/api/token";
        if is_token && asked.header("x-aws-ec2-metadata-token-ttl-seconds").parse::<u32>().is_ok() {
            return (200, format!("{VERY}-imds"));
        }
        match path.strip_prefix(roles) {
            _ if asked.header("x-aws-ec2-metadata-token") != format!("{VERY}-imds") => (401, String::new()),
            Some("") => (200, "my-role\n".into()),
            Some("my-role") => (200, listed(7)),
            _ => (404, String::new()),
        }
    });
    let service = service.await;
    let mut env = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url())];
    let wanted = format!("eu-west-1 ASIA7 {VERY}-key7 {VERY}-token7");
    assert_eq!(once(aws(), &env, &Clock::new()).await, Ok(wanted));
    assert_eq!(service.asked().len(), 3);
    env.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
    let why = once(aws(), &env, &Clock::new()).await.unwrap_err();
    assert!(why.contains("AWS_EC2_METADATA_DISABLED") && service.asked().len() == 3, "{why}");
}

#[tokio::test]
async fn a_profile_has_keys_or_takes_a_role_from_another() {
    let counted = AtomicI64::new(0);
    let service = Service::start(move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        (200, sts("AssumeRole", usize::try_from(n).unwrap()))
    });
    let (service, dir) = (service.await, tempfile::tempdir().unwrap());
    let (config, credentials) = (dir.path().join("config"), dir.path().join("credentials"));
    fs::write(
        &config,
        "[profile deep]\nrole_arn = arn:deep\nsource_profile = mid\n[profile mid]\nrole_arn = arn:mid\nexternal_id = e&x\n\
         source_profile = base\n[profile round]\nrole_arn = a\nsource_profile = dnuor\n[profile dnuor]\nrole_arn = a\n\
         source_profile = round\n",
    )
    .unwrap();
    let script = dir.path().join("a program.sh");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\nprintf '{{\"Version\":1,\"AccessKeyId\":\"AKIAASKED\",\"SecretAccessKey\":\"{VERY}-asked\"'\n\
             [ -n \"$1\" ] && printf ',\"SessionToken\":\"{VERY}-session\",\"Expiration\":\"2026-11-28T13:00:00Z\"'\nprintf '}}'\n"
        ),
    )
    .unwrap();
    fs::write(&credentials, format!("[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = {VERY}-base\n"))
        .unwrap();
    let process = format!(
        "[profile asks]\ncredential_process = sh \"{}\" ends\n[profile role]\nrole_arn = arn:r\nsource_profile = asks\n\
         [profile lasts]\ncredential_process = sh \"{}\"\n",
        script.display(),
        script.display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &process).unwrap();
    let env = |profile: &str| {
        let (config, credentials) = (config.display().to_string(), credentials.display().to_string());
        let files = [("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)];
        let rest = [("AWS_PROFILE", profile.to_owned()), ("AWS_ENDPOINT_URL_STS", service.url())];
        [files, rest].concat()
    };
    let clock = Clock::new();
    assert_eq!(once(aws(), &env("base"), &clock).await, Ok(format!("eu-west-1 AKIABASE {VERY}-base ")));
    assert!(service.asked().is_empty());
    let wanted = format!("eu-west-1 ASIA2 {VERY}/key+2 {VERY}/token+2==");
    assert_eq!(once(aws(), &env("deep"), &clock).await, Ok(wanted));
    let asked = service.asked();
    let signed = |n: usize, key: &str| {
        let says = asked[n].header("authorization").to_owned();
        assert!(says.contains(&format!("Credential={key}/20261128/eu-west-1/sts/aws4_request")), "{says}");
    };
    signed(0, "AKIABASE");
    signed(1, "ASIA1");
    assert_eq!(asked[1].header("x-amz-security-token"), format!("{VERY}/token+1=="));
    assert_eq!((asked[0].form()["RoleArn"].as_str(), asked[0].form()["ExternalId"].as_str()), ("arn:mid", "e&x"));
    // A program gives keys that last, or some that end, also for a role.
    assert_eq!(once(aws(), &env("lasts"), &clock).await, Ok(format!("eu-west-1 AKIAASKED {VERY}-asked ")));
    let asks = source(aws(), &env("asks"), &clock);
    asks.ask().await;
    assert_eq!(shown(&asks), format!("eu-west-1 AKIAASKED {VERY}-asked {VERY}-session"));
    assert_eq!(asks.held().unwrap().until, Time::parse("2026-11-28T13:00:00Z").ok());
    assert_eq!(once(aws(), &env("role"), &clock).await, Ok(format!("eu-west-1 ASIA3 {VERY}/key+3 {VERY}/token+3==")));
    for (profile, wanted) in [("gone", "in none of"), ("round", "more than 5 profiles")] {
        let why = once(aws(), &env(profile), &clock).await.unwrap_err();
        assert!(why.contains(wanted), "{why}");
    }
}
