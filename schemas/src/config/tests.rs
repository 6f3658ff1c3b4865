//! Documents and what is said of them.

use std::time::Duration;

use super::*;
use crate::{
    error_code::ErrorCode::{self, *},
    limit::{Dimension, Match, Mode, OnUnbounded, Unit, Window},
    money::Pico,
    policy::{Digest, Tenants},
    time::Time,
    tokens::TokenClass,
};

fn env(name: &str) -> Option<String> {
    Some(match name {
        "HOST" => "127.0.0.9".into(),
        "PORT" => "9000".into(),
        "SECRET" => "sk-very-secret".into(),
        "BROKEN" => "sk-very secret\n".into(),
        "EMPTY" => String::new(),
        _ => return None,
    })
}

fn parse(text: &str) -> Result<(Config, Vec<Warning>), Vec<Mistake>> {
    Config::parse(text, "t.yaml", &env)
}

#[track_caller]
fn good(text: &str) -> Config {
    match parse(text) {
        Ok((config, _)) => config,
        Err(mistakes) => panic!("{}", mistakes.iter().map(|mistake| format!("{mistake}\n")).collect::<String>()),
    }
}

fn places(remarks: &[Remark]) -> Vec<(usize, usize, ErrorCode)> {
    remarks.iter().map(|remark| (remark.at.line, remark.at.column, remark.code)).collect()
}

/// One mistake of `code` in line `line`, whose text holds `says`; the document has no secret that could be quoted.
#[track_caller]
fn check((text, line, code, says): (&str, usize, ErrorCode, &str)) {
    let mistakes = parse(text).expect_err(text);
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(mistakes.len(), 1, "{text}: {shown:#?}");
    let [mistake] = mistakes.as_slice() else { return };
    assert_eq!((mistake.at.line, mistake.code), (line, code), "{text}: {shown:#?}");
    assert!(shown[0].contains(says), "{text}: {shown:#?} does not say {says:?}");
    assert!(!shown[0].contains("very"), "a secret is shown: {shown:#?}");
}

/// A limit with one member more, or one other.
fn limit(member: &str) -> String {
    let default = [
        ("name", "name: l"),
        ("unit", "unit: usd"),
        ("amount", "amount: \"1.5\""),
        ("window", "window: day"),
        ("mode", "mode: hard"),
    ];
    let key = member.split(':').next().unwrap_or_default();
    let kept: Vec<&str> = default.iter().filter(|(name, _)| *name != key).map(|(_, text)| *text).collect();
    format!("limits:\n  - {{ {}, {member} }}", kept.join(", "))
}

fn provider(members: &str) -> String {
    format!("providers:\n  - {{ name: p, {members} }}")
}

