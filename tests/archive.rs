//! The past by the real binary, when the log has let go of it: what is proved, priced again and judged is the same before and after.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use house::Process;

const LIMITS: &str = "[ { name: spend, scope: { tenant: acme }, unit: usd, amount: \"100\", window: total, mode: hard },\
    { name: every, scope: { user: \"*\" }, unit: tokens, amount: 1000000, window: month, mode: soft } ]";

const DEARER: &str = "models:\n  - provider: sandbox\n    names: [\"sandbox/*\"]\n    context_window: 1000000\n    source: a test\n    \
    source_date: 2026-11-22\n    prices:\n      - { per_million: { input: 10.00, output: 20.00 } }\n";

const FEW: &str =
    "limits: [ { name: few, scope: { tenant: \"*\" }, unit: requests, amount: 4, window: total, mode: hard } ]\n";

/// The files of a directory and those below it.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// The first offset that the ledger on disk has.
fn first(dir: &Path) -> u64 {
    let number = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    files(&dir.join("log/ledger"), ".log").into_iter().map(number).min().unwrap()
}

/// What a replay says that does not end well.
fn refused(dir: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.arg("replay").arg("--config").arg(dir.join("trimmed.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn call(house: &Process, tokens: std::ops::Range<u32>) {
    for tokens in tokens {
        assert_eq!(house.chat("tg-acme", tokens).unwrap().0, 200);
        assert_eq!(house.chat("tg-globex", tokens * 2).unwrap().0, 200);
    }
}

#[test]
fn what_the_log_let_go_of_is_proved_priced_and_judged_as_before() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let [prices, limits] = [("dearer.yaml", DEARER), ("few.yaml", FEW)].map(|(name, text)| {
        fs::write(dir.join(name), text).unwrap();
        dir.join(name).to_str().unwrap().to_owned()
    });
    let log = |keep: &str| format!("{{ kind: disk, dir: {}/log{keep} }}", dir.display());
    let mut kept = Process::new("kept", dir, &log(""), LIMITS, None);
    let mut trimmed = Process::new("trimmed", dir, &log(", keep: 0s"), LIMITS, None);
    let looked = |house: &Process| {
        [&["rerate", "--prices", &prices][..], &["backtest", "--limits", &limits, "--calls"]]
            .map(|args| house.command(args))
    };
    kept.start();
    call(&kept, 8..14);
    assert_eq!(kept.stop(), 0);
    kept.prove();
    assert_eq!(first(dir), 0, "what is not told to go stays");
    let before = looked(&kept);
    assert!(before[0].contains("\nall ") && before[1].contains("\n4 attempts would have been refused"), "{before:?}");

    // The same past, with nothing of it in the log.
    trimmed.start();
    assert_eq!(trimmed.stop(), 0);
    let gone = first(dir);
    assert!(gone > 24, "the log begins at {gone}");
    trimmed.prove();
    assert_eq!(looked(&trimmed), before);

    // It is corrected, and goes on; the corrections are let go of as well.
    let applied = trimmed.command(&["rerate", "--prices", &prices, "--apply"]);
    assert!(applied.contains("\n12 attempts corrected"), "{applied}");
    trimmed.start();
    call(&trimmed, 20..22);
    trimmed.wait_for("the rows", || trimmed.rows("SELECT count(*) AS n FROM usage")[0]["n"] == 16);
    assert!(trimmed.ask("tgq-all", "SELECT * FROM ledger").is_err(), "no query sees the archive");
    assert_eq!(trimmed.stop(), 0);
    assert!(first(dir) > gone);
    trimmed.prove();
    let again = trimmed.command(&["rerate", "--prices", &prices, "--apply"]);
    assert!(again.contains("\n4 attempts corrected"), "{again}");

    // What is in neither place, or not as it was written, is named.
    let (archive, aside) = (dir.join("lake/ledger"), dir.join("aside"));
    let file = files(&archive, ".parquet").remove(0);
    fs::rename(&file, &aside).unwrap();
    let said = refused(dir);
    assert!(said.contains("NOT equal; the first difference: TG6010: ") && said.contains(".parquet is gone"), "{said}");
    fs::rename(&aside, &file).unwrap();
    trimmed.prove();
    fs::rename(&archive, &aside).unwrap();
    let said = refused(dir);
    assert!(
        said.contains("error: TG6009: offsets 0 to ") && said.contains("neither in the log nor in the lake"),
        "{said}"
    );
    assert!(!archive.exists(), "a look makes nothing");
}
