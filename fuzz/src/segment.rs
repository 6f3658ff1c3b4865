//! Segments of a journal: what was written is read, and of damaged bytes nothing but a beginning of it.
//!
//! The first five bytes of an input are the salt of the log and the number of frames, the rest is what records are made of. A bit
//! that turned, a cut and bytes of another log end the log where they stand; no record is read that was not written.

use journal::fuzz::{Entry, contradictory, is_sidecar, read, sidecar, written};

use super::dice::Dice;

/// How many damages of each kind are tried.
const DAMAGES: usize = 12;

/// Writes a segment, reads it, and reads it damaged.
pub fn check(input: &[u8]) {
    let Some((salt, [count, rest @ ..])) = input.split_first_chunk() else { return };
    let (salt, mut dice) = (u32::from_le_bytes(*salt), Dice::of(input));
    let bodies = dice.pieces(rest, 300);
    let entry =
        |(at, body): (usize, &&[u8])| Entry { lane: at as u16 % 5, seq: 1 + at as u64 / 5, body: body.to_vec() };
    let entries: Vec<Entry> = bodies.iter().enumerate().map(entry).collect();
    let frames: Vec<&[Entry]> = entries.chunks(usize::from(*count % 8) + 1).collect();
    let segment = written(&frames, salt);
    assert_eq!(read(&segment, salt), entries);
    assert!(read(&segment, salt ^ (1 << dice.below(32))).is_empty(), "of another log");
    for _ in 0..DAMAGES {
        let bit = dice.below(segment.len() * 8);
        begins(&entries, &read(&damaged(&segment, bit), salt), &format!("bit {bit} turned"));
        let end = dice.below(segment.len());
        begins(&entries, &read(&segment[..end], salt), &format!("cut at {end}"));
        let torn = [&segment[..end], &input[..input.len() - dice.below(input.len())]].concat();
        begins(&entries, &read(&torn, salt), &format!("torn at {end}"));
    }
    let beside = sidecar(&segment, salt);
    for _ in 0..DAMAGES {
        let bit = dice.below(beside.len() * 8);
        assert!(!is_sidecar(&damaged(&beside, bit), salt), "bit {bit} of the sidecar turned");
    }
    assert!(is_sidecar(&beside, salt));
    // A payload whose checksum is right and whose inside contradicts itself: made by us, wrongly, or by nobody.
    let records = contradictory(rest, u32::from(*count));
    assert!(records.iter().map(|entry| entry.body.len()).sum::<usize>() <= rest.len());
    assert!(records.len() <= usize::from(*count));
}

fn damaged(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

fn begins(written: &[Entry], read: &[Entry], how: &str) {
    assert!(written.starts_with(read), "{how}: {} of {} records are others", read.len(), written.len());
}
