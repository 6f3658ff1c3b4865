//! `tollgate demo`: drives the tenants of the default configuration for some seconds and shows what the meter says of it.
//!
//! It is a client like any other: it calls the gateway with the development keys that the configuration holds in clear, and asks
//! the query service with its token. What it prints as spent comes from the query service and not from its own counting.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use schemas::{
    config::{ClearKey, Secret},
    time::{self, Time},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    load::{Loaded, load},
    rows,
};

/// Calls that each tenant has open at a time.
const AT_A_TIME: usize = 4;

/// What a caller waits between two calls.
const PAUSE: Duration = Duration::from_millis(50);

/// The sizes of answer that are asked for in turn, in tokens.
const SIZES: [u32; 3] = [64, 200, 400];

/// How long the query service may take to have every call in its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Drive four tenants against a running Tollgate for some seconds; print what each spent, what was refused and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file of the running Tollgate: its addresses, keys and tokens.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
    /// For how many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(demo(&loaded, Duration::from_secs(args.seconds))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What came of one tenant's calls, as the client saw it.
#[derive(Default)]
struct Seen {
    answered: u64,
    refused: BTreeMap<String, u64>,
}

async fn demo(loaded: &Loaded, span: Duration) -> Result<(), String> {
    let (keys, token) = (first_keys(&loaded.clear.keys), loaded.clear.token.as_ref());
    let (false, Some(token)) = (keys.is_empty(), token) else {
        return Err(
            "the demo needs a configuration with development keys (`key:`) and a token (`token:`) in clear".into()
        );
    };
    let client =
        reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(|error| error.to_string())?;
    let (calls, questions) = (loaded.config.listen.gateway.to_string(), loaded.config.listen.query.to_string());
    let started = time::now();
    println!("driving {} tenants for {} seconds …", keys.len(), span.as_secs());
    let seen = drive(&client, &calls, &keys, Instant::now() + span).await?;
    println!("\nwhat the clients saw");
    for (tenant, seen) in &seen {
        let why: Vec<String> = seen.refused.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        let why = if why.is_empty() { "nothing refused".to_owned() } else { format!("refused: {}", why.join("; ")) };
        println!("  {tenant:<8} {:>5} answered   {why}", seen.answered);
    }
    let answered = seen.values().map(|seen| seen.answered).sum();
    await_answers(&client, &questions, token, (started, time::now()), answered).await?;
    for (title, sql) in questions_of(started) {
        println!("\n{title}");
        print!("{}", rows::table(&ask(&client, &questions, token, &sql).await?, "  "));
    }
    Ok(())
}

/// One key for each tenant.
fn first_keys(keys: &[ClearKey]) -> Vec<ClearKey> {
    let mut first: Vec<ClearKey> = Vec::new();
    for key in keys {
        if first.iter().all(|known| known.tenant != key.tenant) {
            first.push(key.clone());
        }
    }
    first
}

async fn drive(
    client: &reqwest::Client,
    address: &str,
    keys: &[ClearKey],
    until: Instant,
) -> Result<BTreeMap<String, Seen>, String> {
    let mut callers = JoinSet::new();
    for (key, number) in keys.iter().flat_map(|key| (0..AT_A_TIME).map(move |number| (key, number))) {
        let (client, key, address) = (client.clone(), key.clone(), address.to_owned());
        callers.spawn(async move {
            let mut seen = Seen::default();
            for size in SIZES.iter().cycle().skip(number) {
                if Instant::now() >= until {
                    break;
                }
                call(&client, &address, &key.key, *size, &mut seen).await?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, String>((key.tenant, seen))
        });
    }
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    while let Some(done) = callers.join_next().await {
        let (tenant, seen) = done.map_err(|error| error.to_string())??;
        let sum = all.entry(tenant).or_default();
        sum.answered += seen.answered;
        for (why, count) in seen.refused {
            *sum.refused.entry(why).or_default() += count;
        }
    }
    Ok(all)
}

async fn call(client: &reqwest::Client, address: &str, key: &Secret, size: u32, seen: &mut Seen) -> Result<(), String> {
    let body = json!({
        "model": format!("sandbox/{size}"),
        "messages": [{ "role": "user", "content": "What does a toll road cost?" }],
    });
    let sent = client
        .post(format!("http://{address}/v1/chat/completions"))
        .bearer_auth(key.expose())
        .json(&body)
        .send()
        .await
        .map_err(|error| format!("no answer from http://{address}: is `tollgate up` running? ({error})"))?;
    let status = sent.status();
    let answer: Value = sent.json().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        seen.answered += 1;
    } else {
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        *seen.refused.entry(format!("{} ({})", text("/error/code"), status.as_u16())).or_default() += 1;
    }
    Ok(())
}

/// What is asked about the calls since `started`.
fn questions_of(started: Time) -> [(&'static str, String); 3] {
    [
        (
            "what it cost (SQL over the lake and its tail)",
            format!(
                "SELECT tenant, model, count(*) AS calls, sum(input_tokens) AS input, sum(output_tokens) AS output, \
                 sum(cost_usd) AS usd FROM usage WHERE time >= TIMESTAMP '{started}' GROUP BY tenant, model ORDER BY tenant, model"
            ),
        ),
        (
            "what was refused, or would have been (observed), and why",
            format!(
                "SELECT tenant, limit_name, code, observed, sum(count) AS calls FROM refusals WHERE time >= TIMESTAMP '{started}' \
                 GROUP BY tenant, limit_name, code, observed ORDER BY tenant, limit_name"
            ),
        ),
        (
            "the limits now",
            "SELECT limit_name, instance, unit, amount, settled, held FROM balances \
             WHERE window_end IS NULL OR window_end > now() ORDER BY limit_name, instance"
                .to_owned(),
        ),
    ]
}

/// Waits until every answered call is in the answers, and they are complete up to the end: refusals are told once a second.
async fn await_answers(
    client: &reqwest::Client,
    address: &str,
    token: &Secret,
    (started, ended): (Time, Time),
    answered: u64,
) -> Result<(), String> {
    let sql =
        format!("SELECT count(*) AS calls FROM usage WHERE time >= TIMESTAMP '{started}' AND outcome = 'complete'");
    let since = Instant::now();
    loop {
        let answer = ask(client, address, token, &sql).await?;
        let rows = answer.pointer("/rows/0/calls").and_then(Value::as_u64).unwrap_or(0);
        let through = answer.pointer("/as_of/complete_through").and_then(Value::as_str).unwrap_or("never");
        if rows >= answered && *through >= *ended.to_string() {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(format!(
                "{answered} calls were answered until {ended}, but after {PATIENCE:?} the query service shows {rows} and is \
                 complete through {through}"
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(client: &reqwest::Client, address: &str, token: &Secret, sql: &str) -> Result<Value, String> {
    let sent = client
        .post(format!("http://{address}/v1/sql"))
        .bearer_auth(token.expose())
        .json(&json!({ "sql": sql }))
        .send()
        .await
        .map_err(|error| format!("no answer from http://{address}: {error}"))?;
    let status = sent.status();
    let answer: Value = sent.json().await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(answer) } else { Err(format!("the query service answered {status}: {answer}")) }
}
