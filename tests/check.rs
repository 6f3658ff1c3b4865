//! The real binary, as far as it starts nothing: `check`, what it refuses, and the commands that a build does not have.

#![expect(clippy::expect_used, reason = "a test that cannot go on says where")]

use std::{fs, io, path::Path, process::Command};

/// Runs the binary in a directory; gives its exit code and what it printed to each side.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(args)
        .current_dir(dir)
        .env_remove("OPENAI_API_KEY")
        .env_remove("ANTHROPIC_API_KEY")
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_configurations_that_come_along_are_ok() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, out, err) = run(root, &["check"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("ok: 4 tenants, 5 keys, 6 limits, "), "{out}");
    assert!(err.starts_with("warning: tollgate.yaml:") && err.contains("TG1013"), "{err}");
    assert!(!err.contains("tg-acme") && !out.contains("tg-acme"), "{out}{err}");
    let (code, out, err) = run(root, &["check", "--config", "docker/tollgate.yaml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().next().is_some_and(|line| line.ends_with("lake s3://lake/tollgate")), "{out}");
}

#[test]
fn who_has_left_is_told_nothing_and_that_is_no_failure() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("tollgate.yaml"), "providers: [ { name: a, dialect: groq, api_key: sk } ]\n")
        .expect("it is written");
    fs::write(dir.path().join("bad.yaml"), "limts: []\n").expect("it is written");
    let cases: [(&[&str], i32); 3] = [(&["check"], 0), (&["check", "--config", "bad.yaml"], 64), (&["frobnicate"], 64)];
    for (args, code) in cases {
        let left = || {
            let (reader, writer) = io::pipe().expect("a pipe");
            drop(reader);
            writer
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let status = command.args(args).current_dir(dir.path()).stdout(left()).stderr(left()).status();
        assert_eq!(status.expect("the binary runs").code(), Some(code), "{args:?}");
    }
}

#[test]
fn mistakes_of_the_file_and_of_price_files_are_one_report() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("it is written");
    write(
        "prices.yaml",
        "models:\n  - provider: openai\n    names: [x]\n    prices: [ { per_million: { inputs: 1 } } ]\n",
    );
    write("bad.yaml", "limts: []\nprices: [prices.yaml, gone.yaml]\nlog: { kind: tape }\n");
    let (code, out, err) = run(dir.path(), &["check", "--config", "bad.yaml"]);
    assert_eq!((code, out.as_str()), (64, ""), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    let expected = [
        "error: bad.yaml:1:1: TG1002: unknown key \"limts\"",
        "error: bad.yaml:3:14: TG1004: \"tape\"",
        "error: prices.yaml:4: TG1010: ",
        "error: gone.yaml: TG1010: it cannot be read",
        "bad.yaml: ",
    ];
    assert!(expected.iter().all(|start| lines.iter().any(|line| line.starts_with(start))), "{err}");
    write("good.yaml", "{\"log\": {\"kind\": \"disk\"}}");
    let (code, out, err) = run(dir.path(), &["check", "--config", "good.yaml"]);
    assert_eq!((code, err.as_str()), (0, ""), "{err}");
    assert!(out.starts_with("ok: 0 tenants, "), "{out}");
}

#[test]
fn it_says_where_each_credential_comes_from_and_which_file_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("it is written");
    write("here", "sk-very-secret\n");
    write(
        "tollgate.yaml",
        "providers:\n  - { name: a, dialect: groq, api_key_file: here }\n  - { name: b, dialect: groq, api_key_file: gone }\n  - { name: c, dialect: gemini, credentials: gcp }\n  - { name: d, dialect: groq, api_key: sk-very-secret }\n",
    );
    let (code, out, err) = run(dir.path(), &["check"]);
    assert_eq!(code, 0, "{err}");
    let told: Vec<&str> = out.lines().skip(1).collect();
    let wanted = [
        "provider a: api_key_file here",
        "provider b: api_key_file gone",
        "provider c: credentials gcp",
        "provider d: api_key",
    ];
    assert_eq!(told, wanted);
    assert!(err.contains("warning: provider b: gone cannot be read") && !err.contains("provider a"), "{err}");
    assert!(!format!("{out}{err}").contains("very-secret"), "{out}{err}");
    let both = "providers: [ { name: a, dialect: groq, api_key: sk-very-secret, api_key_file: here } ]\n";
    write("tollgate.yaml", both);
    let (code, _, err) = run(dir.path(), &["check"]);
    assert!(code == 64 && err.contains("both api_key and api_key_file") && !err.contains("very-secret"), "{err}");
}

#[test]
fn it_warns_of_models_that_vertex_does_not_have_in_the_dialect() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "providers:\n  - { name: v, dialect: vertex, base_url: \"https://v.test/v1/projects/p/locations/l\", api_key: x }\n\
        models:\n  - { name: sonnet, targets: [ { provider: v, model: claude-sonnet-4-5 } ] }\n  - { name: gemini-2.5-flash, targets: [ { provider: v } ] }\n";
    fs::write(dir.path().join("tollgate.yaml"), text).expect("it is written");
    let (code, _, err) = run(dir.path(), &["check"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("model sonnet: v is asked for claude-sonnet-4-5") && !err.contains("gemini-2.5"), "{err}");
}

#[test]
fn wrong_arguments_exit_with_64() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("tollgate.yaml"), "").expect("it is written");
    let limits =
        "limits:\n  - { name: x, scope: { tenant: nobody }, unit: barrels, amount: 1, window: day, mode: hard }\n";
    fs::write(dir.path().join("limits.yaml"), limits).expect("it is written");
    let cases: &[(&[&str], &str)] = &[
        (&["frobnicate"], "frobnicate"),
        (&["check", "--conf", "x"], "--config"),
        (&["check", "--config", "nowhere.yaml"], "TG1001"),
        (&["up", "--roles", "gateway"], "TG1011"),
        (&["up", "--roles", "barista"], "barista"),
        (&["backtest"], "--limits"),
        (&["backtest", "--limits", "x", "--from", "y"], "2026-11-01T12:00:00Z"),
        (&["backtest", "--limits", "nowhere.yaml"], "nowhere.yaml"),
        (&["backtest", "--limits", "limits.yaml"], "error: limits.yaml:2:"),
        (&["rerate", "--prices", "x", "--from", "yesterday"], "2026-11-01T12:00:00Z"),
        (&["rerate", "--prices", "nowhere.yaml"], "nowhere.yaml"),
        (&["export", "focus", "--period", "soon"], if cfg!(feature = "query") { "2026-11" } else { "TG1008" }),
        (&["report", "spent"], if cfg!(feature = "query") { "there is no report" } else { "TG1008" }),
    ];
    for (args, says) in cases {
        let (code, out, err) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (64, ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
}

#[test]
fn version_and_help_are_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, out, _) = run(dir.path(), &["--version"]);
    assert_eq!((code, out), (0, format!("tollgate {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, out, _) = run(dir.path(), &["--help"]);
    assert_eq!(code, 0);
    for command in ["up", "check", "demo", "replay", "rerate", "backtest"] {
        assert!(out.contains(&format!("\n  {command} ")), "{out}");
    }
    let offered =
        ["report", "export", "reconcile"].iter().filter(|command| out.contains(&format!("\n  {command} "))).count();
    assert_eq!(offered, if cfg!(feature = "query") { 3 } else { 0 }, "what is not built is not offered: {out}");
}
