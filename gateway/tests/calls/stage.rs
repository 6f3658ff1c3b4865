//! A gateway on a real journal, with a policy and no metering, for tests of what passes it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gateway::{
    Drained, Gateway, GatewayDeps, Surroundings,
    limits::Limits,
    obey::{PolicyView, View},
};
use journal::{Journal, Options};
use schemas::{
    config::{
        AwsKeys, BaseUrl, Cors, CredentialSource, Dialect, MeteringConfig, ModelRoute, More, Provider, Responses,
        Secret, Server, Target, Timeouts, TokenEvents, UsageInStream,
    },
    event::{Admitted, Event, Settled},
    fixture,
    limit::Limit,
    policy::{ApiKey, Digest, Former, Policy, Proxy, Tenant, Tenants},
    price::Book,
    time::{Time, now},
    wire,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::leased;

pub(crate) const KEY: &str = "tg-acme";
/// The key of another tenant.
pub(crate) const OTHER: &str = "tg-globex";
/// The token of a proxy that may speak for every tenant.
pub(crate) const PROXY: &str = "tgp-edge";
pub(crate) const SECRET: &str = "sk-provider-secret";
const LANES: u16 = 2;

/// Waits for something that has to happen; never for a fixed time.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: not after 20 seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a test may say otherwise.
pub(crate) struct Setting {
    pub(crate) server: Server,
    pub(crate) cors: Cors,
    pub(crate) timeouts: Timeouts,
    pub(crate) usage_in_stream: UsageInStream,
    pub(crate) api_key: &'static str,
    pub(crate) frame_delay: Duration,
    pub(crate) http2: bool,
    pub(crate) max_connections: usize,
    /// More providers of OpenAI's dialect, and the models that go to them.
    pub(crate) others: Vec<(&'static str, SocketAddr)>,
    pub(crate) models: Vec<ModelRoute>,
    /// Limits of acme's, of which this gateway has leased all.
    pub(crate) limits: Vec<Limit>,
    /// Providers whose credential comes from elsewhere, and where that is looked for.
    pub(crate) sources: Vec<(&'static str, CredentialSource)>,
    pub(crate) surroundings: Surroundings,
}

impl Default for Setting {
    fn default() -> Self {
        let server = Server { drain: Duration::from_secs(2), ..Server::default() };
        let (timeouts, usage_in_stream) = (Timeouts::default(), UsageInStream::Ask);
        let (frame_delay, http2, max_connections) = (Duration::ZERO, false, 1_000);
        let (cors, others, models, limits) = (Cors::default(), Vec::new(), Vec::new(), Vec::new());
        let api_key = SECRET;
        Self {
            server,
            cors,
            timeouts,
            usage_in_stream,
            api_key,
            frame_delay,
            http2,
            max_connections,
            others,
            models,
            limits,
            sources: Vec::new(),
            surroundings: Surroundings::default(),
        }
    }
}

pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    shutdown: CancellationToken,
    gateway: Option<JoinHandle<Drained>>,
}

fn provider(name: &str, dialect: Dialect, address: Option<SocketAddr>, setting: &Setting) -> Provider {
    let path = if dialect == Dialect::OpenAi { "/v1" } else { "" };
    Provider {
        name: name.into(),
        dialect,
        base_url: address.map(|address| BaseUrl::parse(&format!("http://{address}{path}")).unwrap()),
        api_key: Secret::new(setting.api_key),
        timeouts: setting.timeouts,
        http2: setting.http2,
        max_connections: setting.max_connections,
        allow_private: false,
        usage_in_stream: setting.usage_in_stream,
        forward: vec!["x-custom".into()],
        frame_delay: setting.frame_delay,
        more: More {
            passthrough: dialect == Dialect::OpenAi,
            api_version: (dialect == Dialect::Azure).then(|| "2026-01-01".to_owned()),
            ..More::default()
        },
    }
}

/// A provider that has no Responses.
fn chats(address: SocketAddr, setting: &Setting) -> Provider {
    let plain = provider("chats", Dialect::OpenAi, Some(address), setting);
    Provider { more: More { responses: Responses::Translated, ..More::default() }, ..plain }
}

/// A provider whose requests are signed.
fn bedrock(address: SocketAddr, setting: &Setting) -> Provider {
    let aws = AwsKeys {
        region: "us-east-1".into(),
        access_key_id: Secret::new("AKIDEXAMPLE"),
        secret_access_key: Secret::new(SECRET),
        session_token: Secret::default(),
    };
    let plain = provider("bedrock", Dialect::Bedrock, Some(address), setting);
    Provider { api_key: Secret::default(), more: More { aws: Some(aws), ..More::default() }, ..plain }
}

/// A provider whose credential comes from elsewhere, if that is said of it.
fn sourced(mut provider: Provider, sources: &[(&'static str, CredentialSource)]) -> Provider {
    if let Some((_, source)) = sources.iter().find(|(name, _)| *name == provider.name) {
        (provider.api_key, provider.more.aws) = (Secret::default(), None);
        provider.more.credentials = Some(source.clone());
    }
    provider
}

fn policy(models: &[ModelRoute]) -> PolicyView {
    let route = |name: &str, provider: &str, model: Option<&str>| ModelRoute {
        name: name.into(),
        targets: vec![Target::new(provider.into(), model.map(Into::into))],
        ..ModelRoute::default()
    };
    let proxy =
        |name: &str, token: &str, tenants| Proxy { name: name.into(), token_sha256: Digest::of(token), tenants };
    let book = Book::builtin();
    let key = ApiKey { name: "ci".into(), sha256: Digest::of(KEY), ..ApiKey::default() };
    let of = |secret: &str| ApiKey { name: secret.into(), sha256: Digest::of(secret), ..ApiKey::default() };
    let keys = vec![
        key,
        ApiKey { disabled: true, ..of("tg-off") },
        ApiKey { expires: Some(Time::ZERO), ..of("tg-old") },
        ApiKey { expires: Some(Time::MAX), models: vec!["gpt-4o-mini".into(), "sandbox/*".into()], ..of("tg-some") },
        ApiKey { former: Some(Former { sha256: Digest::of("tg-former"), until: Time::MAX }), ..of("tg-new") },
        ApiKey { former: Some(Former { sha256: Digest::of("tg-past"), until: Time::ZERO }), ..of("tg-newer") },
    ];
    let policy = Policy {
        tenants: vec![
            Tenant { name: "acme".into(), keys },
            Tenant { name: "globex".into(), keys: vec![ApiKey { name: "ci".into(), ..of(OTHER) }] },
        ],
        proxies: vec![
            proxy("edge", PROXY, Tenants::All),
            proxy("narrow", "tgp-narrow", Tenants::Only(vec!["globex".into()])),
        ],
        models: [
            route("gpt-*", "openai", None),
            route("alias", "openai", Some("gpt-4o-mini")),
            route("claude-*", "anthropic", None),
            route("sandbox/*", "sandbox", None),
            route("nowhere", "gone", None),
            route("gemini-*", "gemini", None),
            route("fast", "gemini", Some("gemini-2.5-flash")),
            route("us.anthropic.*", "bedrock", None),
            route("command-*", "cohere", None),
            route("rerank-*", "cohere", None),
            route("deployed", "azure", Some("my-gpt")),
            route("chatty-*", "chats", None),
            route("whisper-*", "openai", None),
            route("heard", "openai", Some("whisper-1")),
            route("tts-*", "openai", None),
        ]
        .into_iter()
        .chain(models.iter().cloned())
        .collect(),
        metering: MeteringConfig { token_events: TokenEvents::Every, ..MeteringConfig::default() },
        ..fixture::policy(Vec::new(), book.hash())
    };
    PolicyView::new(policy, Arc::new(book), 1)
}

impl Stage {
    pub(crate) async fn new(upstream: SocketAddr) -> Self {
        Self::with(upstream, Setting::default()).await
    }

    pub(crate) async fn with(upstream: SocketAddr, setting: Setting) -> Self {
        Self::on(tempfile::tempdir().unwrap(), upstream, setting).await
    }

    /// A gateway on the journal in `dir`, which may have been another's before.
    pub(crate) async fn on(dir: tempfile::TempDir, upstream: SocketAddr, setting: Setting) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let journal = open(dir.path());
        let limits = Limits::new(Arc::clone(&journal), LANES);
        if !setting.limits.is_empty() {
            leased::all(&setting.limits, &limits, (journal.producer(), LANES), now());
        }
        let view = Arc::new(View::default());
        view.store(policy(&setting.models));
        let others = setting.others.iter();
        let others = others.map(|(name, address)| provider(name, Dialect::OpenAi, Some(*address), &setting));
        let deps = GatewayDeps {
            name: "g1".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            identity: Arc::default(),
            workers: 2,
            server: setting.server,
            cors: setting.cors.clone(),
            providers: [
                provider("openai", Dialect::OpenAi, Some(upstream), &setting),
                provider("anthropic", Dialect::Anthropic, Some(upstream), &setting),
                provider("gemini", Dialect::Gemini, Some(upstream), &setting),
                provider("cohere", Dialect::Cohere, Some(upstream), &setting),
                provider("azure", Dialect::Azure, Some(upstream), &setting),
                chats(upstream, &setting),
                bedrock(upstream, &setting),
                provider("sandbox", Dialect::Sandbox, None, &setting),
            ]
            .into_iter()
            .chain(others)
            .map(|provider| sourced(provider, &setting.sources))
            .collect(),
            surroundings: setting.surroundings.clone(),
            limits,
            journal,
            road: None,
            lanes: LANES,
            view,
            low_watermark: Arc::default(),
        };
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let gateway = std::thread::spawn(move || {
            let gateway = Gateway::new(deps).unwrap();
            tell.send(gateway.address()).unwrap();
            gateway.run(&stop).unwrap()
        });
        let address = told.await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { dir, address, http, shutdown, gateway: Some(gateway) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call with the key of the tests.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).bearer_auth(KEY).json(body)
    }

    /// Begins to shut the gateway down.
    pub(crate) fn close(&self) {
        self.shutdown.cancel();
    }

    /// Shuts the gateway down and says what it wrote.
    pub(crate) async fn end(mut self) -> (Drained, Written) {
        let (drained, dir) = self.stop().await;
        (drained, Written::read(dir.path()))
    }

    /// Shuts the gateway down and gives its directory.
    pub(crate) async fn stop(&mut self) -> (Drained, tempfile::TempDir) {
        self.shutdown.cancel();
        let gateway = self.gateway.take().unwrap();
        let drained = tokio::task::spawn_blocking(move || gateway.join().unwrap()).await.unwrap();
        (drained, std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()))
    }
}

pub(crate) fn open(dir: &Path) -> Arc<Journal> {
    Journal::open(dir, &Options { lanes: LANES, segment_bytes: 1 << 20, ..Options::default() }).unwrap()
}

/// A chat request.
pub(crate) fn chat(more: Value) -> Value {
    let mut body = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A call by hyper's own client, in either version of HTTP.
pub(crate) async fn post_with(is_http2: bool, url: &str, body: &Value) -> String {
    let mut builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = builder.http2_only(is_http2).build_http();
    let body = http_body_util::Full::new(bytes::Bytes::from(body.to_string()));
    let request = http::Request::post(url).header("x-api-key", KEY).body(body).unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What stands in a journal.
pub(crate) struct Written {
    pub(crate) events: Vec<Event>,
}

impl Written {
    pub(crate) fn read(dir: &Path) -> Self {
        let journal = open(dir);
        let events = journal.recovered().map(|record| wire::decode_event(&record.unwrap().body).unwrap()).collect();
        Self { events }
    }

    pub(crate) fn admitted(&self) -> Vec<&Admitted> {
        self.events
            .iter()
            .filter_map(|event| if let Event::Admitted(admitted) = event { Some(&**admitted) } else { None })
            .collect()
    }

    pub(crate) fn settled(&self) -> Vec<&Settled> {
        self.events
            .iter()
            .filter_map(|event| if let Event::Settled(settled) = event { Some(&**settled) } else { None })
            .collect()
    }

    /// The one settlement there has to be: each attempt admitted before it is settled, and settled once.
    pub(crate) fn one(&self) -> &Settled {
        let (admitted, settled) = (self.admitted(), self.settled());
        assert_eq!((admitted.len(), settled.len()), (1, 1), "{:#?}", self.events);
        assert_eq!(admitted[0].attempt, settled[0].attempt);
        let place = |wanted: &dyn Fn(&Event) -> bool| self.events.iter().position(wanted).unwrap();
        assert!(
            place(&|event| matches!(event, Event::Admitted(_))) < place(&|event| matches!(event, Event::Settled(_)))
        );
        settled[0]
    }

    /// The places of each call's records, to see that none is settled twice.
    pub(crate) fn ends(&self) -> BTreeMap<String, usize> {
        let mut ends = BTreeMap::new();
        for settled in self.settled() {
            *ends.entry(settled.attempt.call.to_string()).or_default() += 1;
        }
        ends
    }
}
