//! A look at a log that another process may be writing: it takes no lock, changes nothing, and sees what is whole.
//!
//! It may see a record that was being appended just then, which a crash would cut again; whoever needs more opens the log.

use std::path::Path;

use bytes::Bytes;

use crate::{
    Record,
    error::Error,
    segment::{
        files,
        frame::{self, Head},
    },
};

/// The records of the log in `dir`, up to the first that is not whole; none if there is no log.
pub(crate) fn glance(dir: &Path) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    if files::read(&dir.join("format"))?.is_none() {
        return Ok(records);
    }
    let salt = files::salt(dir)?;
    for (_, path) in files::segments(dir)? {
        let Some(bytes) = files::read(&path)?.map(Bytes::from) else { break };
        let mut position = 0;
        while let Some(head) = bytes.get(position..).and_then(Head::parse) {
            let end = position + head.whole();
            if !bytes.get(position..end).is_some_and(|whole| head.holds(whole, salt)) {
                break;
            }
            // A segment begins with a frame that says who wrote before, and holds no record.
            if head.count > 0 && !frame::records(&head, &bytes.slice(position + frame::HEADER..end), 0, &mut records) {
                break;
            }
            position = end;
        }
    }
    Ok(records)
}
