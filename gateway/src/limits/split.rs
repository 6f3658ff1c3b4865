//! What an attempt that is over has used of what it holds, and what of the rest stays held because it is not known.
//!
//! Pure, and in whole units: nothing unknown is zero.

use schemas::{
    limit::Unit,
    tokens::{Completeness, Usage, Vector},
};

use super::{Sliced, Spent};
use crate::fault::{self, Fault};

/// What an attempt used of a hold in the limit's unit, and what stays held because it is not known.
pub(super) fn split(unit: Unit, held: i128, spent: &Spent<'_>) -> (i128, i128) {
    let tokens = |count: fn(&Vector) -> u64| spent.usage.total().map(|total| i128::from(count(&total)));
    let used = match unit {
        Unit::Requests => return (1, 0),
        // Whatever is not known of an attempt that is over, it is over.
        Unit::Concurrent => return (0, if fault::is(Fault::ConcurrentKept) && !spent.whole { held } else { 0 }),
        Unit::Tokens => tokens(Vector::total),
        Unit::InputTokens => tokens(Vector::input),
        Unit::OutputTokens => tokens(Vector::all_output),
        Unit::ToolCalls => tokens(|vector| vector.tool_calls),
        Unit::Usd if matches!(spent.usage.completeness, Completeness::Missing(_)) => None,
        // What has a price is charged; the rest is as unknown as what nobody has counted.
        Unit::Usd => Some(spent.cost.known.0),
    };
    let Some(used) = used else { return (0, if fault::is(Fault::UnknownReleased) { 0 } else { held }) };
    let used = if fault::is(Fault::SettlementClipped) { used.min(held) } else { used };
    let whole = spent.whole && (unit != Unit::Usd || spent.cost.lacks.is_none());
    (used, if whole || fault::is(Fault::UnknownReleased) { 0 } else { (held - used).max(0) })
}

/// The most calls of tools in what was answered beyond this; nothing where that is not known. Each is a token at least, so who holds for no
/// more of the output holds for no more calls in it. What has come beyond a slice is bounded by all that it can be, and not by the slice.
pub(super) fn calls_beyond(answer: Option<u64>, sliced: Option<&Sliced>, usage: &Usage) -> Option<u64> {
    let (most, output) = (answer?, usage.total()?.all_output());
    let slice = sliced.and_then(|sliced| sliced.room.checked_sub(output));
    slice.or_else(|| most.checked_sub(output))
}
