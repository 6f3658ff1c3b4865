//! A frame is read back as it was built, and as nothing else.

use bytes::Bytes;
use schemas::{
    id::{Lane, ProducerId, Seq},
    time::Time,
};

use super::{Builder, HEADER, Head, find, records};

fn built(salt: u32) -> (Vec<u8>, ProducerId) {
    let producer = ProducerId::fresh();
    let mut buffer = Vec::new();
    let mut frame = Builder::new(&mut buffer);
    frame.push(Lane(3), Seq(7), 99, b"body");
    frame.push(Lane(4), Seq(1), 98, b"");
    frame.seal(10, 5, Time::from_micros(1), producer, salt);
    (buffer, producer)
}

#[test]
fn records_come_back_with_their_stamps() {
    let (buffer, producer) = built(1);
    let head = Head::parse(&buffer).unwrap();
    assert_eq!((head.count, head.base, head.end(), head.synced, head.producer), (2, 10, 12, 5, producer));
    let mut out = Vec::new();
    assert!(records(&head, &Bytes::copy_from_slice(&buffer[HEADER..]), 0, &mut out));
    let seen: Vec<_> = out.iter().map(|r| (r.lane.0, r.offset.0, r.header.seq.0, r.header.hash, &r.body[..])).collect();
    assert_eq!(seen, [(3, 10, 7, 99, &b"body"[..]), (4, 11, 1, 98, b"")]);
}

#[test]
fn no_changed_bit_and_no_other_salt_passes() {
    let (buffer, _) = built(1);
    let passes = |bytes: &[u8], salt| Head::parse(bytes).is_some_and(|head| head.holds(bytes, salt));
    assert!(passes(&buffer, 1));
    assert!(!passes(&buffer, 2));
    for bit in 0..buffer.len() * 8 {
        let mut changed = buffer.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!passes(&changed, 1), "bit {bit}");
    }
    for len in 0..buffer.len() {
        assert!(!passes(&buffer[..len], 1), "{len} bytes");
    }
}

#[test]
fn a_frame_is_found_behind_other_bytes() {
    let (buffer, _) = built(1);
    let bytes = [b"TGj TGj".as_slice(), &buffer].concat();
    assert_eq!(find(&bytes, 0), Some(7));
    assert_eq!(find(&bytes, 8), None);
}
