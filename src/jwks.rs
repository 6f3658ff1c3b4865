//! The keys of token issuers: fetched at the start, again and again, and at once when a token names one that is not known, as often as
//! the gateway lets tokens call for that. What cannot be had changes nothing; how long the keys stay good then is the issuer's `stale`. When the
//! configuration has other issuers, theirs are fetched from then on.

use std::{fs, sync::Arc, thread, time::Duration};

use gateway::identity::{Identity, Known};
use reqwest::redirect::Policy;
use schemas::{
    config::{Issuer, KeySource},
    time::now,
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::failure::Failure;

/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// How long an answer may take, and how large it may be.
const TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST: usize = 1 << 20;

/// Keeps the keys of these issuers, whichever they are, for as long as the guard lives.
pub(crate) fn follow(identity: &Arc<Identity>) -> Result<DropGuard, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let (stop, identity) = (CancellationToken::new(), Arc::clone(identity));
    let stopped = stop.clone();
    let run = move || runtime.block_on(stopped.run_until_cancelled(keep_all(identity, client)));
    thread::Builder::new().name("jwks".into()).spawn(run)?;
    Ok(stop.drop_guard())
}

/// One task an issuer; those of issuers that are gone end.
async fn keep_all(identity: Arc<Identity>, client: reqwest::Client) {
    let mut issuers = identity.issuers();
    let mut kept: Vec<(Arc<Known>, JoinHandle<()>)> = Vec::new();
    loop {
        let now = Arc::clone(&issuers.borrow_and_update());
        let (stay, go): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|(known, _)| now.iter().any(|other| Arc::ptr_eq(known, other)));
        kept = stay;
        go.iter().for_each(|(_, task)| task.abort());
        for known in now.iter() {
            if !kept.iter().any(|(other, _)| Arc::ptr_eq(known, other)) {
                let task = tokio::spawn(keep(Arc::clone(&identity), client.clone(), Arc::clone(known)));
                kept.push((Arc::clone(known), task));
            }
        }
        // It lives as long as this does.
        if issuers.changed().await.is_err() {
            return;
        }
    }
}

async fn keep(identity: Arc<Identity>, client: reqwest::Client, known: Arc<Known>) {
    let Issuer { name, keys, refresh, .. } = known.issuer();
    loop {
        let looked = Instant::now();
        known.begin_look();
        let found = match keys {
            KeySource::Url(url) => fetch(&client, &url.to_string()).await,
            KeySource::File(path) => fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
        };
        let set = found.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()));
        let count = set.map(|set| identity.publish(&known, &set, now()));
        known.end_look(count.as_ref().is_ok_and(|count| *count > 0));
        let next = match count {
            Ok(0) => {
                tracing::error!(name, "the issuer publishes no key that can be used; those that were known stay so");
                AGAIN
            }
            Ok(_) => *refresh,
            Err(error) => {
                tracing::error!(name, error, "the keys of the issuer cannot be had; those that were known stay so");
                AGAIN.min(*refresh)
            }
        };
        // Either a token calls for it, or it is time.
        let _ = tokio::time::timeout(next.saturating_sub(looked.elapsed()), known.wanted()).await;
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
