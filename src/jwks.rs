//! The keys of token issuers: fetched at the start, again and again, and at once when a token names one that is not known, but then not
//! more than once a minute. What cannot be had changes nothing; how long the keys stay good then is the issuer's `stale`.

use std::{fs, sync::Arc, thread, time::Duration};

use gateway::identity::Identity;
use reqwest::redirect::Policy;
use schemas::{config::KeySource, time::now};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::failure::Failure;

/// The least time between two looks that tokens call for.
const LEAST: Duration = Duration::from_secs(60);

/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether a token calls for one.
const GLANCE: Duration = Duration::from_millis(200);

/// How long an answer may take, and how large it may be.
const TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST: usize = 1 << 20;

/// Keeps the keys of these issuers for as long as the guard lives.
pub(crate) fn follow(identity: &Arc<Identity>) -> Result<Option<DropGuard>, Failure> {
    let sources: Vec<(String, KeySource, Duration)> =
        identity.issuers().map(|issuer| (issuer.name.clone(), issuer.keys.clone(), issuer.refresh)).collect();
    if sources.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let (stop, identity) = (CancellationToken::new(), Arc::clone(identity));
    let stopped = stop.clone();
    let run = move || {
        runtime.block_on(async move {
            for (issuer, (name, source, refresh)) in sources.into_iter().enumerate() {
                tokio::spawn(keep(Arc::clone(&identity), client.clone(), issuer, name, source, refresh));
            }
            stopped.cancelled().await;
        });
    };
    thread::Builder::new().name("jwks".into()).spawn(run)?;
    Ok(Some(stop.drop_guard()))
}

async fn keep(
    identity: Arc<Identity>,
    client: reqwest::Client,
    issuer: usize,
    name: String,
    source: KeySource,
    refresh: Duration,
) {
    loop {
        let looked = Instant::now();
        let found = match &source {
            KeySource::Url(url) => fetch(&client, &url.to_string()).await,
            KeySource::File(path) => fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
        };
        let set = found.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()));
        let next = match set.map(|set| identity.publish(issuer, &set, now())) {
            Ok(0) => {
                tracing::error!(name, "the issuer publishes no key that can be used; those that were known stay so");
                AGAIN
            }
            Ok(_) => refresh,
            Err(error) => {
                tracing::error!(name, error, "the keys of the issuer cannot be had; those that were known stay so");
                AGAIN.min(refresh)
            }
        };
        while looked.elapsed() < next {
            tokio::time::sleep(GLANCE.min(next)).await;
            if looked.elapsed() >= LEAST && identity.is_wanted(issuer) {
                break;
            }
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let mut answer = client.get(url).send().await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            return Err(format!("{url} answers with more than {LARGEST} bytes"));
        }
    }
    Ok(bytes)
}
