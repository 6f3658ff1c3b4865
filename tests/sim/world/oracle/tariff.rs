//! Which limits a call falls under and what it comes to, by rules of the oracle's own: they know only this world's few limits and prices.

use schemas::limit::{Dimension, Limit, Match, Unit, Window};

use crate::world::{
    call::{Bill, Wish},
    policy::{self, TENANTS, USERS, price},
};

/// Whether one counter serves every window.
pub(super) const fn stands(window: Window) -> bool {
    matches!(window, Window::Second | Window::Minute | Window::Hour)
}

/// The values of `*` for a call; nothing if the limit is not about it.
pub(super) fn values(limit: &Limit, wish: &Wish) -> Option<Vec<&'static str>> {
    let mut values = Vec::new();
    for (dimension, matcher) in &limit.scope {
        let value = match dimension {
            Dimension::Tenant => TENANTS[wish.tenant],
            Dimension::User => USERS[wish.user],
            Dimension::Provider => ["p1", "p2"][wish.provider],
            Dimension::Model => policy::MODELS[wish.model],
            Dimension::Tag(_) => policy::FEATURES[wish.feature?],
            _ => return None,
        };
        match matcher {
            Match::Is(wanted) if wanted != value => return None,
            Match::Is(_) => {}
            Match::Each => values.push(value),
        }
    }
    Some(values)
}

/// A bill in the unit of a limit.
pub(super) fn amount(unit: Unit, wish: &Wish, book: usize, bill: Bill) -> i128 {
    let (input, output) = (i128::from(bill.input), i128::from(bill.output));
    match unit {
        Unit::Requests => 1,
        // Nothing of the one is ever used up, and no bill here has any of the other.
        Unit::Concurrent | Unit::ToolCalls => 0,
        Unit::Tokens => input + output,
        Unit::InputTokens => input,
        Unit::OutputTokens => output,
        Unit::Usd => price(book, wish.model) * (input + 2 * output),
    }
}
