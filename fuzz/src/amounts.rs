//! Small texts that stand for numbers: amounts, counts, times, sizes, instants, ids and addresses.
//!
//! What is read is what arithmetic on the digits themselves gives, without the machine's numbers, and what is shown reads back as it
//! was. The input is the text; its first bytes are also an amount and an instant.

use std::time::Duration;

use gateway::fuzz::{count, scaled};
use schemas::{
    config::BaseUrl,
    fuzz::{duration, size},
    id::{BookHash, LimitId},
    money::{Pico, parse_decimal},
    time::Time,
};

/// More digits than that are not kept by a reader of JSON numbers.
const DIGITS: usize = 36;

/// Reads the input as everything that it could be.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for scale in [0, 6, 12] {
        assert_eq!(parse_decimal(&text, scale), decimal(&text, scale), "{text:?} with {scale} decimals");
    }
    number(&text);
    spans(&text);
    instants(&text);
    names(&text);
    if let Some((bytes, _)) = input.split_first_chunk() {
        let amount = Pico(i128::from_le_bytes(*bytes));
        let shown = amount.to_string();
        // The least amount of all has no positive of its own, and a reader takes the sign last.
        let wanted = if amount.0 == i128::MIN { None } else { Some(amount) };
        assert_eq!(Pico::parse_usd(&shown), wanted, "{shown}");
        assert!(amount.row().is_none_or(|row| i128::from(row) == amount.0));
    }
    if let Some((bytes, _)) = input.split_first_chunk() {
        instant(Time::from_micros(i64::from_le_bytes(*bytes)));
    }
}

/// A decimal number read by moving its point as text.
fn decimal(text: &str, scale: u32) -> Option<i128> {
    let scale = scale as usize;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if [whole, fraction].iter().any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let value: i128 = format!("{whole}{fraction:0<scale$}").parse().ok().filter(|_| fraction.len() <= scale)?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// A number of JSON: its sign, its digits without zeros around them, and the power of ten of the last.
fn parts(text: &str) -> Option<(bool, String, i64)> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (digits, power) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if !plain(whole) || !plain(fraction) || !plain(power.strip_prefix(['+', '-']).unwrap_or(power)) {
        return None;
    }
    let clamped = if power.starts_with('-') { -1_000_000 } else { 1_000_000 };
    let power = power.parse::<i64>().unwrap_or(clamped).clamp(-1_000_000, 1_000_000);
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let power = power - fraction.len() as i64 + (all.len() - kept.len()) as i64;
    Some((text.starts_with('-'), kept.trim_start_matches('0').to_owned(), power))
}

fn number(text: &str) {
    let read = (count(text), scaled(text, 12));
    let Some((negative, digits, power)) = parts(text) else { return assert_eq!(read, (None, None), "{text:?}") };
    if digits.len() > DIGITS {
        return;
    }
    let value = |power: i64| match usize::try_from(power) {
        Ok(zeros) if zeros <= 40 => format!("{digits}{}", "0".repeat(zeros)).parse::<u128>().ok(),
        _ => None,
    };
    let wanted = match (digits.is_empty(), negative, power) {
        (true, ..) => Some(0),
        (_, true, _) | (_, _, ..0) => None,
        _ => Some(value(power).and_then(|value| u64::try_from(value).ok()).unwrap_or(u64::MAX)),
    };
    assert_eq!(read.0, wanted, "the count {text:?}");
    let power = power + 12;
    let amount = if digits.is_empty() {
        Some(0)
    } else if power >= 0 {
        value(power).and_then(|value| i128::try_from(value).ok())
    } else {
        // Half of the last decimal, or more, is one more of it.
        let cut = digits.len().saturating_sub(usize::try_from(-power).unwrap_or(usize::MAX));
        let reaches = -power <= digits.len() as i64;
        let up = reaches && digits.as_bytes().get(cut).is_some_and(|digit| *digit >= b'5');
        Some(digits[..cut].parse::<i128>().unwrap_or(0) + i128::from(up))
    };
    assert_eq!(read.1, amount.map(|amount| if negative { -amount } else { amount }), "the amount {text:?}");
}

/// Times and sizes are their number times their unit, or nothing.
fn spans(text: &str) {
    const TIMES: [(&str, u128); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    const SIZES: [(&str, u128); 10] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let unit = text.trim_start_matches(|next: char| next.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>().ok().map(u128::from);
    let value = |units: &[(&str, u128)], most: u128| {
        let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
        number.map(|number| number * factor).filter(|value| *value <= most)
    };
    let century = 100 * 366 * 86_400_000;
    assert_eq!(duration(text).as_ref().map(Duration::as_millis), value(&TIMES, century), "{text:?}");
    assert_eq!(size(text).map(u128::from), value(&SIZES, i64::MAX as u128), "{text:?}");
}

fn instants(text: &str) {
    if let Ok(time) = Time::parse(text) {
        assert_eq!(Time::parse(&time.to_string()), Ok(time), "{text:?}");
    }
}

fn instant(time: Time) {
    let shown = time.to_string();
    if shown != "never" {
        assert_eq!(Time::parse(&shown), Ok(time), "{shown}");
    }
    assert!(time.second() <= time);
    assert_eq!(time.since(time), Duration::ZERO);
    assert!(time.after(Duration::from_micros(1)) >= time);
}

/// Ids and addresses are shown as they can be read.
fn names(text: &str) {
    if let Some(id) = LimitId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Some(id) = BookHash::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(url) = BaseUrl::parse(text) {
        assert_eq!(BaseUrl::parse(&url.to_string()), Ok(url.clone()), "{text:?}");
        assert!(url.effective_port() > 0);
    }
}
