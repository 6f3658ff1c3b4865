//! Money: integer pico-dollars.
//!
//! A price quoted to six decimals per million tokens is a whole number of pico-dollars per token, so nothing is rounded
//! anywhere. Sums are `i128`; a single row of the lake fits `i64`, which [`Pico::row`] enforces.

use std::{fmt, iter::Sum, ops};

/// Pico-dollars: 1e-12 USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pico(pub i128);

/// Pico-dollars in one dollar.
pub const PICO_PER_USD: i128 = 1_000_000_000_000;

/// The most that one row of the lake can hold: DECIMAL(18, 12).
pub const ROW_MAX: Pico = Pico(999_999_999_999_999_999);

impl Pico {
    /// The value as one row of the lake stores it, or nothing where the row cannot hold it.
    pub fn row(self) -> Option<i64> {
        if self.0.unsigned_abs() <= ROW_MAX.0.unsigned_abs() { i64::try_from(self.0).ok() } else { None }
    }

    /// Reads a decimal number of dollars, such as `100.00`; nothing if it is not one or has more than twelve decimals.
    pub fn parse_usd(text: &str) -> Option<Self> {
        parse_decimal(text, 12).map(Self)
    }
}

/// Reads a decimal number as an integer of its last of `scale` decimals: `1.5` at scale 6 is 1,500,000.
pub fn parse_decimal(text: &str, scale: u32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = scale.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let unit = 10_i128.checked_pow(scale)?;
    let part =
        if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()?.checked_mul(10_i128.pow(missing))? };
    let value = whole.parse::<i128>().ok()?.checked_mul(unit)?.checked_add(part)?;
    Some(if negative { -value } else { value })
}

impl fmt::Display for Pico {
    /// Dollars with all decimals that are not zero, and at least two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        let unit = PICO_PER_USD.unsigned_abs();
        let fraction = format!("{:012}", value % unit);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{}", value / unit, &fraction[..kept])
    }
}

impl ops::Add for Pico {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl ops::AddAssign for Pico {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl ops::Sub for Pico {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for Pico {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_fits_it_and_no_other_amount() {
        for (amount, row) in [(0, Some(0)), (-1, Some(-1)), (i128::MIN, None), (i128::MAX, None), (ROW_MAX.0 + 1, None)]
        {
            assert_eq!(Pico(amount).row(), row, "{amount}");
        }
        assert_eq!(Pico(-ROW_MAX.0).row().map(i128::from), Some(-ROW_MAX.0));
    }
}
