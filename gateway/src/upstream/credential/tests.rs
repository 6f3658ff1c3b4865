//! When sources are asked, and what happens when they fail; the clouds themselves are played.
//!
//! Token services cannot be had here, so each is an HTTP server on loopback that answers in the shape that its vendor documents, and
//! refuses what lacks what the vendor wants. The time is the test's own.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use schemas::config::{BaseUrl, More, Timeouts, UsageInStream};

use super::*;
use crate::authenticate::unescaped;

mod aws;
mod azure;
mod gcp;
mod sso;

/// What must never be seen: every secret of these tests has it.
const VERY: &str = "very-secret";

/// What a service was asked.
#[derive(Clone, Debug)]
struct Asked {
    /// Method, path and query.
    line: String,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn form(&self) -> BTreeMap<String, String> {
        let pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (unescaped(name).into_owned(), unescaped(value).into_owned())).collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A service on loopback.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Asked>>>::default());
        let (all, answer) = (Arc::clone(&asked), Arc::new(answer));
        let answered = move |request: Request| {
            let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let line = format!("{} {}", head.method, head.uri);
                let one = Asked { line, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() };
                let (status, text) = answer(&one);
                all.lock().unwrap().push(one);
                let answer: Response = (StatusCode::from_u16(status).unwrap(), text).into_response();
                answer
            }
        };
        let router = Router::new().fallback(answered);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The test's own time.