#[test]
fn one_mistake_each() {
    let cases: &[(&str, usize, ErrorCode, &str)] = &[
        ("a: [", 2, ConfigUnreadable, "not YAML"),
        ("listen: {}\n---\nlog: {}", 2, ConfigUnreadable, "second document"),
        ("[1]", 1, BadConfigValue, "written as a list"),
        ("- 1: 2\n  ? [a]\n  : b", 2, ConfigUnreadable, "plain text"),
        ("limit: []", 1, UnknownConfigKey, "did you mean \"limits\"?"),
        ("zzzzzzzzzz: []", 1, UnknownConfigKey, "knows listen, log"),
        ("server: { drain: 1s, drain: 2s }", 1, DuplicateConfig, "stands twice"),
        ("server: { drain: ten }", 1, BadConfigValue, "\"ten\" is not a time"),
        ("server: { drain: 5 }", 1, BadConfigValue, "100ms"),
        ("server: { drain: 99999999999d }", 1, BadConfigValue, "time"),
        ("server: { header_timeout: 0s }", 1, BadConfigValue, "longer than zero"),
        ("server: { max_body: 64mb }", 1, BadConfigValue, "64MiB"),
        ("server: { max_body: 2GiB }", 1, BadConfigValue, "larger than max_body_in_flight"),
        ("server: { max_connections: 0 }", 1, BadConfigValue, "from 1 to"),
        ("server: 5", 1, BadConfigValue, "a single value"),
        ("listen: { gateway: nowhere }", 1, BadConfigValue, "an IP address and a port"),
        ("listen:\n  gateway: 127.0.0.1:1\n  ops: 127.0.0.1:1", 3, DuplicateConfig, "same address"),
        ("listen: { gateway: \"${NOPE}\" }", 1, UnsetVariable, "NOPE is not set"),
        ("listen: { gateway: \"${HOST\" }", 1, UnsetVariable, "without"),
        ("listen: { gateway: \"${HO ST}\" }", 1, UnsetVariable, "does not name"),
        ("log: { dir: x }", 1, MissingConfigKey, "kind"),
        ("log: { kind: tape }", 1, BadConfigValue, "disk or kafka"),
        ("log: { kind: disk, brokers: x }", 1, UnknownConfigKey, "a log of kind disk knows"),
        ("log: { kind: disk, fsync: never }", 1, BadConfigValue, "group"),
        ("log: { kind: kafka }", 1, MissingConfigKey, "brokers"),
        ("log: { kind: kafka, brokers: host }", 1, BadConfigValue, "host:port"),
        ("log: { kind: kafka, brokers: \"h:1\", lanes: 0 }", 1, BadConfigValue, "from 1 to 1024"),
        ("log: { kind: kafka, brokers: \"h:1\", prefix: \"a b\" }", 1, BadConfigValue, "topic names"),
        ("lake: { url: gs://x/y }", 1, BadConfigValue, "s3://"),
        ("lake: { url: s3://B }", 1, BadConfigValue, "bucket"),
        ("lake: {}", 1, MissingConfigKey, "url"),
        ("prices: x.yaml", 1, BadConfigValue, "a list"),
        ("cors: { origins: [app.example.com] }", 1, BadConfigValue, "origin"),
        ("metering: { dedup_days: -1 }", 1, BadConfigValue, "from 1"),
        ("metering: { outage_budget: 30d }", 1, BadConfigValue, "week"),
        ("metering: { promoted_tags: [\"a b\"] }", 1, BadConfigValue, "name of a tag"),
    ];
    cases.iter().copied().for_each(check);
}

#[test]
fn one_mistake_in_a_provider() {
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("base_url: https://x.com/v1", MissingConfigKey, "dialect"),
        ("dialect: openai", MissingConfigKey, "base_url"),
        ("dialect: cohere, base_url: https://x.com/v1", BadConfigValue, "openai or anthropic or sandbox"),
        ("dialect: openai, base_url: https://x.com", BadConfigValue, "/v1"),
        ("dialect: anthropic, base_url: https://x.com/v1/", BadConfigValue, "take /v1 out"),
        ("dialect: openai, base_url: ftp://x.com/v1", BadConfigValue, "https://"),
        ("dialect: openai, base_url: \"https://u:very@x.com/v1\"", BadConfigValue, "password"),
        ("dialect: openai, base_url: \"https://x.com/v1?k=very\"", BadConfigValue, "query"),
        ("dialect: openai, base_url: \"https://x y/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"https://x.com:0/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"http://x.com/v1\"", AddressNotAllowed, "plain http"),
        ("dialect: openai, base_url: \"https://10.0.0.1/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://169.254.169.254/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://[fd00::1]/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://[::ffff:10.0.0.1]/v1\"", AddressNotAllowed, "private"),
        ("dialect: openai, base_url: \"https://2130706433/v1\"", BadConfigValue, "host or port"),
        ("dialect: openai, base_url: \"https://0x7f.1/v1\"", BadConfigValue, "host or port"),
        ("dialect: sandbox, base_url: https://x.com", BadConfigValue, "calls nobody"),
        ("dialect: anthropic, base_url: https://x.com, frame_delay: 5ms", BadConfigValue, "sandbox"),
        ("dialect: anthropic, base_url: https://x.com, api_key: \"${BROKEN}\"", BadConfigValue, "header cannot carry"),
        ("dialect: anthropic, base_url: https://x.com, api_key: [very]", BadConfigValue, "a single value"),
        ("dialect: anthropic, base_url: https://x.com, api_kee: very-bad", UnknownConfigKey, "\"api_key\"?"),
        ("dialect: anthropic, base_url: https://x.com, timeouts: { first: 1s }", UnknownConfigKey, "timeouts knows"),
        ("dialect: anthropic, base_url: https://x.com, http2: yes", BadConfigValue, "true or false"),
        ("dialect: anthropic, base_url: https://x.com, usage_in_stream: maybe", BadConfigValue, "ask or always"),
        ("dialect: anthropic, base_url: https://x.com, forward: [\"a b\"]", BadConfigValue, "a header"),
        ("dialect: anthropic, base_url: https://x.com, forward: [Cookie]", BadConfigValue, "never forwarded"),
    ];
    for (members, code, says) in cases {
        check((&provider(members), 2, *code, says));
    }
}

