//! For tests: a real S3 server on loopback, and a store that fails when told to.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, aws::AmazonS3Builder, path::Path,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use super::store::{Place, at_home, directory};

/// Where a test's lake is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Local,
    S3,
}

/// A lake's place that goes away with the test.
pub(crate) struct Home {
    pub(crate) place: Place,
    pub(crate) faults: Arc<Faults>,
    _directory: TempDir,
}

impl Home {
    /// A place of a kind, with nothing in it.
    pub(crate) async fn new(kind: Kind) -> Self {
        let temporary = TempDir::new().expect("a directory");
        let place = match kind {
            Kind::Local => directory(temporary.path().join("a lake").to_str().expect("text")).expect("a place"),
            Kind::S3 => bucket().await,
        };
        let faults = Arc::new(Faults::default());
        let store = Arc::new(Faulty { inner: place.store, faults: faults.clone() });
        Self { place: Place { store, url: place.url }, faults, _directory: temporary }
    }
}

/// A bucket of its own on the server that all tests of this process share.
async fn bucket() -> Place {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    static BUCKETS: AtomicUsize = AtomicUsize::new(0);
    let server =
        SERVER.get_or_init(|| async { tokio::task::spawn_blocking(Server::start).await.expect("started") }).await;
    let name = format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::SeqCst));
    std::fs::create_dir(server.directory.join(&name)).expect("a bucket");
    let store = at_home(AmazonS3Builder::new())
        .with_endpoint(&server.endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_bucket_name(&name)
        .build()
        .expect("a client");
    Place { store: Arc::new(store), url: Url::parse(&format!("s3://{name}/the/lake/")).expect("a url") }
}

/// A real S3 server: the program in `query/s3`, built when first needed. It ends when its input does, so with this process,
/// and removes its directory.
struct Server {
    endpoint: String,
    directory: PathBuf,
    _process: Child,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().expect("a directory").keep();
        let package = concat!(env!("CARGO_MANIFEST_DIR"), "/s3/Cargo.toml");
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/s3");
        let mut server = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--locked", "--manifest-path", package, "--target-dir", built, "--"])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo runs");
        let mut endpoint = String::new();
        BufReader::new(server.stdout.take().expect("its output")).read_line(&mut endpoint).expect("its endpoint");
        assert!(endpoint.starts_with("http://"), "the S3 server did not start: {endpoint:?}");
        Self { endpoint: endpoint.trim().into(), directory, _process: server }
    }
}

/// What goes wrong, counted down: a number of puts to paths that contain a text.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Commits that fail and do not land.
    pub(crate) commits_refused: AtomicUsize,
    /// Commits that land and report failure.
    pub(crate) commits_unconfirmed: AtomicUsize,
    /// Everything fails while this is not zero.
    pub(crate) away: AtomicUsize,
}

impl Faults {
    fn take(counter: &AtomicUsize) -> bool {
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn check_away(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) > 0 { Err(broken("the store is away")) } else { Ok(()) }
    }
}

fn broken(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.faults.check_away()?;
        let commit = opts.mode == PutMode::Create && location.as_ref().contains("_delta_log");
        if commit && Faults::take(&self.faults.commits_refused) {
            return Err(broken("the commit was refused"));
        }
        let put = self.inner.put_opts(location, payload, opts).await?;
        if commit && Faults::take(&self.faults.commits_unconfirmed) {
            return Err(broken("the answer was lost"));
        }
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.check_away()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
