//! The values of one group: themselves as long as they are few, then how many fall into each bucket.

use prost::encoding::{decode_varint, encode_varint};

/// So many values are kept as they are: 1 KiB.
const FEW: usize = 128;

/// So many buckets lie between a power of two and the next, in pages of as many: 2 KiB.
const PAGE: usize = 256;

/// The bits of a float that are below its bucket: 52 bits of fraction less the 8 of [`PAGE`].
const BELOW: u32 = 44;

/// The first byte of values that are no whole numbers, of those that are, and of buckets.
const FLOATS: u8 = 0;
const MANY: u8 = 1;
const WHOLE: u8 = 2;

/// The values of one group.
#[derive(Clone, Debug)]
pub(crate) enum Sketch {
    /// In any order.
    Few(Vec<f64>),
    /// In buckets.
    Many(Box<Histogram>),
}

/// How many values fall into each bucket.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    /// By sign and power of two, in the order of the values.
    pages: Vec<(u16, Box<[u64; PAGE]>)>,
    /// The place of the page that was counted in last: values are often near each other.
    last: usize,
    count: u64,
    least: f64,
    most: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Sketch {
    /// What it takes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Few(values) => values.capacity() * size_of::<f64>(),
            Self::Many(histogram) => histogram.bytes(),
        }
    }

    /// Takes a value in; gives by how much it has grown.
    pub(crate) fn add(&mut self, value: f64) -> usize {
        match self {
            Self::Few(values) if values.len() < FEW => {
                let before = values.capacity();
                values.push(value);
                (values.capacity() - before) * size_of::<f64>()
            }
            Self::Few(values) => {
                let mut histogram = Histogram::new(value);
                values.iter().chain([&value]).for_each(|value| histogram.add(*value, 1));
                let (before, after) = (self.bytes(), histogram.bytes());
                *self = Self::Many(Box::new(histogram));
                after.saturating_sub(before)
            }
            Self::Many(histogram) => {
                let before = histogram.pages.len();
                histogram.add(value, 1);
                (histogram.pages.len() - before) * Histogram::PAGE_BYTES
            }
        }
    }

    /// The value that this part of the others lies below; nothing of none.
    pub(crate) fn percentile(&self, part: f64) -> Option<f64> {
        match self {
            Self::Few(values) => {
                let mut values = values.clone();
                values.sort_by(f64::total_cmp);
                let rank = part * values.len().checked_sub(1)? as f64;
                let (low, high) = (values.get(rank.floor() as usize)?, values.get(rank.ceil() as usize)?);
                Some(between(*low, *high, rank.fract()))
            }
            Self::Many(histogram) => Some(histogram.percentile(part)),
        }
    }

    /// For [`Self::merge`]: a byte that says which, then values, or the ends and how many are in each bucket. What is counted, as
    /// milliseconds are, takes a byte or two: there is one of these in each row of a rollup. The same values have the same bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Few(values) => {
                let mut values = values.clone();
                values.sort_by(f64::total_cmp);
                let mut out = Vec::new();
                Self::write(&values, &mut out);
                out
            }
            Self::Many(histogram) => {
                let mut out = vec![MANY];
                out.extend(histogram.least.to_le_bytes());
                out.extend(histogram.most.to_le_bytes());
                encode_varint(histogram.buckets().count() as u64, &mut out);
                let mut before = 0;
                for (bucket, count) in histogram.buckets() {
                    encode_varint(u64::from(bucket - before), &mut out);
                    encode_varint(count, &mut out);
                    before = bucket;
                }
                out
            }
        }
    }

    /// Writes [`Self::to_bytes`] of few values, which come in their order.
    pub(super) fn write(values: &[f64], out: &mut Vec<u8>) {
        if values.iter().all(|value| whole(*value).is_some()) {
            out.push(WHOLE);
            encode_varint(values.len() as u64, out);
            let mut before = 0;
            for value in values.iter().filter_map(|value| whole(*value)) {
                encode_varint(value - before, out);
                before = value;
            }
        } else {
            out.push(FLOATS);
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }

    /// Takes in what [`Self::to_bytes`] made of another; gives by how much it has grown, and nothing if it was not made by that.
    pub(crate) fn merge(&mut self, other: &[u8]) -> Option<usize> {
        let before = self.bytes();
        let (kind, mut rest) = other.split_first()?;
        match *kind {
            FLOATS => {
                let (values, []) = rest.as_chunks() else { return None };
                values.iter().for_each(|value| _ = self.add(f64::from_le_bytes(*value)));
                rest = &[];
            }
            WHOLE => {
                let mut value = 0_u64;
                for _ in 0..decode_varint(&mut rest).ok()? {
                    value = value.checked_add(decode_varint(&mut rest).ok()?)?;
                    self.add(value as f64);
                }
            }
            MANY => {
                let (ends, mut pairs) = rest.split_at_checked(16)?;
                let ([least, most], _) = ends.as_chunks() else { return None };
                self.count(f64::from_le_bytes(*least), f64::from_le_bytes(*most), &mut pairs)?;
                rest = pairs;
            }
            _ => return None,
        }
        rest.is_empty().then(|| self.bytes().saturating_sub(before))
    }

    /// Takes in so many pairs of bucket and count.
    fn count(&mut self, least: f64, most: f64, pairs: &mut &[u8]) -> Option<()> {
        if let Self::Few(values) = self {
            let mut histogram = Histogram::new(least);
            values.iter().for_each(|value| histogram.add(*value, 1));
            *self = Self::Many(Box::new(histogram));
        }
        let Self::Many(histogram) = self else { return None };
        histogram.reach(least);
        histogram.reach(most);
        let mut bucket = 0_u32;
        for _ in 0..decode_varint(pairs).ok()? {
            bucket = bucket.checked_add(u32::try_from(decode_varint(pairs).ok()?).ok()?)?;
            histogram.count(bucket, decode_varint(pairs).ok()?);
        }
        Some(())
    }
}