#[test]
fn one_mistake_in_a_limit() {
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("unit: ~", MissingConfigKey, "lacks \"unit\""),
        ("mode: medium", BadConfigValue, "hard or soft or observe"),
        ("unit: dollars", BadConfigValue, "requests or tokens"),
        ("unit: concurrent", NotBuilt, "unit concurrent"),
        ("unit: tool_calls", NotBuilt, "unit tool_calls"),
        ("window: year", BadConfigValue, "month or total"),
        ("amount: -1", BadConfigValue, "dollars"),
        ("amount: 1e3", BadConfigValue, "dollars"),
        ("amount: \"0.0000000000001\"", BadConfigValue, "12 decimals"),
        ("amount: 10000000000", BadConfigValue, "1000000000"),
        ("zone: Mars/Base", BadConfigValue, "time zone"),
        ("unbounded: maybe", BadConfigValue, "hold or refuse or admit"),
        ("on_exceed: finish", NotBuilt, "on_exceed: finish"),
        ("on_exceed: { downgrade: gpt-5-mini }", NotBuilt, "downgrade"),
        ("on_exceed: explode", BadConfigValue, "none of the choices"),
        ("stream: slices", NotBuilt, "stream: slices"),
        ("alerts: [0.8]", NotBuilt, "alerts"),
        ("backfill: true", NotBuilt, "backfill"),
        ("scope: { tennant: a }", UnknownConfigKey, "did you mean \"tenant\"?"),
        ("scope: { tag.: a }", UnknownConfigKey, "tag."),
        ("scope: { user: \"a*b\" }", BadConfigValue, "before its end"),
        ("scope: { user: ~ }", BadConfigValue, "no value"),
        ("scope: { tag.env: \"*\" }", BadConfigValue, "max_instances"),
        ("scope: { tag.env: a, tags: { env: b } }", DuplicateConfig, "twice in the scope"),
        ("max_instances: 0, scope: { tag.env: \"*\" }", BadConfigValue, "from 1"),
        ("values: [a, a], scope: { tag.env: \"*\" }", DuplicateConfig, "defined twice"),
        ("alert: []", UnknownConfigKey, "\"alerts\"?"),
    ];
    for (member, code, says) in cases {
        check((&limit(member), 2, *code, says));
    }
    check((&limit("amount: 1.5").replace("unit: usd", "unit: tokens"), 2, BadConfigValue, "whole number"));
}

