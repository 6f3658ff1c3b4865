//! Where a journal lies, so that a copy of its directory is known as one.
//!
//! A file keeps its time of birth for as long as it is there, wherever its directory is moved to within its file system; whatever copies or
//! restores it makes another. So a file of the directory says what `format` was when the journal was last opened. Where a file system does
//! not tell that time the inode has to do. What copies a whole file system (of a block device, or as a snapshot) is not seen.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use schemas::id::ProducerId;

use crate::{
    error::Error,
    segment::files::{self, io},
};

/// Whether the journal in `dir` is a copy of that in which `last` wrote last. It is one until somebody has written to it.
pub(super) fn is_copy(dir: &Path, last: ProducerId) -> Result<bool, Error> {
    let path = dir.join("place");
    let here = here(&dir.join("format"))?;
    let known = files::read(&path)?.map(|known| String::from_utf8_lossy(&known).into_owned());
    let (place, copy) =
        known.as_deref().map_or((here.as_str(), ""), |known| known.split_once('\n').unwrap_or((known, "")));
    let mark = format!("copy of {last}");
    let is_copy = last != ProducerId::NONE && (!is_same(place, &here) || copy == mark);
    let now = if is_copy { format!("{here}\n{mark}") } else { here };
    if known.as_deref() != Some(now.as_str()) {
        files::write_whole(&path, now.as_bytes())?;
    }
    Ok(is_copy)
}

/// Whether two places are one: by the time of birth, where it is known of both.
fn is_same(known: &str, here: &str) -> bool {
    let (Some((known, born)), Some((inode, here))) = (known.split_once(' '), here.split_once(' ')) else {
        return false;
    };
    if born == "0" || here == "0" { known == inode } else { born == here }
}

/// What a file is called by the file system alone: its inode, and its time of birth or 0.
fn here(path: &Path) -> Result<String, Error> {
    let file = fs::metadata(path).map_err(io("look at", path))?;
    // Not every file system tells when a file was made.
    let born = file.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(format!("{} {}", file.ino(), born.as_nanos()))
}
