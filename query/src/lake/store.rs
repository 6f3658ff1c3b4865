//! Where the lake is: a directory, or a bucket of an S3-compatible store.
//!
//! The store has to refuse to overwrite (`If-None-Match: *`): commits of two writers are told apart by nothing else. It is
//! asked at start, and refused if it does not.

use std::{sync::Arc, time::Duration};

use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    client::SpawnedReqwestConnector,
    path::Path,
};
use schemas::config::LakeUrl;
use tokio::runtime::Handle;
use url::Url;
use uuid::Uuid;

use super::local::Durable;
use crate::error::Error;

/// How often one request to a bucket is tried again, and for how long: whoever asked tries again anyway, and says meanwhile
/// that the lake is away.
const RETRIES: usize = 4;
const RETRIES_END: Duration = Duration::from_secs(15);

/// A store and where in it the lake is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The whole store: a file system from `/`, or a bucket.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The folder of the lake, with a slash at the end.
    pub(crate) url: Url,
}

/// Finds the place that `lake.url` names and proves that it can be used. Credentials, region and endpoint of S3 come from
/// the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on).
pub(super) async fn open(url: &str) -> Result<Place, Error> {
    let place = place(url)?;
    probe(&place).await?;
    Ok(place)
}

/// Finds the place and touches nothing.
pub(super) fn place(url: &str) -> Result<Place, Error> {
    let place = if url.starts_with("s3://") { bucket(url) } else { directory(url) }?;
    if LakeUrl::is_misread(place.path("")?.as_ref()) {
        let why = "it has a percent sign before two hexadecimal digits, which the log of a table takes for one letter";
        return Err(Error::Url { url: url.to_owned(), why: why.to_owned() });
    }
    Ok(place)
}

pub(super) fn directory(url: &str) -> Result<Place, Error> {
    let refuse = |why: String| Error::Url { url: url.to_owned(), why };
    if url.contains("://") && !url.starts_with("file://") {
        return Err(refuse("the scheme is not known".into()));
    }
    let path =
        std::path::absolute(url.strip_prefix("file://").unwrap_or(url)).map_err(|error| refuse(error.to_string()))?;
    let url = Url::from_directory_path(&path).map_err(|()| refuse("it is not a directory's path".into()))?;
    Ok(Place { store: Arc::new(Durable::new()), url })
}

fn bucket(url: &str) -> Result<Place, Error> {
    let refuse = |why: String| Error::Url { url: url.to_owned(), why };
    let mut folder = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", folder.path()));
    }
    let store = at_home(AmazonS3Builder::from_env())
        .with_url(folder.as_str())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { max_retries: RETRIES, retry_timeout: RETRIES_END, ..RetryConfig::default() })
        .build()
        .map_err(|error| refuse(error.to_string()))?;
    Ok(Place { store: Arc::new(store), url: folder })
}

/// Has a client of a bucket do its work on the runtime that opens it. A query has a runtime of its own, which ends with it, and a
/// connection ends with the runtime that it was made on, whoever reads from it by then.
pub(super) fn at_home(client: AmazonS3Builder) -> AmazonS3Builder {
    match Handle::try_current() {
        Ok(home) => client.with_http_connector(SpawnedReqwestConnector::new(home)),
        Err(_) => client,
    }
}

impl Place {
    /// The path of a file or folder of the lake in the store.
    pub(crate) fn path(&self, below: &str) -> Result<Path, Error> {
        let url =
            self.url.join(below).map_err(|error| Error::Url { url: self.url.to_string(), why: error.to_string() })?;
        Path::from_url_path(url.path()).map_err(|error| Error::Url { url: url.to_string(), why: error.to_string() })
    }
}

/// Puts a file twice: the second time has to fail.
pub(super) async fn probe(place: &Place) -> Result<(), Error> {
    let path = place.path(&format!("_probe/{}", Uuid::new_v4()))?;
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    place.store.put_opts(&path, "first".into(), create()).await?;
    let second = place.store.put_opts(&path, "second".into(), create()).await;
    place.store.delete(&path).await?;
    match second {
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(()),
        Err(StoreError::NotImplemented { .. }) | Ok(_) => Err(Error::NoConditionalPut),
        Err(other) => Err(other.into()),
    }
}
