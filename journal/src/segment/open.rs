//! Opening the segments of a directory: what is there, what of it counts, and the cut of the rest.
//!
//! First everything is looked at, and damage refuses the whole log; only then is anything changed. What a crash left torn is
//! cut, and the cut place is zeroed, so that stale bytes can never line up behind a later frame. Segments with a sidecar are
//! not read: usually that is all but the last, after a clean close it is all.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    segment::{
        facts::Facts,
        files::{self, io},
        scan,
    },
};

/// What others know about where a log ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// Records before this offset had been durable: an end before it is damage.
    pub(crate) floor: u64,
    /// Records from this offset on never counted: they are cut.
    pub(crate) ceiling: Option<u64>,
}

/// A log as found, and cut to what counts.
pub(crate) struct Found {
    /// The segments before the last, complete and on the platter.
    pub(crate) sealed: Vec<Facts>,
    /// The last, which is written on; `None` in a new directory.
    pub(crate) active: Option<Facts>,
}

/// What is to become of one file.
struct Look {
    facts: Facts,
    path: PathBuf,
    /// It was scanned, so its bytes may not be on the platter.
    scanned: bool,
}

/// Looks at `dir`, refuses damage, and cuts what does not count.
pub(crate) fn open(dir: &Path, salt: u32, bounds: Bounds) -> Result<Found, Error> {
    let listed = files::segments(dir)?;
    let mut looks = look(dir, salt, bounds, &listed)?;
    let end = looks.last().map_or(0, |look| look.facts.end);
    if end < bounds.floor {
        let (path, position) = looks.last().map_or((dir.to_owned(), 0), |look| (look.path.clone(), look.facts.bytes));
        let why = format!("the records end at offset {end}, but those before {} had been committed", bounds.floor);
        return Err(Error::Corrupt { path, position, why });
    }
    for (_, path) in listed.iter().skip(looks.len()).rev() {
        tracing::warn!(file = %path.display(), "a segment that a crash left behind is cut");
        files::remove(path)?;
    }
    let active = looks.pop();
    if let Some(last) = &active {
        cut(dir, last)?;
    }
    for look in looks.iter().filter(|look| look.scanned) {
        File::open(&look.path).and_then(|file| file.sync_data()).map_err(io("fsync", &look.path))?;
        if let Err(error) = files::write_whole(&files::sidecar(dir, look.facts.base), &look.facts.encode(salt)) {
            tracing::warn!(%error, "a segment stays without its sidecar");
        }
    }
    Ok(Found { sealed: looks.into_iter().map(|look| look.facts).collect(), active: active.map(|look| look.facts) })
}

/// The segments that count, in order.
fn look(dir: &Path, salt: u32, bounds: Bounds, listed: &[(u64, PathBuf)]) -> Result<Vec<Look>, Error> {
    let mut looks: Vec<Look> = Vec::new();
    for (index, (base, path)) in listed.iter().enumerate() {
        let next = listed.get(index + 1).map(|(base, _)| *base);
        let look = one(dir, salt, bounds, *base, path, next)?;
        let reached = bounds.ceiling.is_some_and(|ceiling| look.facts.end >= ceiling);
        let complete = look.facts.bytes > 0 && next == Some(look.facts.end);
        if complete && !reached {
            looks.push(look);
            continue;
        }
        if !look.scanned && next.is_some() && !reached {
            let why = format!("the segment after offset {} is missing", look.facts.end);
            return Err(Error::Corrupt { path: path.clone(), position: look.facts.bytes, why });
        }
        refuse_damage(salt, &look, reached, listed.get(index + 1..).unwrap_or_default())?;
        if look.facts.bytes > 0 {
            looks.push(look);
        } else if looks.is_empty() && *base > 0 {
            let why = "the frame that opens the segment is damaged".to_owned();
            return Err(Error::Corrupt { path: path.clone(), position: 0, why });
        }
        break;
    }
    Ok(looks)
}

fn one(dir: &Path, salt: u32, bounds: Bounds, base: u64, path: &Path, next: Option<u64>) -> Result<Look, Error> {
    let sidecar = files::read(&files::sidecar(dir, base))?.and_then(|bytes| Facts::decode(&bytes, salt));
    let within = |facts: &Facts| bounds.ceiling.is_none_or(|ceiling| facts.end <= ceiling);
    let size = fs::metadata(path).map_err(io("look at", path))?.len();
    let trusted = sidecar.filter(|facts| facts.base == base && facts.bytes <= size && within(facts));
    if let Some(facts) = trusted.filter(|facts| facts.bytes > 0 && next.is_none_or(|next| next >= facts.end)) {
        return Ok(Look { facts, path: path.to_owned(), scanned: false });
    }
    let facts =
        File::open(path).and_then(|file| scan::scan(&file, base, salt, bounds.ceiling)).map_err(io("read", path))?;
    Ok(Look { facts, path: path.to_owned(), scanned: true })
}

/// The first bad frame of `look`, or its first that never counted, is the end of the log, unless something later says that
/// more had been durable. Of what never counts there is at most one transaction, which nothing was written after.
fn refuse_damage(salt: u32, look: &Look, reached: bool, later: &[(u64, PathBuf)]) -> Result<(), Error> {
    let own = look.scanned.then_some((&look.path, look.facts.bytes)).into_iter();
    for (path, from) in own.chain(later.iter().map(|(_, path)| (path, 0))) {
        let durable = File::open(path)
            .and_then(|file| scan::was_durable(&file, from, look.facts.end, salt))
            .map_err(io("read", path))?;
        if durable {
            let end = look.facts.end;
            let why = if reached {
                format!(
                    "there is more than one transaction after offset {end}: the store beside it is of an earlier day"
                )
            } else {
                format!("the batch at offset {end} is not what was written, and later ones are whole")
            };
            return Err(Error::Corrupt { path: look.path.clone(), position: look.facts.bytes, why });
        }
    }
    Ok(())
}

/// Makes the last segment writable: its clean marker goes, and so does everything after its last good frame.
fn cut(dir: &Path, last: &Look) -> Result<(), Error> {
    let sidecar = files::sidecar(dir, last.facts.base);
    files::remove(&sidecar)?;
    files::sync_dir(dir)?;
    if last.scanned {
        let file = File::options().read(true).write(true).open(&last.path).map_err(io("open", &last.path))?;
        let torn = scan::written(&file, last.facts.bytes).map_err(io("read", &last.path))?;
        if torn > 0 {
            let (file, position, end) = (last.path.display(), last.facts.bytes, last.facts.end);
            tracing::warn!(%file, position, torn, end, "what a crash left torn is cut: bytes after the last whole batch");
        }
        file.set_len(last.facts.bytes).and_then(|()| file.sync_all()).map_err(io("cut", &last.path))?;
    }
    Ok(())
}
