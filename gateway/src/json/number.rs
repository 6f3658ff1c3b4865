//! JSON numbers as integers.
//!
//! `64`, `64.0` and `6.4e1` are the same count. What is too large saturates, what is negative or has a fraction is refused.
//! No floating point is involved, so an amount of money keeps every decimal that was sent.

/// A JSON number: ± `mantissa` × 10^`exponent`.
struct Number {
    negative: bool,
    mantissa: u128,
    exponent: i64,
}

/// The most that a mantissa takes before further digits are dropped; another digit still fits.
const MANTISSA_MAX: u128 = u128::MAX / 100;

/// Why a number is not a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotACount {
    /// It is below zero.
    Negative,
    /// It has a fraction.
    Fraction,
    /// It is no number.
    NotANumber,
}

/// Reads a count. What does not fit is the largest count.
pub(crate) fn count(text: &str) -> Result<u64, NotACount> {
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(value) = text.parse()
    {
        return Ok(value);
    }
    let number = Number::parse(text).ok_or(NotACount::NotANumber)?;
    if number.mantissa == 0 {
        return Ok(0);
    }
    if number.negative {
        return Err(NotACount::Negative);
    }
    if number.exponent < 0 {
        return Err(NotACount::Fraction);
    }
    let scale = u32::try_from(number.exponent).ok().and_then(|exponent| 10_u128.checked_pow(exponent));
    let value = scale.and_then(|scale| number.mantissa.checked_mul(scale));
    Ok(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(u64::MAX))
}

/// Reads an amount as an integer of its last of `scale` decimals; what is smaller than that is rounded half away from zero.
pub(crate) fn scaled(text: &str, scale: u32) -> Option<i128> {
    let number = Number::parse(text)?;
    let exponent = number.exponent.saturating_add(i64::from(scale));
    let power = |exponent: u64| u32::try_from(exponent).ok().and_then(|exponent| 10_u128.checked_pow(exponent));
    let value = if number.mantissa == 0 {
        0
    } else if exponent >= 0 {
        number.mantissa.checked_mul(power(exponent.unsigned_abs())?)?
    } else {
        power(exponent.unsigned_abs()).map_or(0, |unit| {
            let up = number.mantissa % unit >= unit.div_ceil(2);
            number.mantissa / unit + u128::from(up)
        })
    };
    let value = i128::try_from(value).ok()?;
    Some(if number.negative { -value } else { value })
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if !plain(whole) || !plain(fraction) || !plain(power) {
            return None;
        }
        let power = power.parse::<i64>().unwrap_or(i64::MAX / 2);
        let mut number =
            Self { negative, mantissa: 0, exponent: if exponent.starts_with('-') { -power } else { power } };
        whole.bytes().for_each(|digit| number.digit(digit, false));
        fraction.trim_end_matches('0').bytes().for_each(|digit| number.digit(digit, true));
        while number.exponent < 0 && number.mantissa != 0 && number.mantissa.is_multiple_of(10) {
            number.mantissa /= 10;
            number.exponent += 1;
        }
        Some(number)
    }

    /// Takes one more digit; one that does not fit only moves the point.
    fn digit(&mut self, digit: u8, fraction: bool) {
        let fits = self.mantissa <= MANTISSA_MAX;
        if fits {
            self.mantissa = self.mantissa * 10 + u128::from(digit.saturating_sub(b'0'));
        }
        self.exponent = match (fits, fraction) {
            (true, true) => self.exponent.saturating_sub(1),
            (false, false) => self.exponent.saturating_add(1),
            _ => self.exponent,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_integral() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0e5", 0),
            ("0e-9", 0),
            ("64", 64),
            ("64.0", 64),
            ("64.000", 64),
            ("6.4e1", 64),
            ("640e-1", 64),
            ("1E+2", 100),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
            ("1e20", u64::MAX),
            ("1e999999999999999999999", u64::MAX),
            ("123456789012345678901234567890123456789012345678901234567890", u64::MAX),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_count_is_refused() {
        for (text, why) in [
            ("-1", NotACount::Negative),
            ("-1e400", NotACount::Negative),
            ("1.5", NotACount::Fraction),
            ("1e-1", NotACount::Fraction),
            ("1e-99999999999999999999", NotACount::Fraction),
            ("\"1\"", NotACount::NotANumber),
            ("true", NotACount::NotANumber),
            ("[1]", NotACount::NotANumber),
            ("", NotACount::NotANumber),
            ("NaN", NotACount::NotANumber),
        ] {
            assert_eq!(count(text), Err(why), "{text}");
        }
    }

    #[test]
    fn amounts_keep_their_decimals() {
        for (text, value) in [
            ("0", Some(0)),
            ("0.00019325", Some(193_250_000)),
            ("4e-05", Some(40_000_000)),
            ("1.5e0", Some(1_500_000_000_000)),
            ("-2", Some(-2_000_000_000_000)),
            ("0.0000000000004", Some(0)),
            ("0.0000000000005", Some(1)),
            ("1e-400", Some(0)),
            ("1e400", None),
            ("\"1\"", None),
        ] {
            assert_eq!(scaled(text, 12), value, "{text}");
        }
    }
}
