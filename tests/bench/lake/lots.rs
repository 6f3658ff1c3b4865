//! Lots that are the same for the same seed, without floating point.

/// A source of lots (splitmix64).
pub(crate) struct Lots(u64);

impl Lots {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of so many, all alike.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        ((self.next() as u128 * end as u128) >> 64) as u64
    }

    /// Whether it is one of so many in a thousand.
    pub(crate) const fn per_mille(&mut self, of: u64) -> bool {
        self.below(1_000) < of
    }

    /// A size, as likely between any power of two and the next.
    pub(crate) const fn size(&mut self, least_bits: u64, most_bits: u64) -> u64 {
        let bits = least_bits + self.below(most_bits - least_bits);
        (1 << bits) + self.below(1 << bits)
    }
}

/// Places that are drawn by their weight.
pub(crate) struct Weighted(Vec<u64>);

impl Weighted {
    pub(crate) fn new(weights: impl Iterator<Item = u64>) -> Self {
        let mut sum = 0;
        Self(
            weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    /// By Zipf's law with an exponent of one: the second is drawn half as often as the first.
    pub(crate) fn zipf(places: u64) -> Self {
        Self::new((1..=places).map(zipf_weight))
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// The place of a point below the total, and how far behind its begin the point is.
    pub(crate) fn place(&self, point: u64) -> (usize, u64) {
        let place = self.0.partition_point(|end| *end <= point);
        let begin = if place == 0 { 0 } else { self.0[place - 1] };
        (place, point - begin)
    }

    pub(crate) fn draw(&self, lots: &mut Lots) -> usize {
        self.place(lots.below(self.total())).0
    }
}

/// The weight of a rank, from one.
pub(crate) const fn zipf_weight(rank: u64) -> u64 {
    1_000_000_000 / rank
}