#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Time::parse("2026-11-28T12:00:00Z").unwrap().as_micros())))
    }

    fn now(&self) -> Time {
        Time::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn go_on(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

fn surroundings(env: &[(&'static str, String)], clock: &Clock) -> Surroundings {
    let env: BTreeMap<&'static str, String> = env.iter().cloned().collect();
    let clock = clock.clone();
    Surroundings {
        env: Arc::new(move |name| env.get(name).cloned()),
        clock: Arc::new(move || clock.now()),
        tick: Duration::from_millis(5),
    }
}

fn source(from: CredentialSource, env: &[(&'static str, String)], clock: &Clock) -> Source {
    let dialect = match from {
        CredentialSource::File(_) => Dialect::Anthropic,
        CredentialSource::Aws { .. } => Dialect::Bedrock,
        CredentialSource::Gcp => Dialect::Gemini,
        CredentialSource::Azure => Dialect::Azure,
    };
    let provider = Provider {
        name: "theirs".into(),
        dialect,
        base_url: BaseUrl::parse("https://p.test").ok(),
        api_key: Secret::default(),
        timeouts: Timeouts::default(),
        http2: false,
        max_connections: 1,
        allow_private: false,
        usage_in_stream: UsageInStream::Ask,
        forward: Vec::new(),
        frame_delay: Duration::ZERO,
        more: More { credentials: Some(from), ..More::default() },
    };
    Source::new(&provider, &Arc::new(World::new(&surroundings(env, clock)).unwrap())).unwrap()
}

/// Asks once; the header and its value, or the keys and their token as one text, or why there is none.
async fn once(from: CredentialSource, env: &[(&'static str, String)], clock: &Clock) -> Result<String, String> {
    let source = source(from, env, clock);
    source.ask().await;
    match source.lack() {
        None => Ok(shown(&source)),
        Some(lack) => {
            let told = format!("{lack:?}");
            assert!(!told.contains(VERY), "{told}");
            Err(told)
        }
    }
}

fn shown(source: &Source) -> String {
    match &source.held().unwrap().credential {
        Credential::Header(name, value, _) => format!("{name}: {}", value.to_str().unwrap()),
        Credential::Aws(keys) => {
            let parts = [&keys.access_key_id, &keys.secret_access_key, &keys.session_token].map(Secret::expose);
            format!("{} {}", keys.region, parts.join(" "))
        }
        Credential::None => "none".into(),
    }
}

/// What is logged while something is done on this thread.
async fn logged(done: impl Future<Output = ()>) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let writer = kept.clone();
    let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let guard = tracing::subscriber::set_default(all.finish());
    done.await;
    drop(guard);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains(VERY), "{text}");
    text
}

/// A token service of OAuth 2.0's shape: its n-th token, which lasts an hour, while it is well.
async fn tokens(is_well: &Arc<std::sync::atomic::AtomicBool>) -> Service {
    let (is_well, given) = (Arc::clone(is_well), AtomicI64::new(0));
    Service::start(move |asked| {
        if !is_well.load(Ordering::SeqCst) {
            // It repeats what it was sent, as some do.
            return (400, format!("{{\"error\":\"invalid_client\",\"error_description\":\"{}\"}}", asked.body));
        }
        let n = given.fetch_add(1, Ordering::SeqCst) + 1;
        (200, format!("{{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"{VERY}-{n}\"}}"))
    })
    .await
}

fn azure(service: &Service) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_AUTHORITY_HOST", service.url()),
        ("AZURE_TENANT_ID", "t".into()),
        ("AZURE_CLIENT_ID", "c".into()),
        ("AZURE_CLIENT_SECRET", format!("{VERY}-client")),
    ]
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_used_until_it_does() {
    let is_well = Arc::new(true.into());
    let (service, clock) = (tokens(&is_well).await, Clock::new());
    let source = source(CredentialSource::Azure, &azure(&service), &clock);
    let text = logged(async {
        assert!(matches!(source.lack(), Some(Lack::NotThere(why)) if why.contains("not answered yet")));
        source.ask().await;
        assert_eq!((source.lack(), shown(&source)), (None, format!("authorization: Bearer {VERY}-1")));
        let due = source.pace().due.since(clock.now()).as_secs();
        assert!((2_700 - 300..=3_000).contains(&due), "{due}");
        // Its service fails from here on: what there is lasts, and no longer than it says.
        is_well.store(false, Ordering::SeqCst);
        clock.go_on(3_599);
        for _ in 0..12 {
            source.ask().await;
        }
        assert_eq!((source.lack(), source.pace().failures), (None, 12));
        clock.go_on(1);
        let Some(Lack::NotThere(why)) = source.lack() else { panic!("it has ended") };
        assert!(
            why.contains("credentials azure") && why.contains("ended at") && why.contains("400: invalid_client"),
            "{why}"
        );
        assert!(!why.contains(VERY), "{why}");
        let wait = source.pace().due.since(clock.now());
        assert!((BACKOFF_MAX - SOONEST..=BACKOFF_MAX * 5 / 4).contains(&wait), "{wait:?}");
        is_well.store(true, Ordering::SeqCst);
        source.ask().await;
        assert_eq!((source.lack(), shown(&source)), (None, format!("authorization: Bearer {VERY}-2")));
    });
    let text = text.await;
    assert_eq!(text.matches("cannot be had").count(), 1, "{text}");
    assert_eq!(text.matches("can be had again").count(), 1, "{text}");
}

#[tokio::test]
async fn it_is_asked_in_time_by_itself_once_at_a_time_and_seldom_for_a_refusal() {
    let is_well = Arc::new(true.into());
    let (service, clock) = (tokens(&is_well).await, Clock::new());
    let source = Arc::new(source(CredentialSource::Azure, &azure(&service), &clock));
    let running = tokio::spawn(Arc::clone(&source).run());
    let until = async |wanted: &str| {
        while source.lack().is_some() || !shown(&source).ends_with(wanted) {
            tokio::task::yield_now().await;
        }
    };
    until("-1").await;
    clock.go_on(3_001);
    until("-2").await;
    // Of a hundred refusals in a minute none makes it ask, and afterwards they make it ask once.
    (0..100).for_each(|_| source.refused());
    clock.go_on(59);
    (0..100).for_each(|_| source.refused());
    assert!(source.pace().due > clock.now() && service.asked().len() == 2);
    clock.go_on(1);
    until("-3").await;
    assert_eq!(service.asked().len(), 3);
    running.abort();
}

#[tokio::test]
async fn a_key_in_a_file_changes_with_it_and_stays_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, clock) = (dir.path().join("key"), Clock::new());
    let source = source(CredentialSource::File(path.clone()), &[], &clock);
    let text = logged(async {
        assert!(matches!(source.lack(), Some(Lack::NotThere(why)) if why.contains("cannot be read")));
        for (written, wanted) in [
            (format!("{VERY}-1\n"), Some(1)),
            (format!("{VERY}-2\r\n"), Some(2)),
            (String::new(), None),
            (format!("{VERY}-3\n{VERY}-4\n"), None),
            (format!("{VERY}-5"), Some(5)),
        ] {
            fs::write(&path, written).unwrap();
            source.ask().await;
            assert_eq!(source.lack(), None);
            assert_eq!(source.pace().trouble.is_none(), wanted.is_some());
            if let Some(n) = wanted {
                assert_eq!(shown(&source), format!("x-api-key: {VERY}-{n}"));
            }
        }
        fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            source.ask().await;
        }
        assert_eq!((source.lack(), shown(&source)), (None, format!("x-api-key: {VERY}-5")));
    });
    let text = text.await;
    // The test began without a file, before anything was recorded.
    assert_eq!((text.matches("WARN").count(), text.matches("INFO").count()), (2, 2), "{text}");
}

#[test]
fn a_file_is_read_before_the_first_call() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{VERY}\n")).unwrap();
    let source = source(CredentialSource::File(file.path().into()), &[], &Clock::new());
    assert_eq!((source.lack(), shown(&source)), (None, format!("x-api-key: {VERY}")));
    let held = source.held().unwrap();
    assert!(!format!("{:?}", held.credential).contains(VERY));
}

#[test]
fn whatever_lasts_is_renewed_before_its_end_and_not_at_once() {
    for left in [1, 4, 30, 600, 899, 3_600, 86_400] {
        let left = Duration::from_secs(left);
        let wait = renewal(left);
        assert!(wait >= SOONEST && (wait < left || left < SOONEST), "{left:?}: {wait:?}");
        assert!(left < 4 * SOONEST || wait >= left / 2, "{left:?}: {wait:?}");
        assert!(left - wait.min(left) <= LEAD * 3 / 2, "{left:?}: {wait:?}");
    }
}

#[test]
fn tokens_are_fetched_over_https_or_near_by() {
    for url in [
        "https://sts.us-east-1.amazonaws.com/",
        "http://127.0.0.1:1/x",
        "http://localhost:42356/msi/token",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::254]/latest",
        "http://metadata.google.internal/",
    ] {
        assert!(fetch::address("it", url).is_ok(), "{url}");
    }
    for url in [
        "http://sts.us-east-1.amazonaws.com/",
        "http://10.0.0.1/",
        "http://169.253.169.254/",
        "http://[fd00::1]/",
        "http://127.0.0.1.nip.io/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:very-secret@x.test/",
        "nothing",
    ] {
        let why = fetch::address("it", url).unwrap_err();
        assert!(!why.contains(VERY), "{why}");
    }
}