#[test]
fn one_mistake_among_models_tenants_and_tokens() {
    let hash = "a".repeat(64);
    let cases: &[(&str, usize, ErrorCode, &str)] = &[
        ("models: [ { name: m, targets: [ { provider: p } ] } ]", 1, DanglingReference, "no provider is called \"p\""),
        ("models: [ { name: m, targets: [] } ]", 1, BadConfigValue, "goes nowhere"),
        ("models: [ { name: m } ]", 1, MissingConfigKey, "targets"),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: \"m*x\", targets: [ { provider: sandbox } ] } ]",
            2,
            BadConfigValue,
            "before its end",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, targets: [ { provider: sandbox }, { provider: sandbox } ] } ]",
            2,
            NotBuilt,
            "several targets",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, targets: [ { provider: sandbox, model: \"a*\" } ] } ]",
            2,
            BadConfigValue,
            "one model",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, encoding: utf8, targets: [ { provider: sandbox } ] } ]",
            2,
            BadConfigValue,
            "o200k_base",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ {} ], targets: [ { provider: sandbox } ] } ]",
            2,
            MissingConfigKey,
            "per_million",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ { per_million: { inputs: 1 } } ], targets: [ { provider: sandbox } ] } ]",
            2,
            UnknownConfigKey,
            "\"input\"?",
        ),
        (
            "providers: [ { name: sandbox } ]\nmodels: [ { name: m, prices: [ { per_million: { input: 0.0000001 } } ], targets: [ { provider: sandbox } ] } ]",
            2,
            BadConfigValue,
            "6 decimals",
        ),
        (
            "providers: [ { name: a, dialect: sandbox }, { name: a, dialect: sandbox } ]",
            1,
            DuplicateConfig,
            "\"a\" is defined twice",
        ),
        ("tenants: [ { keys: [] } ]", 1, MissingConfigKey, "name"),
        ("tenants: [ { name: \"a*\" } ]", 1, BadConfigValue, "only limits"),
        ("tenants:\n - name: a\n - name: a", 3, DuplicateConfig, "first in line 2"),
        ("tenants: [ { name: a, keys: [ { name: k } ] } ]", 1, MissingConfigKey, "neither sha256 nor key"),
        ("tenants: [ { name: a, keys: [ { name: k, sha256: very-secret } ] } ]", 1, BadConfigValue, "not a SHA-256"),
        ("tenants: [ { name: a, keys: [ { name: k, key: \"\" } ] } ]", 1, BadConfigValue, "empty"),
        (
            "tenants: [ { name: a, keys: [ { name: k, key: \"very bad\" } ] } ]",
            1,
            BadConfigValue,
            "header cannot carry",
        ),
        (
            "tenants: [ { name: a, keys: [ { name: k, key: very1 }, { name: k, key: very2 } ] } ]",
            1,
            DuplicateConfig,
            "\"k\"",
        ),
        (
            "tenants:\n - { name: a, keys: [ { name: k, key: very1 } ] }\n - { name: b, keys: [ { name: k, key: very1 } ] }",
            3,
            DuplicateConfig,
            "line 2",
        ),
        (
            "tenants: [ { name: a, keys: [ { name: k, key: very, tags: { \"a b\": c } } ] } ]",
            1,
            BadConfigValue,
            "name of a tag",
        ),
        ("access: [ { token: very, tenants: [] } ]", 1, BadConfigValue, "may read no tenant"),
        ("access: [ { token: very } ]", 1, MissingConfigKey, "tenants"),
        ("access: [ { token: very, tenants: [\"*\", a] } ]", 1, BadConfigValue, "beside other tenants"),
        (
            "access: [ { token: very, tenants: [\"*\"] }, { token: very, tenants: [\"*\"] } ]",
            1,
            DuplicateConfig,
            "line 1",
        ),
    ];
    cases.iter().copied().for_each(check);
    let both = format!("tenants: [ {{ name: a, keys: [ {{ name: k, key: very, sha256: {hash} }} ] }} ]");
    check((&both, 1, BadConfigValue, "stand together"));
}

#[test]
fn ten_mistakes_are_one_report() {
    let text = "\
listen: { gateway: here }          # 1
lgo: { kind: disk }                # 2
server:
  max_body: lots                   # 4
providers:
  - name: openai
    dialect: openai
    base_url: http://example.com/v1   # 8
    api_key: ${NOPE}               # 9
models:
  - { name: m, targets: [ { provider: nobody } ] }   # 11
tenants:
  - name: acme
    keys:
      - { name: ci, sha256: short }   # 15
  - name: acme                     # 16
limits:
  - { name: l, unit: concurrent, amount: 1, window: day, mode: hard }   # 18
  - name: m
    unit: tokens
    amount: 5.5                    # 21
    window: fortnight              # 22
";
    let mistakes = parse(text).expect_err("it is full of mistakes");
    let expected = [
        (1, 20, BadConfigValue),
        (2, 1, UnknownConfigKey),
        (4, 13, BadConfigValue),
        (8, 15, AddressNotAllowed),
        (9, 14, UnsetVariable),
        (11, 39, DanglingReference),
        (15, 29, BadConfigValue),
        (16, 11, DuplicateConfig),
        (18, 22, NotBuilt),
        (19, 5, MissingConfigKey),
        (21, 13, BadConfigValue),
        (22, 13, BadConfigValue),
    ];
    assert_eq!(places(&mistakes), expected, "{mistakes:#?}");
    assert_eq!(
        mistakes[1].to_string(),
        "t.yaml:2:1: TG1002: unknown key \"lgo\" in the configuration; did you mean \"log\"?"
    );
}

