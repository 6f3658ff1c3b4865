//! The one rating function. Charges, re-rating and what-if all come through here, and bounds through the same lookup.
//!
//! It is pure: the book, the time and the usage say all. Every class that is not zero has its charge, with a price or with the reason
//! why there is none; nothing is rounded, because prices are whole for one token.

use super::{Book, Key};
use crate::{
    ledger::{Charge, Rated, Unpriced},
    money::Pico,
    tokens::{Part, TokenClass, Vector},
};

use super::Rates;

/// What an attempt costs: one charge for each class that is not zero, in the order of parts and classes.
///
/// `answered` is the model that the answer names, or nothing. Its price holds where the book has one, since a provider may answer
/// with another model than was asked for; else that of the model in `key`. A part that names its own model has that one's price.
/// Where there is no book, or no price in it, there is a charge all the same, and it says why.
pub fn rate(book: Option<&Book>, key: &Key<'_>, answered: &str, parts: &[Part]) -> Vec<Charge> {
    let mut charges = Vec::with_capacity(4);
    for part in parts {
        let rates = book.ok_or(Unpriced::UnknownBook).and_then(|book| book.rates_of(key, answered, part));
        for class in TokenClass::ALL {
            let quantity = part.vector.of(class);
            if quantity > 0 {
                let price = price(rates, key, class, &part.vector);
                charges.push(Charge { model: part.model.clone(), class, quantity, price });
            }
        }
    }
    charges
}

/// A class of a part at list price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The class.
    pub class: TokenClass,
    /// What it costs by the built-in book under the one that charges; nothing if that has no price for it, or none that a row can hold.
    pub cost: Option<Pico>,
}

/// What the same costs at list price, which is that of the built-in book under whatever a user has put on top: one for each of what
/// [`rate`] gives, in its order. A book that has no other under it is its own list.
pub fn list(book: &Book, key: &Key<'_>, answered: &str, parts: &[Part]) -> Vec<Listed> {
    let mut listed = Vec::with_capacity(4);
    for part in parts {
        let rates = book.rates_of(key, answered, part);
        for class in TokenClass::ALL.into_iter().filter(|class| part.vector.of(*class) > 0) {
            let cost = match price(rates.map(Rates::listed), key, class, &part.vector) {
                Rated::Priced { cost, .. } => Some(cost),
                Rated::Unpriced(_) => None,
            };
            listed.push(Listed { class, cost });
        }
    }
    listed
}

/// What charges come to: what has a price is charged, whatever else has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The sum of those that have a price.
    pub known: Pico,
    /// Why one of them has none.
    pub lacks: Option<Unpriced>,
}

impl Cost {
    /// A cost that is all there is.
    pub const fn of(known: Pico) -> Self {
        Self { known, lacks: None }
    }

    /// Whether it is more than a row holds: of one class, or in all.
    pub fn is_too_large(self) -> bool {
        self.lacks == Some(Unpriced::TooLarge) || self.known.row().is_none()
    }

    /// All of it, or why that is not known.
    pub fn whole(self) -> Result<Pico, Unpriced> {
        self.lacks.map_or(Ok(self.known), Err)
    }
}

/// The sum of charges.
pub fn sum(charges: &[Charge]) -> Cost {
    charges.iter().fold(Cost::default(), |sum, charge| match &charge.price {
        Rated::Priced { cost, .. } => Cost { known: sum.known + *cost, ..sum },
        Rated::Unpriced(why) => Cost { lacks: sum.lacks.or(Some(*why)), ..sum },
    })
}

/// The sum of charges, or why one of them has no price.
pub fn cost(charges: &[Charge]) -> Result<Pico, Unpriced> {
    sum(charges).whole()
}

fn price(rates: Result<Rates<'_>, Unpriced>, key: &Key<'_>, class: TokenClass, vector: &Vector) -> Rated {
    let row = match rates.and_then(|rates| rates.find(class, key.tier, vector.input(), key.at)) {
        Ok(row) => row,
        Err(why) => return Rated::Unpriced(why),
    };
    match row.unit_price.0.checked_mul(i128::from(vector.of(class))).map(Pico) {
        Some(cost) if cost.row().is_some() => Rated::Priced {
            unit_price: row.unit_price,
            cost,
            price_id: row.price_id.clone(),
            source: row.source.clone(),
        },
        _ => Rated::Unpriced(Unpriced::TooLarge),
    }
}

impl Book {
    /// The rows for the first of these models that has any.
    pub(crate) fn rates(&self, key: &Key<'_>, models: &[&str]) -> Result<Rates<'_>, Unpriced> {
        // Whose model it is says the API, and one that is not known says nothing.
        let lacks = if key.vendor.is_empty() { Unpriced::UnknownApi } else { Unpriced::UnknownModel };
        self.shelf().rates(self.rows(), key, models).ok_or(lacks)
    }

    /// The prices of what a part is of: the model it names, else the one that the answer names, else that of the key.
    fn rates_of(&self, key: &Key<'_>, answered: &str, part: &Part) -> Result<Rates<'_>, Unpriced> {
        match &part.model {
            Some(model) => self.rates(key, &[model]),
            None => self.rates(key, &[answered, key.model]),
        }
    }
}
