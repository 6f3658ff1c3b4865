//! Amounts as providers write them, read exactly.

use schemas::money::Pico;

/// Dollars, from a decimal number that may have an exponent. Beyond the twelfth decimal it is rounded, half away from zero: providers print
/// floating point, whose last digits are noise.
pub(super) fn dollars(text: &str) -> Option<Pico> {
    scaled(text, 12).map(Pico)
}

/// A number as an integer of its last of `scale` decimals.
pub(super) fn scaled(text: &str, scale: i32) -> Option<i128> {
    let text = text.trim().trim_matches('"');
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, mantissa.trim_start_matches('+')),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{decimals}");
    if all.is_empty() || all.len() > 60 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The place of the point, counted from the left, once the number is a whole one of the last decimal.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let kept = usize::try_from(point.max(0)).ok()?;
    if kept > 38 {
        return all.bytes().all(|byte| byte == b'0').then_some(0);
    }
    let number: String = all.chars().chain(std::iter::repeat('0')).take(kept).collect();
    let value: i128 = if number.is_empty() { 0 } else { number.parse().ok()? };
    let up = point >= 0 && all.as_bytes().get(kept).is_some_and(|digit| *digit >= b'5');
    Some(sign * (value + i128::from(up)))
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn amounts_are_exact_to_their_last_place() {
        let check = |text: &str, scale: i32, wanted: Option<i128>| assert_eq!(scaled(text, scale), wanted, "{text:?}");
        check("0.06", 12, Some(60_000_000_000));
        check("6e-05", 12, Some(60_000_000));
        check("0.060000000000000005", 12, Some(60_000_000_000));
        check("-1.5", 12, Some(-1_500_000_000_000));
        check("0.0000000000005", 12, Some(1));
        check("0.0000000000004", 12, Some(0));
        check("1e-30", 12, Some(0));
        check("123.78912", 10, Some(1_237_891_200_000));
        check("1.2E3", 0, Some(1_200));
        for bad in ["", "x", "1,5", "1e", "--1"] {
            check(bad, 12, None);
        }
    }
}
