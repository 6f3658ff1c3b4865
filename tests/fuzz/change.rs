//! Makes other inputs of seeds: bits and bytes, words of the grammar, pieces moved, repeated and taken from another seed.

use super::bodies::dice::Dice;

/// Bytes that stand at an edge of something.
const ODD: &[u8] = b"\0\x01\t\n\r \"\\%:;,.-+0129{}[]$&*~\x7f\x80\xc3\xef\xff";

/// Numbers that stand at an edge of something.
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "1",
    "-1",
    "0.5",
    "1e9",
    "1e-3",
    "127",
    "65536",
    "1125899906842625",
    "18446744073709551616",
    "9223372036854775807",
];

/// One of the seeds, changed in up to six places; not longer than `longest`.
pub(crate) fn changed(dice: &mut Dice, seeds: &[Vec<u8>], words: &[&str], longest: usize) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    if input.len() > longest {
        let from = dice.below(input.len() - longest);
        input = input.split_off(if dice.below(2) == 0 { 0 } else { from });
        input.truncate(longest);
    }
    for _ in 0..=dice.below(6) {
        change(dice, &mut input, seeds, words);
    }
    input.truncate(longest);
    input
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let (from, to) = range(dice, input.len());
    let put = |input: &mut Vec<u8>, at: usize, piece: &[u8]| drop(input.splice(at..at, piece.iter().copied()));
    match dice.below(10) {
        0 if from < input.len() => input[from] ^= 1 << dice.below(8),
        1 if from < input.len() => input[from] = ODD[dice.below(ODD.len())],
        2 => put(input, from, &[ODD[dice.below(ODD.len())]]),
        3 if !words.is_empty() => put(input, from, words[dice.below(words.len())].as_bytes()),
        4 => drop(input.drain(from..to)),
        5 => {
            let piece = input[from..to].to_vec();
            put(input, to, &piece);
        }
        6 => {
            let piece = input[from..to].to_vec();
            let at = dice.below(input.len() + 1);
            put(input, at, &piece);
        }
        7 => {
            let other = &seeds[dice.below(seeds.len())];
            let (begin, end) = range(dice, other.len());
            put(input, from, &other[begin..end]);
        }
        8 => number(dice, input, from),
        _ if dice.below(4) == 0 => input.truncate(from),
        _ => input.extend_from_slice(&dice.throw().to_le_bytes()),
    }
}

/// A range, mostly a short one.
fn range(dice: &mut Dice, length: usize) -> (usize, usize) {
    let from = dice.below(length + 1);
    let most = [4, 32, length][dice.below(3)];
    (from, (from + dice.below(most + 1)).min(length))
}

/// The next number behind `from`, if there is one, becomes another.
fn number(dice: &mut Dice, input: &mut Vec<u8>, from: usize) {
    let Some(at) = input[from..].iter().position(u8::is_ascii_digit) else { return };
    let digits = input[from + at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let other = NUMBERS[dice.below(NUMBERS.len())];
    input.splice(from + at..from + at + digits, other.bytes());
}
