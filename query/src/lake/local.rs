//! The local store, made durable: what a put has written survives a power loss once the put has returned.
//!
//! `object_store`'s own local store never fsyncs, so after a power loss a committed file may be empty. Here a file is written
//! beside its place, fsynced, and then linked or renamed into it, and the directories that changed are fsynced, new ones from
//! the root down. Everything else is the inner store's, but reading parts of a file.

use std::{
    fmt,
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    mem,
    ops::Range,
    path::{Path as FsPath, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, local::LocalFileSystem,
    path::Path,
};

/// A local store whose puts are durable.
#[derive(Debug)]
pub(super) struct Durable {
    inner: LocalFileSystem,
}

/// Tells apart the files that this process is writing.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl Durable {
    pub(super) fn new() -> Self {
        Self { inner: LocalFileSystem::new() }
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let place = self.inner.path_to_filesystem(location)?;
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "put with a condition on the old content".into(),
                    implementer: self.to_string(),
                });
            }
        };
        put_aside(place, payload, create).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Parts { place: self.inner.path_to_filesystem(location)?, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    /// Reads where it is asked: parts of files are read by queries, which have threads of their own to wait on, and what the system has
    /// in memory is there before another thread would run.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let place = self.inner.path_to_filesystem(location)?;
        read(&place, ranges).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NotFound { path: place.display().to_string(), source: Box::new(source) },
            _ => Error::Generic { store: "local", source: Box::new(source) },
        })
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

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A file in parts, which are kept until the last has come: only checkpoints of long logs are written so.
#[derive(Debug)]
struct Parts {
    place: PathBuf,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.push(part);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole: PutPayload = mem::take(&mut self.parts).iter().flatten().cloned().collect();
        put_aside(self.place.clone(), whole, false).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

/// Writes on a thread that may block.
async fn put_aside(place: PathBuf, payload: PutPayload, create: bool) -> Result<PutResult> {
    let path = place.display().to_string();
    let written = tokio::task::spawn_blocking(move || put(&place, &payload, create)).await;
    match written.map_err(|source| Error::JoinError { source })? {
        Ok(()) => Ok(PutResult { e_tag: None, version: None }),
        Err(source) if create && source.kind() == ErrorKind::AlreadyExists => {
            Err(Error::AlreadyExists { path, source: Box::new(source) })
        }
        Err(source) => Err(Error::Generic { store: "local", source: Box::new(source) }),
    }
}

fn read(place: &FsPath, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
    let mut file = File::open(place)?;
    let end = file.metadata()?.len();
    let part = |range: &Range<u64>| {
        // What a damaged footer says is not made room for.
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= end);
        let length = length.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        file.seek(SeekFrom::Start(range.start))?;
        (&mut file).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes.into()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    };
    ranges.iter().map(part).collect()
}

/// Writes the payload to `place`, all of it or nothing, durably.
fn put(place: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let directory = place.parent().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    make_directories(directory)?;
    let beside = beside(place);
    let result = write(&beside, payload)
        .and_then(|()| if create { fs::hard_link(&beside, place) } else { fs::rename(&beside, place) });
    if create || result.is_err() {
        // What is left behind has a name that listings skip.
        let _ = fs::remove_file(&beside);
    }
    result?;
    sync(directory)
}

fn write(path: &FsPath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    payload.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

/// A name that `object_store` takes for an upload in progress: `#` and digits at the end.
fn beside(place: &FsPath) -> PathBuf {
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!("#{}{number:06}", std::process::id()));
    place.with_file_name(name)
}

/// Makes a directory and those above it, each durable in the one above.
fn make_directories(directory: &FsPath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
    make_directories(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(above)
}

fn sync(directory: &FsPath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