impl Histogram {
    const PAGE_BYTES: usize = PAGE * size_of::<u64>() + size_of::<(u16, Box<[u64; PAGE]>)>();

    const fn new(first: f64) -> Self {
        Self { pages: Vec::new(), last: 0, count: 0, least: first, most: first }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.pages.len() * Self::PAGE_BYTES
    }

    fn reach(&mut self, value: f64) {
        if value.total_cmp(&self.least).is_lt() {
            self.least = value;
        }
        if value.total_cmp(&self.most).is_gt() {
            self.most = value;
        }
    }

    fn add(&mut self, value: f64, times: u64) {
        self.reach(value);
        self.count((ordered(value) >> BELOW) as u32, times);
    }

    fn count(&mut self, bucket: u32, times: u64) {
        let (page, place) = ((bucket as usize / PAGE) as u16, bucket as usize % PAGE);
        if self.pages.get(self.last).is_none_or(|(known, _)| *known != page) {
            self.last = self.pages.partition_point(|(known, _)| *known < page);
            if self.pages.get(self.last).is_none_or(|(known, _)| *known != page) {
                self.pages.insert(self.last, (page, Box::new([0; PAGE])));
            }
        }
        if let Some(count) = self.pages.get_mut(self.last).and_then(|(_, counts)| counts.get_mut(place)) {
            *count += times;
            self.count += times;
        }
    }

    /// The buckets that are not empty, from the least.
    fn buckets(&self) -> impl Iterator<Item = (u32, u64)> {
        self.pages.iter().flat_map(|(page, counts)| {
            let first = u32::from(*page) * PAGE as u32;
            (first..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0)
        })
    }

    fn percentile(&self, part: f64) -> f64 {
        let rank = part * self.count.saturating_sub(1) as f64;
        between(self.at(rank.floor() as u64), self.at(rank.ceil() as u64), rank.fract())
    }

    /// The value of a rank, as if the values of a bucket stood evenly in it.
    fn at(&self, rank: u64) -> f64 {
        let mut below = 0;
        for (bucket, count) in self.buckets() {
            if rank < below + count {
                let value = between(begin(bucket), begin(bucket + 1), ((rank - below) as f64 + 0.5) / count as f64);
                // 0 shares its bucket with numbers too small to be meant.
                return self.within(if value.is_subnormal() { 0.0 } else { value });
            }
            below += count;
        }
        self.most
    }

