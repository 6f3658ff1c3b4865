//! A key in a file: what would stand as `api_key`, without the line end.
//!
//! It is read whole each time, and not only when its dates change: it is short, and files that are exchanged by a link keep neither
//! dates nor numbers that can be relied on.

use std::{fs::File, io::Read as _, path::Path};

use schemas::config::Secret;

use super::{Given, Got};

/// The most bytes of a key or a token: far more than a header may carry.
const MOST: u64 = 64 * 1024;

/// Reads the key.
pub(super) fn read(path: &Path) -> Result<Got, String> {
    let key = secret(path)?;
    Ok(Got { given: Given::Key(key), until: None })
}

/// Reads a secret from a file: one line of printable characters.
pub(super) fn secret(path: &Path) -> Result<Secret, String> {
    let text = text(path)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(format!("the file {} is empty", path.display()));
    }
    if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the file {} holds more than one line of printable characters", path.display()));
    }
    Ok(Secret::new(line))
}

/// The whole of a short file.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    // A system's error names what failed and nothing of what was read.
    read.map(|_| text).map_err(|error| format!("the file {} cannot be read: {error}", path.display()))
}
