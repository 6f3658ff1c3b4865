//! Chance that is not: splitmix64, from a seed or from the input itself, so that an input always meets the same throws.

/// A source of chance.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The throws of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The throws of an input.
    pub fn of(input: &[u8]) -> Self {
        Self(schemas::wire::hash(input))
    }

    /// The next throw.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.throw() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// The input in pieces of up to `most` bytes.
    pub fn pieces<'a>(&mut self, input: &'a [u8], most: usize) -> Vec<&'a [u8]> {
        let (mut pieces, mut rest) = (Vec::new(), input);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((self.below(most) + 1).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

/// The ways in which a body may arrive: at once, byte by byte where it is short, and in pieces of chance.
pub fn arrivals(body: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut dice = Dice::of(body);
    let mut ways = vec![vec![body]];
    if body.len() <= 2_048 {
        ways.push(body.chunks(1).collect());
    }
    for most in [3, 40, body.len().max(2) / 2] {
        ways.push(dice.pieces(body, most));
    }
    ways
}