    fn within(&self, value: f64) -> f64 {
        if value.total_cmp(&self.least).is_lt() {
            self.least
        } else if value.total_cmp(&self.most).is_gt() {
            self.most
        } else {
            value
        }
    }
}

/// The same as an integer, if there is one from zero that gives it back to the bit.
fn whole(value: f64) -> Option<u64> {
    let integer = value as u64;
    ((integer as f64).to_bits() == value.to_bits()).then_some(integer)
}

/// The bits of a float in the order of the floats.
const fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The first value of a bucket.
const fn begin(bucket: u32) -> f64 {
    let ordered = (bucket as u64) << BELOW;
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

fn between(low: f64, high: f64, part: f64) -> f64 {
    if low == high { low } else { low + (high - low) * part }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Sketch {
        let (mut sketch, mut bytes) = (Sketch::default(), 0);
        for value in values {
            bytes += sketch.add(value);
        }
        assert_eq!(bytes, sketch.bytes());
        sketch
    }

    fn exact(values: &[f64], part: f64) -> f64 {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let rank = part * (values.len() - 1) as f64;
        between(values[rank.floor() as usize], values[rank.ceil() as usize], rank.fract())
    }

    #[test]
    fn few_are_exact_and_many_are_near() {
        let mut state = 7_u64;
        let mut lot = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64
        };
        let cases: [Vec<f64>; 7] = [
            vec![1.0, 2.0],
            vec![-3.5],
            (0..128).map(|_| lot()).collect(),
            (0..5_000).map(|_| lot()).collect(),
            (0..5_000).map(|_| lot() / 1e6 - 1_000.0).collect(),
            (0..300).map(|place| if place < 200 { 5.0 } else { 9.0 }).collect(),
            (0..300).map(|place| if place < 200 { 0.0 } else { 9.0 }).collect(),
        ];
        for values in cases {
            for part in [0.0, 0.01, 0.5, 0.95, 0.999, 1.0] {
                let (got, wanted) = (of(values.clone()).percentile(part).unwrap(), exact(&values, part));
                let near = if values.len() <= FEW { 0.0 } else { wanted.abs() / 256.0 };
                assert!((got - wanted).abs() <= near, "{part} of {}: {got}, not {wanted}", values.len());
            }
        }
        assert_eq!(Sketch::default().percentile(0.5), None);
    }

    #[test]
    fn parts_come_to_the_same_as_the_whole() {
        let values: Vec<f64> = (0..1_000).map(|place| f64::from(place % 37) * 1.5 - 7.0).collect();
        let whole = of(values.clone());
        for sizes in [[1, 999], [100, 900], [500, 500], [0, 1_000]] {
            let (one, other) = values.split_at(sizes[0]);
            for (first, second) in [(one, other), (other, one)] {
                let mut sketch = of(first.to_vec());
                let (before, grown) = (sketch.bytes(), sketch.merge(&of(second.to_vec()).to_bytes()));
                assert_eq!(before + grown.unwrap(), sketch.bytes());
                assert_eq!(sketch.to_bytes(), whole.to_bytes(), "{sizes:?}");
                let mut again = Sketch::default();
                again.merge(&whole.to_bytes()).unwrap();
                assert_eq!(again.to_bytes(), whole.to_bytes());
            }
        }
    }

    #[test]
    fn what_is_no_sketch_is_not_taken_for_an_empty_one() {
        for (many, part) in [(3, 1.0), (3, 0.5), (300, 1.0)] {
            let made = of((0..many).map(|value| f64::from(value) * part)).to_bytes();
            let damaged = [&made[..made.len() - 1], &[made.as_slice(), &[0]].concat(), &[&[7], &made[1..]].concat()];
            for bytes in damaged.into_iter().chain([&[][..], &[MANY, 0], &[WHOLE, 200]]) {
                assert_eq!(Sketch::default().merge(bytes), None, "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_ends_nothing() {
        let strange = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE, f64::MAX, f64::MIN];
        let sketch = of((0..400).map(|place| strange[place % strange.len()]));
        assert_eq!(sketch.percentile(0.0), Some(f64::NEG_INFINITY));
        for part in [0.2, 0.5, 0.8, 1.0] {
            assert!(sketch.percentile(part).is_some());
        }
        assert_eq!(of([3.0]).percentile(0.7), Some(3.0));
    }
}
