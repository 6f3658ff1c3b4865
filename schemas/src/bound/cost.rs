//! What tokens cost at the dearest rates that a request can reach.
//!
//! Which class input falls into, which tier serves it and whether it passes a context tier is the provider's to say, after the hold
//! is taken: so the bound takes the dearest of each. A class that the request cannot reach is left out.

use crate::{
    ledger::Unpriced,
    money::Pico,
    price::{Book, Key, Rates},
    tokens::TokenClass,
};

/// The rates that a request can reach besides the plain ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach<'a> {
    /// The service tiers; the standard one is always reached.
    pub(super) tiers: &'a [&'a str],
    /// A tier that the request names and that has to have a price.
    pub(super) named: Option<String>,
    /// Cache writes of five minutes, and of an hour.
    pub(super) writes: (bool, bool),
    /// Audio in and out.
    pub(super) audio: bool,
    /// Images in and out, which have a price of their own or that of text.
    pub(super) images: bool,
    /// Whether all output is audio.
    pub(super) sounds: bool,
    /// Units that have a price each, or none, and how many of them: a guardrail's look, searches.
    pub(super) units: &'a [(TokenClass, u64)],
}

/// The cost, and what of it is for each token of output.
pub(super) fn dearest(
    book: &Book,
    key: &Key<'_>,
    reach: &Reach<'_>,
    input: u64,
    output: u64,
) -> Result<(Pico, Pico), Unpriced> {
    use TokenClass::{
        AudioInput, AudioOutput, CacheRead, CacheReadAudio, CacheWrite1h, CacheWrite5m, ImageInput, ImageOutput,
        Output, UncachedInput,
    };
    if input == 0 && output == 0 && reach.units.iter().all(|(_, count)| *count == 0) {
        return Ok((Pico(0), Pico(0)));
    }
    let rates = book.rates(key, &[key.model])?;
    let taken = [
        (UncachedInput, true),
        (CacheRead, true),
        (CacheWrite5m, reach.writes.0),
        (CacheWrite1h, reach.writes.1),
        (AudioInput, reach.audio),
        (CacheReadAudio, reach.audio),
        (ImageInput, reach.images),
    ];
    let given = [(Output, true), (AudioOutput, reach.audio), (ImageOutput, reach.images)];
    let given = if reach.sounds { &given[1..] } else { &given[..] };

    let (mut total, mut last) = (Pico(0), Pico(0));
    for (class, count) in reach.units.iter().filter(|(_, count)| *count > 0) {
        total += times(of_unit(rates, key, reach, input, *class)?, *count)?;
    }
    for (tokens, classes) in [(input, &taken[..]), (output, given)] {
        last = Pico(0);
        if tokens > 0 {
            let price = of_classes(rates, key, reach, input, classes)?;
            total += times(price, tokens)?;
            last = price;
        }
    }
    total.row().map(|_| (total, last)).ok_or(Unpriced::TooLarge)
}

fn times(price: Pico, count: u64) -> Result<Pico, Unpriced> {
    price.0.checked_mul(i128::from(count)).map(Pico).ok_or(Unpriced::TooLarge)
}

/// The dearest price of a unit, which costs what it does in the standard tier where another has no price of its own for it.
fn of_unit(
    rates: Rates<'_>,
    key: &Key<'_>,
    reach: &Reach<'_>,
    input: u64,
    class: TokenClass,
) -> Result<Pico, Unpriced> {
    let standard = rates.dearest(class, "", input, key.at)?;
    let tiers = reach.tiers.iter().copied().chain(reach.named.as_deref());
    Ok(tiers.filter_map(|tier| rates.dearest(class, tier, input, key.at).ok()).fold(standard, Ord::max))
}

/// The dearest price of those of these classes that are marked as reached, of which the first has to have one.
fn of_classes(
    rates: Rates<'_>,
    key: &Key<'_>,
    reach: &Reach<'_>,
    input: u64,
    classes: &[(TokenClass, bool)],
) -> Result<Pico, Unpriced> {
    let mut dearest = Pico(0);
    let named = reach.named.as_deref();
    for (place, (class, _)) in classes.iter().enumerate().filter(|(_, (_, reached))| *reached) {
        for tier in [""].iter().chain(reach.tiers).copied().chain(named) {
            match rates.dearest(*class, tier, input, key.at) {
                Ok(price) => dearest = dearest.max(price),
                Err(why) if place == 0 && (tier.is_empty() || Some(tier) == named) => return Err(why),
                // A class or tier without a price cannot be reached at one; if an answer states it, it is unpriced.
                Err(_) => {}
            }
        }
    }
    Ok(dearest)
}
