//! The real binary, as far as it starts nothing: `check`, what it refuses, and the commands that are not built yet.

#![expect(clippy::expect_used, reason = "a test that cannot go on says where")]

use std::{fs, path::Path, process::Command};

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
    assert!(out.ends_with("lake s3://lake/tollgate\n"), "{out}");
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
        (&["report"], "TG1008"),
        (&["rerate", "--prices", "x", "--from", "yesterday"], "2026-11-01T12:00:00Z"),
        (&["rerate", "--prices", "nowhere.yaml"], "nowhere.yaml"),
        (&["export", "focus", "--help"], "TG1008"),
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
    assert!(!out.contains("export"), "what is not built is not offered: {out}");
}
