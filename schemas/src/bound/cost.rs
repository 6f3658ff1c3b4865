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
}

pub(super) fn dearest(
    book: &Book,
    key: &Key<'_>,
    reach: &Reach<'_>,
    input: u64,
    output: u64,
) -> Result<Pico, Unpriced> {
    use TokenClass::{AudioInput, AudioOutput, CacheRead, CacheWrite1h, CacheWrite5m, Output, UncachedInput};
    if input == 0 && output == 0 {
        return Ok(Pico(0));
    }
    let rates = book.rates(key, &[key.model])?;
    let mut taken = vec![(UncachedInput, true), (CacheRead, false)];
    taken.extend(reach.writes.0.then_some((CacheWrite5m, false)));
    taken.extend(reach.writes.1.then_some((CacheWrite1h, false)));
    taken.extend(reach.audio.then_some((AudioInput, false)));
    let mut given = vec![(Output, true)];
    given.extend(reach.audio.then_some((AudioOutput, false)));

    let mut total = Pico(0);
    for (tokens, classes) in [(input, taken), (output, given)] {
        if tokens > 0 {
            let price = of_classes(rates, key, reach, input, &classes)?;
            total += Pico(price.0.checked_mul(i128::from(tokens)).ok_or(Unpriced::TooLarge)?);
        }
    }
    total.row().map(|_| total).ok_or(Unpriced::TooLarge)
}

/// The dearest price of these classes, of which the marked ones have to have one.
fn of_classes(
    rates: Rates<'_>,
    key: &Key<'_>,
    reach: &Reach<'_>,
    input: u64,
    classes: &[(TokenClass, bool)],
) -> Result<Pico, Unpriced> {
    let mut dearest = Pico(0);
    let named = reach.named.as_deref();
    for (class, required) in classes {
        for tier in [""].iter().chain(reach.tiers).copied().chain(named) {
            match rates.dearest(*class, tier, input, key.at) {
                Ok(price) => dearest = dearest.max(price),
                Err(why) if *required && (tier.is_empty() || Some(tier) == named) => return Err(why),
                // A class or tier without a price cannot be reached at one; if an answer states it, it is unpriced.
                Err(_) => {}
            }
        }
    }
    Ok(dearest)
}
