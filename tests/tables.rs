//! The lake's tables by the readers that people have: delta-rs, Polars and DuckDB find what our own SQL finds, whatever upkeep has done.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says where")]
#![expect(clippy::print_stdout, reason = "the generator says what it did")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use journal::{Disk, Options, Road};
use query::{
    compact::compact,
    here::Here,
    lake::Lake,
    sql::{Caller, encode::Format},
    table,
};
use schemas::policy::Tenants;
use serde_json::Value;
use tokio::runtime::Runtime;

#[path = "bench/lake/fill.rs"]
#[expect(dead_code, reason = "a lake as it was shelved, without upkeep, is what this begins with")]
mod fill;
#[path = "bench/lake/lots.rs"]
mod lots;
#[path = "support/python.rs"]
mod python;
#[path = "bench/lake/world.rs"]
mod world;

/// The readers, as they were when this was written.
const PACKAGES: [&str; 4] = ["deltalake==1.6.6", "polars==2.1.0", "duckdb==2.0.1", "pyarrow==26.0.1"];

/// By table, what every reader sums up, as `tables.py` does.
const TABLES: [(&str, &str); 3] = [
    ("usage", "sum(cost_usd), sum(input_tokens), sum(output_tokens), sum(requests)"),
    ("calls", "sum(cost_usd), sum(input_tokens), sum(requests)"),
    ("charges", "sum(cost_usd), sum(quantity), sum(requests)"),
];

/// Puts calls of one day into the lake, in ten commits.
fn fill(dir: &Path, seed: u64) {
    fill::fill(&fill::Plan { dir: dir.to_owned(), rows: 4_000, days: 1, round: 400, seed, admissions: true });
}

fn road(dir: &Path) -> Arc<dyn Road> {
    Disk::open(&dir.join("log"), &Options::default()).unwrap()
}

/// What our SQL finds in each table, a line of CSV each.
fn ours(dir: &Path) -> Vec<String> {
    let road = road(dir);
    let here = Here::open(Arc::clone(&road), dir.join("lake").to_str().unwrap()).unwrap();
    let everyone = Caller::of(Tenants::All);
    let told = TABLES.map(|(table, sums)| {
        let sql = format!("SELECT count(*), {sums}, max(call_id) FROM {table}");
        let answer = here.answer(&everyone, &sql, Format::Csv).unwrap();
        String::from_utf8(answer).unwrap().lines().nth(1).unwrap().to_owned()
    });
    here.close().unwrap();
    road.close().unwrap();
    told.to_vec()
}

fn line(told: &Value) -> String {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    told.as_array().unwrap().iter().map(value).collect::<Vec<_>>().join(",")
}

/// Holds all readers against our SQL; gives how many rows of `usage` there are, and how many the files of its folder have.
fn check(dir: &Path, python: &Path, when: &str) -> (u64, u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/reading/tables.py");
    let names = TABLES.map(|(table, _)| table);
    let output = Command::new(python).arg(script).arg(dir.join("lake")).args(names).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for ((table, _), wanted) in TABLES.iter().zip(ours(dir)) {
        for reader in ["delta-rs", "polars", "duckdb"] {
            assert_eq!(line(&told[table][reader]), wanted, "{reader} of {table} {when}");
        }
    }
    let rows = |reader: &str| told["usage"][reader][0].as_u64().unwrap();
    (rows("duckdb"), rows("glob"))
}

/// Joins the small files of every table; gives how many times.
fn joined(lake: &Lake, runtime: &Runtime) -> usize {
    let versions = table::ALL.iter().zip(lake.pin());
    versions.map(|(def, version)| runtime.block_on(compact(lake, def, &version)).unwrap()).sum()
}

fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let log = std::fs::read_dir(dir.join("lake/usage/_delta_log")).unwrap().map(|entry| entry.unwrap().path());
    log.filter(|path| path.to_str().unwrap().ends_with(".checkpoint.parquet")).collect()
}

#[test]
fn every_reader_finds_what_our_sql_finds() {
    let python = python::environment("tables-1", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fill(dir, 1);
    assert_eq!(check(dir, &python, "as it was shelved"), (4_000, 4_000));

    let runtime = Runtime::new().unwrap();
    let lake = runtime.block_on(Lake::open(dir.join("lake").to_str().unwrap(), 1)).unwrap();
    assert!(joined(&lake, &runtime) >= 3);
    // What was removed stays for a day: the folder has rows twice, the log does not.
    assert_eq!(check(dir, &python, "after compaction"), (4_000, 8_000));

    for def in table::ALL {
        runtime.block_on(lake.tidy(def)).unwrap();
    }
    assert_eq!(checkpoints(dir).len(), 1);
    assert_eq!(check(dir, &python, "from a checkpoint"), (4_000, 8_000));

    fill(dir, 2);
    check(dir, &python, "with commits after a checkpoint");
    let lake = runtime.block_on(Lake::open(dir.join("lake").to_str().unwrap(), 1)).unwrap();
    assert!(joined(&lake, &runtime) >= 3);
    assert_eq!(check(dir, &python, "after another compaction").0, 8_000);
}
