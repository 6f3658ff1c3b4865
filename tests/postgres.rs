//! Questions over the protocol of Postgres, asked by what people ask with: psql, psycopg, asyncpg, pg8000, SQLAlchemy, and what BI tools send when they connect.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    path::Path,
    process::{Command, Output},
};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[path = "support/python.rs"]
mod python;

use house::{Process, free_address};

/// The clients, as they were when this was written.
const PACKAGES: [&str; 4] =
    ["psycopg[binary]==3.2.13", "sqlalchemy[asyncio]==2.0.58", "asyncpg==0.32.0", "pg8000==1.31.6"];

/// A house that answers over it, with a call of each tenant in its tables.
fn house(dir: &Path) -> (Process, String) {
    let mut house = Process::house(dir, "[]");
    let address = free_address();
    house.edit("listen: {", &format!("listen: {{ postgres: {address},"));
    house.start();
    for key in ["tg-acme", "tg-acme", "tg-globex"] {
        assert_eq!(house.chat(key, 16).unwrap().0, 200);
    }
    house.wait_for("the rows", || house.rows("SELECT call_id FROM usage").len() == 3);
    (house, address)
}

fn psql(address: &str, token: &str, args: &[&str]) -> Output {
    let (host, port) = address.split_once(':').unwrap();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-A", "-t", "-h", host, "-p", port, "-U", "finops", "-d", "tollgate"]).args(args);
    // psql is of the package postgresql-client.
    psql.env("PGPASSWORD", token).env("PGCONNECT_TIMEOUT", "20").output().unwrap()
}

/// What psql prints of statements that must succeed.
fn said(address: &str, token: &str, args: &[&str]) -> String {
    let output = psql(address, token, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn psql_asks_and_looks_around() {
    let dir = tempfile::tempdir().unwrap();
    let (mut house, address) = house(dir.path());
    let all = |sql: &str| said(&address, "tgq-all", &["-c", sql]);
    assert_eq!(all("SELECT tenant, count(*) FROM usage GROUP BY tenant ORDER BY tenant"), "acme|2\nglobex|1");
    assert_eq!(all("SELECT tenant, sum(output_tokens) FROM usage WHERE tenant = 'acme' GROUP BY 1"), "acme|32");
    // Money is exact, and the same as over HTTP.
    let usd = house.rows("SELECT sum(cost_usd) AS usd FROM charges");
    assert_eq!(all("SELECT sum(cost_usd) FROM charges"), usd[0]["usd"].as_str().unwrap());
    assert_eq!(all("SELECT 1.5 * 2, NULL, true, 'x', TIMESTAMP '2026-11-29 01:02:03'"), "3.0||t|x|2026-11-29 01:02:03");

    // A token sees its tenants, by name and in catalogs.
    let acme = |sql: &str| said(&address, "tgq-acme", &["-c", sql]);
    assert_eq!(acme("SELECT DISTINCT tenant FROM usage"), "acme");
    let tables = said(&address, "tgq-acme", &["-c", "\\dt"]);
    for table in ["public|usage|table", "public|balances|table", "public|charges|table"] {
        assert!(tables.contains(table), "{tables}");
    }
    assert!(!tables.contains("pg_class") && !tables.contains("daily_spend"), "{tables}");
    let views = said(&address, "tgq-acme", &["-c", "\\dv"]);
    assert!(views.contains("public|daily_spend|view") && views.contains("public|focus|view"), "{views}");
    let columns = said(&address, "tgq-acme", &["-c", "\\d usage"]);
    for column in ["cost_usd|numeric(18,12)", "time|timestamp with time zone", "input_tokens|bigint", "tenant|text"] {
        assert!(columns.contains(column), "{columns}");
    }
    assert!(!columns.contains("log_offset"), "{columns}");
    assert!(said(&address, "tgq-acme", &["-c", "\\dn"]).contains("public"));
    for list in ["\\l", "\\l+"] {
        assert!(said(&address, "tgq-acme", &["-c", list]).contains("tollgate|"), "{list}");
    }

    // Errors have their states, and the session goes on.
    let output = psql(&address, "tgq-all", &["-v", "VERBOSITY=verbose", "-c", "SELECT 1/0", "-c", "SELECT 7"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(err.contains("22012") && out.trim() == "7", "{out} {err}");
    let wrong = psql(&address, "wrong", &["-c", "SELECT 1"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no token"), "{wrong:?}");

    // A cursor's worth at a time, and an answer that is far larger than what is kept.
    let prices: usize = all("SELECT count(*) FROM prices").parse().unwrap();
    let many = "SELECT p.price_id, q.price_id FROM prices p, (SELECT price_id FROM prices LIMIT 40) q";
    assert_eq!(all(many).lines().count(), prices * 40);
    assert_eq!(house.stop(), 0);
}

#[test]
fn drivers_and_tools_connect_ask_and_cancel() {
    let python = python::environment("postgres-2", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let (mut house, address) = house(dir.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/reading/postgres.py");
    let output = Command::new(python).arg(script).arg(&address).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(house.stop(), 0);
}

/// Ends a session that is not there, over TLS: the answer is the end of the connection, said as TLS says it.
const FAREWELL: &str = "\
import socket, ssl, struct, sys
host, port = sys.argv[1].split(':')
plain = socket.create_connection((host, int(port)), timeout=20)
plain.sendall(struct.pack('>II', 8, 80877103))
assert plain.recv(1) == b'S'
context = ssl.create_default_context(cafile=sys.argv[2])
tls = context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
tls.sendall(struct.pack('>IIII', 16, 80877102, 1, 1))
assert tls.recv(1) == b''
";

#[test]
fn a_cancel_over_tls_is_ended_with_a_farewell() {
    let python = python::environment("postgres-2", &PACKAGES).join("bin/python");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let named = ["-subj", "/CN=postgres", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem"];
    let certified =
        Command::new("openssl").args(made).args(named).args(["-out", "cert.pem"]).current_dir(path).output();
    assert!(certified.unwrap().status.success());
    let mut house = Process::house(path, "[]");
    let address = free_address();
    let tls = format!("tls: {{ on: [postgres], cert: {0}/cert.pem, key: {0}/key.pem }},", path.display());
    house.edit("listen: {", &format!("listen: {{ postgres: {address},{tls}"));
    house.start();
    let ended = Command::new(python).args(["-c", FAREWELL, &address]).arg(path.join("cert.pem")).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(house.stop(), 0);
}
