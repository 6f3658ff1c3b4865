//! What a call takes of a limit at most, in the limit's unit.

use schemas::{
    bound::{AtMost, Bound},
    error_code::ErrorCode,
    limit::{Limit, OnUnbounded, Unit},
};

/// What a call takes of a limit at most, in its unit, or why that cannot be said.
pub(crate) fn amount(limit: &Limit, bound: &Bound) -> Result<i128, (ErrorCode, String)> {
    if limit.unit == Unit::Requests {
        return Ok(1);
    }
    match bound {
        Bound::AtMost(at_most) => in_unit(limit.unit, at_most),
        Bound::Unbounded(unbounded) => match (limit.unbounded, &unbounded.most) {
            (OnUnbounded::Hold, Some(most)) => in_unit(limit.unit, most),
            (OnUnbounded::Hold, None) | (OnUnbounded::Refuse, _) => {
                Err((ErrorCode::BoundUnknown, unbounded.to_string()))
            }
            (OnUnbounded::Admit, most) => {
                Ok(most.as_ref().and_then(|most| in_unit(limit.unit, most).ok()).unwrap_or(0))
            }
        },
    }
}

fn in_unit(unit: Unit, at_most: &AtMost) -> Result<i128, (ErrorCode, String)> {
    match unit {
        Unit::Requests => Ok(1),
        Unit::Tokens => Ok(i128::from(at_most.input) + i128::from(at_most.output)),
        Unit::InputTokens => Ok(i128::from(at_most.input)),
        Unit::OutputTokens => Ok(i128::from(at_most.output)),
        Unit::Usd => at_most.cost.map(|cost| cost.0).map_err(|why| (ErrorCode::PriceUnknown, why.name().to_owned())),
    }
}
