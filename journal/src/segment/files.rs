//! The file system, as the segments need it: preallocation, directories on the platter, small files written whole, the lock.
//!
//! Every call says what it was doing and to what when the system refuses. Only [`lock`] waits for nothing and holds something.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::{fs::FallocateFlags, io::Errno};
use schemas::id::ProducerId;

use crate::error::Error;

/// Turns the system's refusal into ours.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path, why: source.to_string() },
        _ => Error::Io { doing, path, source },
    }
}

/// Puts the names in a directory on the platter.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("fsync", dir))
}

/// Makes a directory, and those above it, that are there after a power loss.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io("create", dir)(error)),
        _ => sync_dir(parent),
    }
}

/// Makes sure that the first `bytes` of a file have room. Where the file system cannot promise it, nothing is promised.
pub(crate) fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Writes a small file so that it is there whole, or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft).map_err(io("create", &draft))?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(io("write", &draft))?;
    fs::rename(&draft, path).map_err(io("rename", &draft))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Reads a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A directory that no other process opens, nor this one again, until it is dropped. The system frees it when the process dies, however
/// it dies.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file does not free it while a child that is being started still has a copy of it.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock file could not be unlocked");
        }
    }
}

/// Takes `dir/lock`.
pub(crate) fn lock(dir: &Path) -> Result<Lock, Error> {
    create_dir(dir)?;
    let path = dir.join("lock");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {
            let me = format!("process {}\n", std::process::id());
            // Only for the message that the next one gets, and no reason not to open on a full disk.
            if let Err(error) = file.set_len(0).and_then(|()| file.write_all(me.as_bytes())) {
                tracing::warn!(%error, "the lock file does not say whose it is");
            }
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "another process".to_owned() };
            Err(Error::Locked { path, holder })
        }
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// The salt of the log in `dir`: random, made with the directory, a part of every checksum in it.
pub(crate) fn salt(dir: &Path) -> Result<u32, Error> {
    let path = dir.join("format");
    if let Some(text) = read(&path)? {
        return parse_format(&text).ok_or_else(|| Error::Corrupt {
            path: path.clone(),
            position: 0,
            why: "it is not the format file of a log that this version knows".to_owned(),
        });
    }
    if let Some(stray) = segments(dir)?.first() {
        let why = format!("it is missing although {} is there", stray.1.display());
        return Err(Error::Corrupt { path, position: 0, why });
    }
    let id = ProducerId::fresh();
    let salt = id.as_bytes().first_chunk::<4>().map_or(0, |random| u32::from_le_bytes(*random));
    write_whole(&path, format!("tollgate log 1\nsalt {salt:08x}\n").as_bytes())?;
    Ok(salt)
}

fn parse_format(text: &[u8]) -> Option<u32> {
    let salt = std::str::from_utf8(text).ok()?.strip_prefix("tollgate log 1\nsalt ")?.strip_suffix('\n')?;
    if salt.len() == 8 { u32::from_str_radix(salt, 16).ok() } else { None }
}

/// The segments in a directory: their bases and paths, ascending.
pub(crate) fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let path = entry.map_err(io("list", dir))?.path();
        if let Some(base) = base_of(&path, "log") {
            found.push((base, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes what a crash left half made: drafts of small files, sidecars of segments that are gone, the segment in advance.
pub(crate) fn sweep(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let path = entry.map_err(io("list", dir))?.path();
        let orphan = base_of(&path, "idx").is_some_and(|base| !segment(dir, base).exists());
        let draft = path.extension().is_some_and(|extension| extension == "tmp");
        if orphan || draft || path.file_name().is_some_and(|name| name == "next") {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The offset that a file of a log is named after.
fn base_of(path: &Path, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// The file of the segment that starts at `base`.
pub(crate) fn segment(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// Its sidecar.
pub(crate) fn sidecar(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.idx"))
}
