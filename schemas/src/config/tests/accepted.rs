//! What is accepted, and what it means.
//!
//! The document of the contract with all its keys, the defaults, JSON, variables, aliases, routes and addresses, and the file
//! that `tollgate up` uses when it is given none.

use std::time::Duration;

use super::{super::*, good, parse};
use crate::{
    error_code::ErrorCode::{self, *},
    limit::{Dimension, Match, Mode, OnExceed, OnUnbounded, Share, Unit, Window},
    money::Pico,
    policy::{Digest, Tenants},
    time::Time,
    tokens::TokenClass,
};

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "# nothing\n", "{}", "listen:\nlog:\nlimits: ~\n"] {
        let config = good(text);
        assert_eq!(config.listen, Listen::default());
        assert_eq!(config.log, Log::Disk { dir: "./data/log".into(), fsync: Fsync::Group, keep: None });
        assert_eq!(config.lake, LakeUrl::Local("./data/lake".into()));
        assert_eq!(config.server, Server::default());
        assert_eq!(config.metering, MeteringConfig::default());
        assert!(config.models.is_empty() && config.tenants.is_empty() && config.limits.is_empty());
    }
}

/// The document of the contract, with the keys that its comments name.
const CONTRACT: &str = r#"
listen:  { gateway: "${HOST}:${PORT}", query: localhost:8081, postgres: 127.0.0.1:5433, flight: 127.0.0.1:8082, ops: "[::1]:9090" }
log:     { kind: kafka, brokers: "one:9092, two:9092", outbox: ./data/outbox, prefix: tg, lanes: 4 }
lake:    { url: s3://bucket/some/prefix/ }
prices:  [ ./prices.yaml ]
providers:
  - { name: openai,    dialect: openai,    base_url: https://api.openai.com/v1/, api_key: "${SECRET}" }
  - name: anthropic
    dialect: anthropic
    base_url: https://api.anthropic.com
    api_key: ${ANTHROPIC_API_KEY:-}
    timeouts: { connect: 500ms, first_byte: 60s, idle: 1m, total: 2h }
    http2: true
    max_connections: 100
    allow_private: false
    usage_in_stream: never
    forward: [X-Trace]
  - { name: local, dialect: openai, base_url: "http://127.0.0.1:11434/v1" }
  - { name: sandbox, frame_delay: 0s }
server:  { max_body: 1MiB, max_body_in_flight: 1GB, header_timeout: 1s, body_timeout: 2s, max_connections: 7, keepalive_comment: 3s, cache: 9MiB, read_on: 0s, drain: 0s }
models:
  - { name: gpt-5-mini, targets: [ { provider: openai, model: gpt-5-mini-2026 } ] }
  - name: "claude-*"
    targets: [ { provider: anthropic } ]
    context_window: 200000
    max_output_tokens: 64000
    encoding: none
    all_output_visible: true
    bytes_per_token: 3
    prices: [ { per_million: { input: 2.50, output: "10" }, per_unit: { web_search: 0.01 }, from: 2026-01-01 } ]
tenants:
  - name: acme
    keys: [ { name: ci, sha256: "HASH", team: search, project: bot, user: alice, tags: { env: prod, app: 7 } } ]
limits:
  - { name: acme-month, scope: { tenant: acme }, unit: usd, amount: "100.00", window: month, mode: hard, zone: europe/berlin,
      on_exceed: refuse, unbounded: admit, stream: whole, alerts: [1.0, 0.8, 1], backfill: false }
  - { name: per-user-tpm, scope: { user: "*", tenant: acme }, unit: tokens, amount: 200000, window: minute, mode: soft }
  - { name: by-env, scope: { tags: { env: "*" }, model: "gpt-*" }, unit: requests, amount: "5", window: total, mode: observe, values: [prod], max_instances: 3 }
  - { name: at-once, unit: concurrent, amount: 8, mode: hard, on_exceed: { downgrade: claude-haiku } }
  - { name: sliced, unit: tokens, amount: 8, window: day, mode: hard, stream: slices, on_exceed: finish }
metering: { outage_budget: 90s, abandon_after: 1d, dedup_days: 7, token_events: every, promoted_tags: [] }
cors:     { origins: [https://app.example.com, "http://localhost:3000"] }
access:
  - { token_sha256: "HASH", tenants: ["*"] }
  - { token: tgq-acme, tenants: [acme] }
proxies:
  - { name: edge, token_sha256: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", tenants: ["*"] }
  - { name: batch, token: tgp-batch, tenants: [acme] }
"#;

fn contract() -> Config {
    good(&CONTRACT.replace("HASH", &"ab".repeat(32)))
}

#[test]
fn the_contract_says_where_things_are() {
    let config = contract();
    assert_eq!(config.listen.gateway.to_string(), "127.0.0.9:9000");
    let Log::Kafka(kafka) = &config.log else { panic!("{:?}", config.log) };
    assert_eq!((kafka.brokers.len(), kafka.prefix.as_str(), kafka.lanes), (2, "tg", 4));
    assert_eq!(config.lake.to_string(), "s3://bucket/some/prefix");

    let [openai, anthropic, local, sandbox] = config.providers.as_slice() else { panic!("{:?}", config.providers) };
    assert_eq!(openai.base_url.as_ref().map(ToString::to_string).as_deref(), Some("https://api.openai.com/v1"));
    assert_eq!(openai.api_key.expose(), "sk-very-secret");
    assert!(!format!("{openai:?} {}", openai.api_key).contains("very"), "{openai:?}");
    assert!(anthropic.api_key.is_empty() && anthropic.http2);
    assert_eq!(anthropic.timeouts.connect, Duration::from_millis(500));
    assert_eq!(
        (anthropic.usage_in_stream, anthropic.forward.as_slice()),
        (UsageInStream::Never, &["x-trace".into()][..])
    );
    assert_eq!(local.base_url.as_ref().map(BaseUrl::effective_port), Some(11434));
    assert_eq!((sandbox.dialect, sandbox.frame_delay, &sandbox.base_url), (Dialect::Sandbox, Duration::ZERO, &None));
    assert_eq!((config.server.max_body, config.server.max_body_in_flight), (1 << 20, 1_000_000_000));
    assert_eq!((config.server.cache, config.server.read_on), (9 << 20, Duration::ZERO));
}

#[test]
fn the_contract_says_what_is_metered() {
    let config = contract();
    let [row, ..] = config.model_book.rows.as_slice() else { panic!("{:?}", config.model_book) };
    assert_eq!((&*row.provider, row.model.as_str(), row.class), ("anthropic", "claude-*", TokenClass::UncachedInput));
    assert_eq!((row.unit_price, row.valid_from), (Pico(2_500_000), Time::from_micros(1_767_225_600_000_000)));
    assert_eq!((config.model_book.rows.len(), config.model_book.models.len()), (3, 1));

    let [month, tpm, by_env, at_once, sliced] = config.limits.as_slice() else { panic!("{:?}", config.limits) };
    assert_eq!(
        (month.amount, month.zone.as_str(), month.unbounded),
        (100_000_000_000_000, "Europe/Berlin", OnUnbounded::Admit)
    );
    assert_eq!((tpm.unit, tpm.window, tpm.mode), (Unit::Tokens, Window::Minute, Mode::Soft));
    assert_eq!(tpm.scope, [(Dimension::Tenant, Match::Is("acme".into())), (Dimension::User, Match::Each)]);
    assert_eq!(
        by_env.scope,
        [(Dimension::Model, Match::Is("gpt-*".into())), (Dimension::Tag("env".into()), Match::Each)]
    );
    assert_eq!((by_env.values.as_slice(), by_env.max_instances), (&["prod".to_owned()][..], Some(3)));
    assert_eq!((at_once.unit, at_once.window), (Unit::Concurrent, Window::Total));
    assert_eq!(at_once.on_exceed, OnExceed::Downgrade("claude-haiku".into()));
    assert_eq!(month.alerts, [Share(80), Share(100)]);
    assert_eq!((&sliced.on_exceed, sliced.slices), (&OnExceed::Finish, true));
    assert_eq!(config.tenants[0].keys[0].tags, [("app".into(), "7".into()), ("env".into(), "prod".into())]);
    assert_eq!(config.metering.token_events, TokenEvents::Every);
    assert_eq!(config.access[1].token_sha256, Digest::of("tgq-acme"));
    assert_eq!(config.access[1].tenants, Tenants::Only(vec!["acme".into()]));
    assert_eq!((&*config.proxies[0].name, &config.proxies[0].tenants), ("edge", &Tenants::All));
    assert_eq!(config.proxies[1].token_sha256, Digest::of("tgp-batch"));
    assert!(config.proxies[1].tenants.has("acme") && !config.proxies[1].tenants.has("globex"));

    let policy = config.policy(BookHash([7; 32]));
    let json = serde_json::to_string(&policy).expect("a policy is text");
    assert!(!json.contains("sk-very") && !json.contains("tgq-acme"), "{json}");
    assert_eq!(serde_json::from_str::<Policy>(&json).expect("it reads back"), policy);
}

#[test]
fn json_is_yaml() {
    let text = "{\n\t\"log\": {\"kind\": \"disk\", \"dir\": \"/tmp/x\"},\n\t\"limits\": [],\n\t\"server\": {\"drain\": \"1s\"}\n}\n";
    let config = good(text);
    assert_eq!(config.log, Log::Disk { dir: "/tmp/x".into(), fsync: Fsync::Group, keep: None });
    assert_eq!(config.server.drain, Duration::from_secs(1));
}

#[test]
fn the_ledger_is_kept_for_ever_or_as_long_as_is_said() {
    for (written, expected) in
        [("", None), (", keep: 30d", Some(Duration::from_secs(30 * 86_400))), (", keep: 0s", Some(Duration::ZERO))]
    {
        let config = good(&format!("log: {{ kind: disk, dir: x{written} }}"));
        assert_eq!(config.log, Log::Disk { dir: "x".into(), fsync: Fsync::Group, keep: expected }, "{written}");
    }
}

#[test]
fn variables_expand_inside_values() {
    let cases = [
        ("${HOST}", "127.0.0.9"),
        ("a${HOST}b${PORT}c", "a127.0.0.9b9000c"),
        ("${NOPE:-x y}", "x y"),
        ("${EMPTY:-x}", "x"),
        ("a${NOPE:-}b", "ab"),
        ("$${HOST}", "${HOST}"),
        ("$HOST", "$HOST"),
    ];
    for (written, expected) in cases {
        let config = good(&format!("log: {{ kind: disk, dir: \"{written}\" }}"));
        assert_eq!(config.log, Log::Disk { dir: expected.into(), fsync: Fsync::Group, keep: None }, "{written}");
    }
}

#[test]
fn the_most_exact_route_is_found_in_any_order() {
    let route = |name: &str| ModelRoute { name: name.into(), ..ModelRoute::default() };
    let names = ["*", "gpt-*", "gpt-5*", "gpt-5-mini", "claude-*"];
    let cases = [
        ("gpt-5-mini", Some("gpt-5-mini")),
        ("gpt-5-mini-2", Some("gpt-5*")),
        ("gpt-4o", Some("gpt-*")),
        ("claude-x", Some("claude-*")),
        ("o3", Some("*")),
    ];
    for turn in 0..names.len() {
        let mut routes: Vec<ModelRoute> = names.iter().map(|name| route(name)).collect();
        routes.rotate_left(turn);
        for (asked, found) in cases {
            assert_eq!(ModelRoute::find(&routes, asked).map(|route| route.name.as_str()), found, "{asked}");
        }
        routes.reverse();
        assert_eq!(ModelRoute::find(&routes, "gpt-5-mini").map(|route| route.name.as_str()), Some("gpt-5-mini"));
    }
    assert_eq!(ModelRoute::find(&[route("a")], "b"), None);
}

#[test]
fn routing_is_complete_once_it_is_read() {
    let config = good(
        "providers: [ { name: s, dialect: sandbox } ]
limits: [ { name: l, unit: usd, amount: 1, window: day, mode: soft } ]
models:
  - { name: one, targets: [ { provider: s } ] }
  - { name: two, targets: [ { provider: s }, { provider: s, model: b } ], cache: { ttl: 1h } }
  - name: all
    targets:
      - { provider: s, weight: 70, priority: 1, cooldown: 0s, timeouts: { first_byte: 5s },
          when: { tenant: acme, tag.env: prod-*, header.X-Tier: gold, left.l: 20% } }
    sticky: { by: header:X-Session }
    retry: { attempts: 4, on: [ rate_limit, limit, 529 ], backoff: 1s, within: 30s }",
    );
    let [one, two, all] = config.models.as_slice() else { panic!("three models") };
    assert_eq!((one.retry.attempts, two.retry.attempts), (1, 3));
    assert_eq!((one.cache, two.cache), (None, Some(Caching { ttl: Duration::from_secs(3_600), max_answer: 1 << 20 })));
    assert_eq!((&two.strategy, &two.targets[0]), (&Strategy::Priority, &Target::new("s".into(), None)));
    assert_eq!(all.strategy, Strategy::Sticky(By::Header("x-session".into())));
    let on = vec![Cause::RateLimit, Cause::Limit, Cause::Status(529)];
    let (backoff, within) = (Duration::from_secs(1), Duration::from_secs(30));
    assert_eq!(all.retry, Retry { attempts: 4, on, backoff, within });
    let target = &all.targets[0];
    assert_eq!((target.weight, target.priority, target.cooldown), (70, 1, Some(Duration::ZERO)));
    assert_eq!(target.timeouts.over(&Timeouts::default()).first_byte, Duration::from_secs(5));
    assert_eq!(target.timeouts.over(&Timeouts::default()).idle, Timeouts::default().idle);
    assert_eq!(target.when[2], When::Header("x-tier".into(), "gold".into()));
    assert_eq!(target.when[3], When::Left("l".into(), 20));
    // A policy of a version that knew one target only is still one.
    let old = r#"{"name":"m","targets":[{"provider":"s","model":null}]}"#;
    let old: ModelRoute = serde_json::from_str(old).expect("an old route");
    assert_eq!((old.retry.attempts, old.targets[0].weight, old.cache), (1, 1, None));
    assert!(!old.retry.follows(None, 0) && old.retry.follows(Cause::of_status(503), 503));
}

#[test]
fn a_judge_is_a_target_of_its_own() {
    let config = good(
        "providers: [ { name: s, dialect: sandbox } ]
models:
  - { name: one, targets: [ { provider: s }, { provider: s, model: b } ], judge: { provider: s, model: j } }
  - name: two
    targets: [ { provider: s } ]
    judge: { provider: s, model: j, max_answer: 4KiB, instruction: judge!, timeouts: { total: 9s } }",
    );
    let [one, two] = config.models.as_slice() else { panic!("two models") };
    let target = Target::new("s".into(), Some("j".into()));
    let first = Judge { target: target.clone(), max_answer: 32 << 10, instruction: None };
    assert_eq!(one.judge.as_deref(), Some(&first));
    let timeouts = Patience { total: Some(Duration::from_secs(9)), ..Patience::default() };
    let target = Target { timeouts, ..target };
    assert_eq!(two.judge.as_deref(), Some(&Judge { target, max_answer: 4 << 10, instruction: Some("judge!".into()) }));
    assert!(config.models.iter().all(|model| {
        let text = serde_json::to_string(model).expect("a model");
        serde_json::from_str::<ModelRoute>(&text).expect("the same model") == *model
    }));
}

#[test]
fn private_networks_are_known() {
    for ip in [
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "fe80::1",
        "fc00::1",
        "::ffff:192.168.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "::",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert!(is_private(ip.parse().expect(ip)), "{ip}");
    }
    for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "127.0.0.1", "::1"] {
        assert!(!is_private(ip.parse().expect(ip)), "{ip}");
    }
    assert!(is_loopback("::ffff:127.0.0.1".parse().expect("an address")));
}

/// Anchors are YAML; a file that multiplies itself with them is refused.
#[test]
fn aliases_have_an_end() {
    let config = good(
        "limits:\n  - &a { name: a, unit: usd, amount: 1, window: day, mode: soft, scope: &s { user: x } }\n  - { name: b, unit: usd, amount: 1, window: day, mode: soft, scope: *s }\n",
    );
    assert_eq!(config.limits[0].scope, config.limits[1].scope);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let before = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    let mistakes = parse(&bomb).expect_err("a bomb");
    assert_eq!(mistakes[0].code, ConfigUnreadable, "{mistakes:?}");
    let deep = "[".repeat(200);
    assert_eq!(parse(&deep).expect_err("too deep")[0].code, ConfigUnreadable);
}

#[test]
fn the_default_file_works_with_nothing_else() {
    let text = include_str!("../../../../tollgate.yaml");
    let (config, warnings) = Config::parse(text, "tollgate.yaml", &|_| None).expect("the default file");
    let codes: Vec<ErrorCode> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [ClearSecret], "{warnings:?}");
    let listen = [config.listen.gateway, config.listen.query, config.listen.ops].into_iter();
    let mut listen = listen.chain(config.listen.postgres).chain(config.listen.flight);
    assert!(listen.all(|address| address.ip().is_loopback()), "keys in clear are for this machine only");
    assert_eq!((config.tenants.len(), config.access.len()), (4, 2));
    let route = ModelRoute::find(&config.models, "sandbox/100").expect("the sandbox is served");
    assert_eq!(route.targets[0].provider, "sandbox");
    for mode in [Mode::Hard, Mode::Soft, Mode::Observe] {
        assert!(config.limits.iter().any(|limit| limit.mode == mode), "{mode:?}");
    }
}

#[test]
fn only_the_makers_of_an_api_are_known_to_heed_its_caps() {
    let file = "providers:
  - { name: a, dialect: openai, base_url: \"https://api.openai.com/v1\" }
  - { name: b, dialect: openai, base_url: \"https://eu.api.openai.com/v1\" }
  - { name: c, dialect: anthropic, base_url: \"https://api.anthropic.com\" }
  - { name: d, dialect: azure, base_url: \"https://x.openai.azure.com\", api_key: k, api_version: v }
  - { name: sandbox }
  - { name: e, dialect: openai, base_url: \"https://api.openai.com.proxy.example/v1\" }
  - { name: f, dialect: openai, base_url: \"https://notapi.openai.com/v1\" }
  - { name: g, dialect: openai, base_url: \"https://api.anthropic.com/v1\" }
  - { name: h, dialect: anthropic, base_url: \"https://api.deepseek.com/anthropic\" }
  - { name: i, dialect: ollama }
  - { name: j, dialect: deepseek }
  - { name: k, dialect: openrouter }
  - { name: l, dialect: gemini }
";
    let config = good(file);
    let heeds = config.providers.iter().filter(|provider| provider.heeds_caps()).map(|provider| &*provider.name);
    assert_eq!(heeds.collect::<Vec<_>>(), ["a", "b", "c", "d", "sandbox"]);
}

#[test]
fn a_preset_says_what_is_known_of_a_provider() {
    let config = good(
        "providers:
  - { name: g, dialect: groq, api_key: k }
  - { name: m, dialect: mistral, base_url: \"https://proxy.example/v1\", usage_in_stream: never }
  - { name: o, dialect: ollama }
  - { name: v, dialect: gemini, api_key: k, passthrough: true }
  - { name: b, dialect: bedrock, base_url: \"https://bedrock-runtime.eu-west-1.amazonaws.com\", access_key_id: id, secret_access_key: very }
  - { name: a, dialect: azure, base_url: \"https://x.openai.azure.com\", api_key: k, api_version: \"2026-01-01\" }
  - { name: p, dialect: openai, base_url: \"https://proxy.example/v1\", api_key: k, responses: translated }
  - { name: r, dialect: openrouter }
  - { name: s, dialect: openrouter, base_url: \"https://proxy.example/v1\" }
  - { name: t, dialect: openai, base_url: \"https://openrouter.ai/api/v1\" }
",
    );
    let [groq, mistral, ollama, gemini, bedrock, azure, proxy, routers @ ..] = config.providers.as_slice() else {
        panic!("{config:?}")
    };
    let url = |provider: &Provider| provider.base_url.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!((groq.dialect, url(groq).as_str()), (Dialect::OpenAi, "https://api.groq.com/openai/v1"));
    assert_eq!((url(mistral).as_str(), mistral.usage_in_stream), ("https://proxy.example/v1", UsageInStream::Never));
    assert_eq!([mistral, groq, proxy].map(Provider::flavor), [Flavor::Mistral, Flavor::Common, Flavor::Common]);
    assert!(routers.iter().all(|provider| provider.flavor() == Flavor::OpenRouter));
    assert!(ollama.more.keyless && !groq.more.keyless && url(ollama).starts_with("http://127.0.0.1"));
    assert_eq!((gemini.dialect, gemini.more.passthrough, groq.more.passthrough), (Dialect::Gemini, true, false));
    let aws = bedrock.more.aws.as_ref().unwrap();
    assert_eq!((aws.region.as_str(), aws.session_token.is_empty()), ("eu-west-1", true));
    assert!(!format!("{bedrock:?}").contains("very"));
    assert_eq!(azure.more.api_version.as_deref(), Some("2026-01-01"));
    let responses = [groq, mistral, proxy].map(|provider| provider.more.responses);
    assert_eq!(responses, [Responses::Native, Responses::Translated, Responses::Translated]);
}

#[test]
fn what_a_key_is_good_for_and_the_limits_that_it_brings() {
    let config = good(
        "{ providers: [ { name: s, dialect: sandbox } ], models: [ { name: \"m-*\", targets: [ { provider: s } ] } ],
           tenants: [ { name: a, keys: [ { name: k, key: x, expires: 2026-12-31T23:00:00+01:00, models: [ m-1, \"m-*\" ], disabled: true,
             budget: { unit: usd, amount: \"2.5\", window: day, zone: Europe/Berlin } },
             { name: l, key: y, budget: [ { unit: tokens, amount: 5, window: minute, mode: soft }, { unit: concurrent, amount: 1 } ] } ] } ],
           limits: [ { name: all, unit: requests, amount: 1, window: day, mode: hard } ] }",
    );
    let key = &config.tenants[0].keys[0];
    assert_eq!(key.expires.unwrap().to_string(), "2026-12-31T22:00:00.000000Z");
    assert_eq!((key.models.as_slice(), key.disabled), (&["m-1".to_owned(), "m-*".to_owned()][..], true));
    let names: Vec<&str> = config.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["all", "a/k/usd/day", "a/l/tokens/minute", "a/l/concurrent/total"]);
    let [_, usd, tokens, _] = config.limits.as_slice() else { panic!("four limits") };
    assert_eq!((usd.mode, usd.amount, usd.zone.as_str()), (Mode::Hard, 2_500_000_000_000, "Europe/Berlin"));
    assert_eq!(usd.scope, [(Dimension::Tenant, Match::Is("a".into())), (Dimension::Key, Match::Is("k".into()))]);
    assert_eq!((tokens.mode, tokens.window), (Mode::Soft, Window::Minute));
    assert!(usd.is_budget_of("a", "k") && !usd.is_budget_of("a", "l") && !config.limits[0].is_budget_of("a", "k"));
    let json = serde_json::to_string(key).unwrap();
    assert_eq!(&serde_json::from_str::<crate::policy::ApiKey>(&json).unwrap(), key);
}

#[test]
fn tls_is_for_the_listeners_that_it_names_or_for_all_others() {
    use super::super::Listener::{Admin, Flight, Gateway, Ops, Postgres, Query};
    let on = |tls: &str| {
        let config = good(&format!("listen: {{ tls: {tls} }}"));
        config.tls.into_iter().map(|tls| (tls.on, tls.client_ca.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(on("{ cert: a, key: b }"), [(vec![Gateway, Query, Postgres, Flight, Ops, Admin], false)]);
    let two = "[ { on: [admin], cert: a, key: b, client_ca: c }, { cert: a, key: b } ]";
    assert_eq!(on(two), [(vec![Admin], true), (vec![Gateway, Query, Postgres, Flight, Ops], false)]);
    for bad in ["{ cert: a }", "[ { cert: a, key: b }, { cert: a, key: b } ]", "{ on: [kafka], cert: a, key: b }"] {
        assert_eq!(parse(&format!("listen: {{ tls: {bad} }}")).expect_err(bad).len(), 1, "{bad}");
    }
    let twice = "[ { on: [ops], cert: a, key: b }, { on: [ops], cert: a, key: b } ]";
    assert!(parse(&format!("listen: {{ tls: {twice} }}")).is_err());
}

#[test]
fn an_issuer_has_defaults_and_its_tenant_is_said_once() {
    let issuer = |rest: &str| format!("identity: {{ jwt: [ {{ name: sso, issuer: i, audience: a, {rest} }} ] }}");
    let config = good(&issuer("jwks_url: https://sso.test/jwks, tenant: acme"));
    let found = &config.issuers[0];
    assert_eq!((found.algorithms.as_slice(), found.claims.user.as_str()), (&[Algorithm::Rs256][..], "sub"));
    assert_eq!((found.leeway, found.stale), (Duration::from_secs(60), Duration::from_secs(86_400)));
    good(
        &issuer("jwks_url: http://127.0.0.1:9/jwks, claims: { tenant: t }, audience: [a, b]")
            .replace("audience: a, ", ""),
    );
    for (rest, code) in [
        ("jwks_url: http://sso.test/jwks, tenant: acme", AddressNotAllowed),
        ("jwks_file: keys.json, tenant: acme, claims: { tenant: t }", BadConfigValue),
        ("jwks_file: keys.json", BadConfigValue),
        ("tenant: acme", MissingConfigKey),
        ("jwks_file: keys.json, tenant: acme, algorithms: [HS256]", BadConfigValue),
        ("jwks_file: keys.json, tenant: acme, algorithms: [none]", BadConfigValue),
    ] {
        let mistakes = parse(&issuer(rest)).expect_err(rest);
        assert_eq!(mistakes.iter().map(|mistake| mistake.code).collect::<Vec<_>>(), [code], "{rest}");
    }
}

#[test]
fn admins_and_their_listener_belong_together() {
    let admins = "admins: [ { name: ops, token: very, role: write, tenants: [\"*\"] } ]";
    let warned = |text: &str| parse(text).expect("good").1.iter().map(|warning| warning.code).collect::<Vec<_>>();
    assert_eq!(warned(&format!("{{ listen: {{ admin: 127.0.0.1:1 }}, {admins} }}")), [ClearSecret]);
    assert_eq!(warned("listen: { admin: 127.0.0.1:1 }"), [ConfigHasNoEffect]);
    let mut alone = warned(admins);
    alone.sort_unstable();
    assert_eq!(alone, [ClearSecret, ConfigHasNoEffect]);
    let config = good(&format!("{{ listen: {{ admin: 127.0.0.1:1 }}, {admins} }}"));
    assert_eq!((config.admins[0].role, &config.admins[0].tenants), (Role::Write, &Tenants::All));
    for bad in ["{ name: a, token: very, tenants: [\"*\"] }", "{ name: a, token: very, role: root, tenants: [\"*\"] }"]
    {
        assert_eq!(parse(&format!("admins: [ {bad} ]")).expect_err(bad).len(), 1, "{bad}");
    }
    assert!(parse("listen: { gateway: 127.0.0.1:1, admin: 127.0.0.1:1 }").is_err());
}

#[test]
fn a_credential_comes_from_one_place() {
    let config = good(
        "providers:
  - { name: a, dialect: groq, api_key: very }
  - { name: b, dialect: groq, api_key: \"${UNSET:-}\", api_key_file: keys/groq }
  - { name: c, dialect: bedrock, base_url: \"https://bedrock-runtime.eu-west-1.amazonaws.com\", credentials: aws }
  - { name: d, dialect: bedrock, base_url: \"http://127.0.0.1:1\", region: us-east-2, credentials: aws }
  - { name: e, dialect: vertex, base_url: \"https://x.com/v1/projects/p/locations/l\", credentials: gcp }
  - { name: f, dialect: azure, base_url: \"https://x.openai.azure.com\", credentials: azure }
  - { name: g, dialect: groq }
  - { name: h, dialect: ollama }
",
    );
    let found: Vec<String> = config.providers.iter().map(Provider::credential_from).collect();
    let wanted = [
        "api_key",
        "api_key_file keys/groq",
        "credentials aws, signed for eu-west-1",
        "credentials aws, signed for us-east-2",
        "credentials gcp",
        "credentials azure",
        "none; its models cannot be called",
        "none is needed",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_target_that_hangs_is_left_only_while_another_can_still_be_asked() {
    let retry = Retry::default();
    let check = |retry: &Retry, is_stream: bool, spent: u64, seconds: Option<u64>| {
        let patience = retry.patience(is_stream, Duration::from_secs(spent));
        assert_eq!(patience, seconds.map(Duration::from_secs), "{is_stream} after {spent} s");
    };
    check(&retry, true, 0, Some(60));
    check(&retry, true, 179, Some(60));
    check(&retry, true, 180, None);
    check(&retry, false, 0, Some(180));
    check(&retry, false, 60, None);
    check(&Retry { within: Duration::from_secs(60), ..retry.clone() }, true, 0, None);
    check(&Retry { on: vec![Cause::RateLimit], ..retry }, true, 0, None);
}
