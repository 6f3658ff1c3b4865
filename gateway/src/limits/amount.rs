//! What a call takes of a limit at most, in the limit's unit.

use schemas::{
    bound::{AtMost, Bound},
    error_code::ErrorCode,
    ledger::Unpriced,
    limit::{Limit, Mode, OnUnbounded, Unit},
};

/// The price is known; what it is multiplied by has no end.
const TOO_LARGE: &str = "it could cost more than can be counted; state a smaller `max_tokens` or `n`";

/// What of a limit says what each call takes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) unit: Unit,
    pub(crate) mode: Mode,
    pub(crate) unbounded: OnUnbounded,
    pub(crate) slices: bool,
    /// Whether leases of it stand.
    pub(crate) stands: bool,
}

impl From<&Limit> for Terms {
    fn from(limit: &Limit) -> Self {
        Self {
            unit: limit.unit,
            mode: limit.mode,
            unbounded: limit.unbounded,
            slices: limit.slices,
            stands: limit.window.stands(),
        }
    }
}

/// What a call takes of a limit at most, in its unit, or why that cannot be said.
pub(crate) fn amount(of: impl Into<Terms>, bound: &Bound) -> Result<i128, (ErrorCode, String)> {
    let limit: Terms = of.into();
    if matches!(limit.unit, Unit::Requests | Unit::Concurrent) {
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

/// Whether it is known that a call takes nothing of a limit: not where it only holds nothing, since nobody knows how much it takes.
pub(crate) fn is_nothing(of: impl Into<Terms>, bound: &Bound) -> bool {
    let most = match bound {
        Bound::AtMost(most) => Some(most),
        Bound::Unbounded(unbounded) => unbounded.most.as_ref(),
    };
    let limit: Terms = of.into();
    most.is_some_and(|most| matches!(in_unit(limit.unit, most), Ok(0)))
}

pub(super) fn in_unit(unit: Unit, at_most: &AtMost) -> Result<i128, (ErrorCode, String)> {
    match unit {
        Unit::Requests | Unit::Concurrent => Ok(1),
        Unit::Tokens => Ok(i128::from(at_most.input) + i128::from(at_most.output)),
        Unit::InputTokens => Ok(i128::from(at_most.input)),
        Unit::OutputTokens => Ok(i128::from(at_most.output)),
        Unit::ToolCalls => Ok(i128::from(at_most.tool_calls)),
        Unit::Usd => at_most.cost.map(|cost| cost.0).map_err(|why| match why {
            Unpriced::TooLarge => (ErrorCode::BoundUnknown, TOO_LARGE.to_owned()),
            _ => (ErrorCode::PriceUnknown, why.name().to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{
        bound::{OutputCap, Unbounded, Why},
        fixture,
        limit::Window,
        money::Pico,
    };

    use super::*;

    #[test]
    fn what_a_call_takes_is_in_the_limits_unit_or_says_why_not() {
        let unbounded = OnUnbounded::Refuse;
        let usd = Limit { unit: Unit::Usd, unbounded, ..fixture::limit(1, Window::Total) };
        let check = |cost, wanted| {
            let most = AtMost {
                input: 1,
                output: u64::MAX,
                requests: 1,
                tool_calls: 0,
                cost,
                output_price: Pico(0),
                output_cap: OutputCap::Stated(1),
            };
            let got =
                amount(&usd, &Bound::AtMost(most)).map_err(|(code, detail)| (code, detail.contains("max_tokens")));
            assert_eq!(got, wanted, "{cost:?}");
        };
        check(Ok(Pico(7)), Ok(7));
        check(Err(Unpriced::UnknownModel), Err((ErrorCode::PriceUnknown, false)));
        check(Err(Unpriced::TooLarge), Err((ErrorCode::BoundUnknown, true)));
    }

    #[test]
    fn what_nobody_knows_is_not_nothing() {
        let input = AtMost { input: 1, ..AtMost::NOTHING };
        let unbounded = |most| Bound::Unbounded(Unbounded { field: "n".to_owned(), why: Why::UnknownShape, most });
        let check = |unit, bound: &Bound, wanted| {
            let limit = Limit { unit, unbounded: OnUnbounded::Admit, ..fixture::limit(1, Window::Total) };
            assert_eq!(is_nothing(&limit, bound), wanted, "{unit:?} {bound:?}");
        };
        for (unit, wanted) in [
            (Unit::Requests, false),
            (Unit::Concurrent, false),
            (Unit::Tokens, false),
            (Unit::InputTokens, false),
            (Unit::OutputTokens, true),
            (Unit::ToolCalls, true),
            (Unit::Usd, true),
        ] {
            check(unit, &Bound::AtMost(input), wanted);
            check(unit, &unbounded(Some(input)), wanted);
            check(unit, &unbounded(None), false);
        }
        check(Unit::Usd, &Bound::AtMost(AtMost { cost: Err(Unpriced::UnknownModel), ..input }), false);
    }
}
