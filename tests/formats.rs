//! Answers over HTTP in every format, read by what people read them with: DuckDB and Polars.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{path::Path, process::Command};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/python.rs"]
mod python;

use house::Process;

/// The clients, as they were when this was written.
const PACKAGES: [&str; 2] = ["polars==1.36.1", "duckdb==1.4.2"];

#[test]
fn every_format_is_read_and_long_answers_are_sent_while_they_are_made() {
    let python = python::environment("formats-1", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let mut house = Process::house(dir.path(), "[]");
    house.start();
    assert_eq!(house.chat("tg-acme", 16).unwrap().0, 200);
    house.wait_for("the row", || house.rows("SELECT call_id FROM usage").len() == 1);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/reading/formats.py");
    let output = Command::new(python).arg(script).arg(&house.query).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(house.stop(), 0);
}
