//! Questions over Arrow Flight SQL, asked by what people ask with: ADBC, Polars and PyArrow from Python, JDBC from Java.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    io::Read as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/python.rs"]
mod python;

use house::{Process, free_address};

/// The clients, as they were when this was written.
const PACKAGES: [&str; 4] =
    ["adbc-driver-flightsql==1.13.0", "adbc-driver-manager==1.13.0", "pyarrow==26.0.1", "polars==1.36.1"];
const JDBC: &str = "org.apache.arrow:flight-sql-jdbc-driver:18.3.0";

/// A house that answers over it, with a call of each tenant in its tables; `tls` is what its configuration says of that.
fn house(dir: &Path, tls: &str) -> (Process, String) {
    let mut house = Process::house(dir, "[]");
    let address = free_address();
    house.edit("listen: {", &format!("listen: {{ flight: {address},{tls}"));
    house.start();
    for key in ["tg-acme", "tg-acme", "tg-globex"] {
        assert_eq!(house.chat(key, 16).unwrap().0, 200);
    }
    house.wait_for("the rows", || house.rows("SELECT call_id FROM usage").len() == 3);
    (house, address)
}

fn support(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/reading").join(name)
}

/// Runs something that has to succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn adbc_asks_looks_around_and_cancels() {
    let python = python::environment("flight-1", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let (mut house, address) = house(dir.path(), "");
    let mut silent = TcpStream::connect(&address).unwrap();
    run(Command::new(python).arg(support("flight.py")).arg(&address));
    // Who says nothing at all is not waited for.
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(house.stop(), 0);
}

#[test]
fn a_token_may_be_sent_over_tls() {
    let python = python::environment("flight-1", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let named =
        ["-subj", "/CN=flight", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"];
    run(Command::new("openssl").args(made).args(named).current_dir(path));
    let tls = format!("tls: {{ on: [flight], cert: {0}/cert.pem, key: {0}/key.pem }},", path.display());
    let (mut house, address) = house(path, &tls);
    run(Command::new(python).arg(support("flight.py")).arg(&address).arg(path.join("cert.pem")));
    assert_eq!(house.stop(), 0);
}

#[test]
fn jdbc_asks_and_looks_around() {
    let jar = driver();
    let dir = tempfile::tempdir().unwrap();
    let (mut house, address) = house(dir.path(), "");
    // Arrow's memory is beside that of Java.
    let mut java = Command::new("java");
    java.args(["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp"]).arg(jar).arg(support("Flight.java")).arg(&address);
    run(&mut java);
    assert_eq!(house.stop(), 0);
}

/// The driver, fetched once into the cache of Maven.
fn driver() -> PathBuf {
    let dir = python::cache().join("flight-jdbc-1");
    let jar = dir.join("driver.jar");
    if !jar.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        let fetched = dir.join("fetched");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"]);
        maven.args([format!("-Dartifact={JDBC}"), format!("-DoutputDirectory={}", fetched.display())]);
        python::run(&mut maven);
        let found = std::fs::read_dir(&fetched).unwrap().next().unwrap().unwrap().path();
        // At once, so that a half is never taken for the whole.
        std::fs::rename(found, &jar).unwrap();
    }
    jar
}
