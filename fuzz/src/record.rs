//! What stands beside a record on Kafka, which anybody may write there: it names a producer, or nobody.
//!
//! An input is headers: the length of a name, the name, the length of the value, or 255 for none, and the value.

use journal::fuzz::named;
use schemas::id::{ProducerId, Seq};

type Headers<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// Reads the input as headers of a record.
pub fn check(input: &[u8]) {
    let headers = read(input);
    let header = named(headers.iter().copied());
    // Other names change nothing, wherever they stand.
    let own = |(name, _): &&(&str, Option<&[u8]>)| ["producer", "seq", "hash"].contains(name);
    assert_eq!(named(headers.iter().filter(own).copied()), header);
    let last = |wanted: &str| headers.iter().rev().find(|(name, _)| *name == wanted).and_then(|(_, value)| *value);
    let Some(header) = header else { return };
    // The last of each name is the one that counts, and each has its length.
    assert_eq!(last("producer"), Some(header.producer.as_bytes().as_slice()));
    assert_eq!(last("seq"), Some(header.seq.0.to_be_bytes().as_slice()));
    assert_eq!(last("hash"), Some(header.hash.to_be_bytes().as_slice()));
    assert_eq!(header.producer, ProducerId::from_bytes(*header.producer.as_bytes()));
    assert_eq!(header.seq, Seq(header.seq.0));
}

fn read(mut input: &[u8]) -> Headers<'_> {
    let mut headers = Vec::new();
    while let Some((name, rest)) = piece(input) {
        let value = if rest.first() == Some(&255) {
            Some((None, &rest[1..]))
        } else {
            piece(rest).map(|(value, rest)| (Some(value), rest))
        };
        let Some((value, rest)) = value else { break };
        headers.extend(str::from_utf8(name).ok().map(|name| (name, value)));
        input = rest;
    }
    headers
}

fn piece(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(*length))
}
