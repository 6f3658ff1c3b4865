//! Messages of the Postgres protocol: whatever bytes come, a message is read to its end or refused, and never more of it is kept than came.

use bytes::Bytes;
use query::postgres_message::{Said, opening, said};

/// Reads what a connection begins with, and a message of the kind that the first byte names.
pub fn check(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    // What it gives is shown in no answer; that it gives something, or refuses, is all.
    drop(opening(body.clone()));
    let Some((kind, rest)) = input.split_first() else { return };
    match said(*kind, body.slice(1..)) {
        Ok(Said::Bind { formats, values, results, .. }) => {
            let kept: usize = values.iter().flatten().map(Bytes::len).sum();
            assert!(kept + 4 * values.len() + 2 * (formats.len() + results.len()) <= rest.len());
        }
        Ok(Said::Query(sql)) => assert_eq!(sql.len() + 1, rest.len()),
        _ => {}
    }
}