#[test]
fn warnings_do_not_refuse() {
    let cases: &[(&str, usize, ErrorCode)] = &[
        ("listen: { postgres: 127.0.0.1:5433 }", 1, NotBuilt),
        ("listen: { flight: 127.0.0.1:8082 }", 1, NotBuilt),
        ("access: [ { token_sha256: \"${EMPTY:-HASH}\", tenants: [gone] } ]", 1, DanglingReference),
        ("tenants: [ { name: a, keys: [ { name: k, key: very } ] } ]", 1, ClearSecret),
        (
            "limits: [ { name: l, scope: { tenant: gone }, unit: usd, amount: 1, window: day, mode: soft } ]",
            1,
            DanglingReference,
        ),
        (
            "limits: [ { name: l, unit: usd, amount: 1, window: day, mode: soft, unbounded: admit } ]",
            1,
            ConfigHasNoEffect,
        ),
        ("limits: [ { name: l, unit: usd, amount: 1, window: day, mode: soft, values: [a] } ]", 1, ConfigHasNoEffect),
        (
            "log: { kind: kafka, brokers: \"h:1\" }\nmodels: [ { name: m, targets: [ { provider: p } ] } ]",
            2,
            DanglingReference,
        ),
    ];
    for (text, line, code) in cases {
        let text = text.replace("HASH", &"0".repeat(64));
        let (_, warnings) = parse(&text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
        let found: Vec<_> = warnings.iter().map(|warning| (warning.at.line, warning.code)).collect();
        assert_eq!(found, [(*line, *code)], "{text}: {warnings:?}");
        assert!(warnings.iter().all(|warning| !warning.to_string().contains("very")), "{warnings:?}");
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "# nothing\n", "{}", "listen:\nlog:\nlimits: ~\n"] {
        let config = good(text);
        assert_eq!(config.listen, Listen::default());
        assert_eq!(config.log, Log::Disk { dir: "./data/log".into(), fsync: Fsync::Group });
        assert_eq!(config.lake, LakeUrl::Local("./data/lake".into()));
        assert_eq!(config.server, Server::default());
        assert_eq!(config.metering, MeteringConfig::default());
        assert!(config.models.is_empty() && config.tenants.is_empty() && config.limits.is_empty());
    }
}

/// The document of the contract, with the keys that its comments name.
#[test]
fn the_contract_parses() {
    let hash = "ab".repeat(32);
    let text = format!(
        r#"
listen:  {{ gateway: "${{HOST}}:${{PORT}}", query: localhost:8081, postgres: 127.0.0.1:5433, flight: 127.0.0.1:8082, ops: "[::1]:9090" }}
log:     {{ kind: kafka, brokers: "one:9092, two:9092", outbox: ./data/outbox, prefix: tg, lanes: 4 }}
lake:    {{ url: s3://bucket/some/prefix/ }}
prices:  [ ./prices.yaml ]
providers:
  - {{ name: openai,    dialect: openai,    base_url: https://api.openai.com/v1/, api_key: "${{SECRET}}" }}
  - name: anthropic
    dialect: anthropic
    base_url: https://api.anthropic.com
    api_key: ${{ANTHROPIC_API_KEY:-}}
    timeouts: {{ connect: 500ms, first_byte: 60s, idle: 1m, total: 2h }}
    http2: true
    max_connections: 100
    allow_private: false
    usage_in_stream: never
    forward: [X-Trace]
  - {{ name: local, dialect: openai, base_url: "http://127.0.0.1:11434/v1" }}
  - {{ name: sandbox, frame_delay: 0s }}
server:  {{ max_body: 1MiB, max_body_in_flight: 1GB, header_timeout: 1s, body_timeout: 2s, max_connections: 7, keepalive_comment: 3s, drain: 0s }}
models:
  - {{ name: gpt-5-mini, targets: [ {{ provider: openai, model: gpt-5-mini-2026 }} ] }}
  - name: "claude-*"
    targets: [ {{ provider: anthropic }} ]
    context_window: 200000
    max_output_tokens: 64000
    encoding: none
    all_output_visible: true
    prices: [ {{ per_million: {{ input: 2.50, output: "10" }}, per_unit: {{ web_search: 0.01 }}, from: 2026-01-01 }} ]
tenants:
  - name: acme
    keys: [ {{ name: ci, sha256: "{hash}", team: search, project: bot, user: alice, tags: {{ env: prod, app: 7 }} }} ]
limits:
  - {{ name: acme-month, scope: {{ tenant: acme }}, unit: usd, amount: "100.00", window: month, mode: hard, zone: europe/berlin,
      on_exceed: refuse, unbounded: admit, stream: whole, alerts: [], backfill: false }}
  - {{ name: per-user-tpm, scope: {{ user: "*", tenant: acme }}, unit: tokens, amount: 200000, window: minute, mode: soft }}
  - {{ name: by-env, scope: {{ tags: {{ env: "*" }}, model: "gpt-*" }}, unit: requests, amount: "5", window: total, mode: observe, values: [prod], max_instances: 3 }}
metering: {{ outage_budget: 90s, abandon_after: 1d, dedup_days: 7, token_events: every, promoted_tags: [env] }}
cors:     {{ origins: [https://app.example.com, "http://localhost:3000"] }}
access:
  - {{ token_sha256: "{hash}", tenants: ["*"] }}
  - {{ token: tgq-acme, tenants: [acme] }}
"#
    );
    let config = good(&text);
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

    let [row, ..] = config.model_book.rows.as_slice() else { panic!("{:?}", config.model_book) };
    assert_eq!((&*row.provider, row.model.as_str(), row.class), ("anthropic", "claude-*", TokenClass::UncachedInput));
    assert_eq!((row.unit_price, row.valid_from), (Pico(2_500_000), Time::from_micros(1_767_225_600_000_000)));
    assert_eq!((config.model_book.rows.len(), config.model_book.models.len()), (3, 1));

    let [month, tpm, by_env] = config.limits.as_slice() else { panic!("{:?}", config.limits) };
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
    assert_eq!(config.tenants[0].keys[0].tags, [("app".into(), "7".into()), ("env".into(), "prod".into())]);
    assert_eq!(config.metering.token_events, TokenEvents::Every);
    assert_eq!(config.access[1].token_sha256, Digest::of("tgq-acme"));
    assert_eq!(config.access[1].tenants, Tenants::Only(vec!["acme".into()]));

    let policy = config.policy(BookHash([7; 32]));
    let json = serde_json::to_string(&policy).expect("a policy is text");
    assert!(!json.contains("sk-very") && !json.contains("tgq-acme"), "{json}");
    assert_eq!(serde_json::from_str::<Policy>(&json).expect("it reads back"), policy);
}

#[test]
fn json_is_yaml() {
    let text = "{\n\t\"log\": {\"kind\": \"disk\", \"dir\": \"/tmp/x\"},\n\t\"limits\": [],\n\t\"server\": {\"drain\": \"1s\"}\n}\n";
    let config = good(text);
    assert_eq!(config.log, Log::Disk { dir: "/tmp/x".into(), fsync: Fsync::Group });
    assert_eq!(config.server.drain, Duration::from_secs(1));
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
        assert_eq!(config.log, Log::Disk { dir: expected.into(), fsync: Fsync::Group }, "{written}");
    }
}

#[test]
fn the_most_exact_route_is_found_in_any_order() {
    let route = |name: &str| ModelRoute { name: name.into(), targets: Vec::new() };
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
    let text = include_str!("../../../tollgate.yaml");
    let (config, warnings) = Config::parse(text, "tollgate.yaml", &|_| None).expect("the default file");
    let codes: Vec<ErrorCode> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [ClearSecret], "{warnings:?}");
    let listen = [config.listen.gateway, config.listen.query, config.listen.ops];
    assert!(listen.iter().all(|address| address.ip().is_loopback()), "keys in clear are for this machine only");
    assert_eq!((config.tenants.len(), config.access.len()), (4, 2));
    let route = ModelRoute::find(&config.models, "sandbox/100").expect("the sandbox is served");
    assert_eq!(route.targets[0].provider, "sandbox");
    for mode in [Mode::Hard, Mode::Soft, Mode::Observe] {
        assert!(config.limits.iter().any(|limit| limit.mode == mode), "{mode:?}");
    }
}
