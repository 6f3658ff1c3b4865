//! Azure's token services, as documented: Entra ID's token endpoint, App Service's and the machine's managed identity.

use super::*;

const OFFICE: &str = "/t/oauth2/v2.0/token";

#[tokio::test]
async fn entra_takes_a_secret_or_a_federated_token_that_is_read_anew() {
    let is_well = Arc::new(true.into());
    let (service, clock) = (tokens(&is_well).await, Clock::new());
    assert_eq!(
        once(CredentialSource::Azure, &azure(&service), &clock).await,
        Ok(format!("authorization: Bearer {VERY}-1"))
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let mut env = azure(&service);
    env.retain(|(name, _)| *name != "AZURE_CLIENT_SECRET");
    env.push(("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()));
    let source = source(CredentialSource::Azure, &env, &clock);
    for n in 2..4 {
        fs::write(&file, format!("{VERY}.jwt.{n}")).unwrap();
        source.ask().await;
        assert_eq!(shown(&source), format!("authorization: Bearer {VERY}-{n}"));
    }
    let asked = service.asked();
    assert!(asked.iter().all(|asked| asked.line == format!("POST {OFFICE}")));
    let forms: Vec<_> = asked.iter().map(Asked::form).collect();
    for form in &forms {
        assert_eq!(form["scope"], "https://cognitiveservices.azure.com/.default");
        assert_eq!((form["grant_type"].as_str(), form["client_id"].as_str()), ("client_credentials", "c"));
    }
    assert_eq!(forms[0]["client_secret"], format!("{VERY}-client"));
    assert_eq!(forms[2]["client_assertion"], format!("{VERY}.jwt.3"));
    assert_eq!(forms[2]["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
}

#[tokio::test]
async fn the_machines_identity_is_asked_last_and_app_services_by_its_own_header() {
    let clock = Clock::new();
    let end = clock.now().as_micros() / 1_000_000 + 7_200;
    // Numbers are texts there.
    let machine = Service::start(|asked| match asked.header("metadata") {
        "true" => (200, format!("{{\"access_token\":\"{VERY}-vm\",\"expires_in\":\"3600\",\"resource\":\"r\"}}")),
        _ => (400, "{\"error\":\"invalid_request\"}".into()),
    });
    let machine = machine.await;
    let app = Service::start(move |asked| {
        assert_eq!(asked.header("x-identity-header"), format!("{VERY}-header"));
        (200, format!("{{\"access_token\":\"{VERY}-app\",\"expires_on\":\"{end}\",\"token_type\":\"Bearer\"}}"))
    });
    let app = app.await;
    let mut env = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url())];
    assert_eq!(once(CredentialSource::Azure, &env, &clock).await, Ok(format!("authorization: Bearer {VERY}-vm")));
    let resource = "resource=https%3A%2F%2Fcognitiveservices.azure.com";
    let wanted = format!("GET /metadata/identity/oauth2/token?api-version=2018-02-01&{resource}");
    assert_eq!(machine.asked()[0].line, wanted);
    env.push(("AZURE_CLIENT_ID", "mine".into()));
    env.push(("IDENTITY_ENDPOINT", format!("{}/msi/token", app.url())));
    env.push(("IDENTITY_HEADER", format!("{VERY}-header")));
    let source = source(CredentialSource::Azure, &env, &clock);
    source.ask().await;
    assert_eq!(shown(&source), format!("authorization: Bearer {VERY}-app"));
    assert_eq!(source.held().unwrap().until, Some(Time::from_micros(end * 1_000_000)));
    assert_eq!(app.asked()[0].line, format!("GET /msi/token?api-version=2019-08-01&{resource}&client_id=mine"));
}

#[tokio::test]
async fn what_cannot_be_is_told() {
    let clock = Clock::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{silent}"))];
    let far = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://identity.example.com".to_owned())];
    let endless = Service::start(|_| (200, "{\"access_token\":\"t\"}".into())).await;
    let past = Service::start(|_| (200, "{\"access_token\":\"t\",\"expires_on\":1}".into())).await;
    let moved = Service::start(|_| (302, String::new())).await;
    let at = |service: &Service| vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url())];
    for (env, wanted) in [
        (gone, "does not answer"),
        (far, "is not asked: https is"),
        (at(&endless), "when its token ends"),
        (at(&past), "compare the clocks"),
        (at(&moved), "answers 302"),
    ] {
        let why = once(CredentialSource::Azure, &env, &clock).await.unwrap_err();
        assert!(why.contains(wanted), "{why}");
    }
}
