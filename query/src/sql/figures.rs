//! `to_char` of numbers, by the patterns that Postgres has for them, as `FM999,990.00`, `S9G999D9` and `999PR`: each `9` and `0` is a place for
//! a digit, `FM` leaves out what would only fill the rest, and a number that has more digits than places is written in `#`.
//!
//! A float has as many digits as it is exact to, and where it has no more the text ends, as in Postgres.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type},
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::ScalarUDF,
};

use super::shape::Plain;

/// What it is called where its pattern is known to be one of a number.
pub(super) const NAME: &str = "to_char of numbers";

const TAKES: &str = "to_char() takes a number where its pattern is one of digits";

const UNKNOWN: &str = "is no part of a number that is known: these are 9, 0, a point or D, a comma or G, FM, and S, MI, PL, SG or PR for its sign";

/// The function.
pub(super) fn to_char() -> Arc<ScalarUDF> {
    let takes = |types: &[DataType]| match types {
        [kind, _] if kind.is_integer() || kind.is_null() => Ok(vec![DataType::Decimal128(20, 0), DataType::Utf8]),
        [kind @ (DataType::Decimal128(..) | DataType::Float32 | DataType::Float64), _] => {
            Ok(vec![kind.clone(), DataType::Utf8])
        }
        _ => plan_err!("{TAKES}"),
    };
    Plain { name: NAME, takes, gives: |_| Ok(DataType::Utf8), makes: texts }.shared()
}

/// Numbers by a pattern, which is a constant.
fn texts(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [numbers, patterns] = arrays else { return exec_err!("{TAKES}") };
    // Where there are no rows any will do.
    let pattern = patterns.as_string::<i32>().iter().flatten().next().unwrap_or("9");
    let pattern = Pattern::of(pattern).map_err(|why| exec_datafusion_err!("{why}"))?;
    let texts: StringArray = match numbers.data_type() {
        DataType::Decimal128(_, scale) => {
            let numbers = numbers.as_primitive::<Decimal128Type>().iter();
            numbers.map(|number| Some(pattern.of_decimal(number?, *scale))).collect()
        }
        kind => {
            let digits = if *kind == DataType::Float64 { 15 } else { 6 };
            let floats = cast(numbers, &DataType::Float64)?;
            let floats = floats.as_primitive::<Float64Type>().iter();
            floats.map(|float| float.map(|float| pattern.of_float(float, digits)).transpose()).collect::<Result<_>>()?
        }
    };
    Ok(Arc::new(texts))
}

/// A pattern of a number.
pub(super) struct Pattern {
    /// Its words, as they are known, and the letters between them.
    parts: Vec<String>,
    /// The places before the point, and behind it.
    whole: usize,
    decimals: usize,
    /// The first place before the point that is never empty, and how many behind it are not.
    filled_from: Option<usize>,
    filled: usize,
    /// What is written before a number and behind it, if it is positive, and if it is negative.
    signs: [(&'static str, &'static str); 2],
}

/// The words that have two letters.
const WORDS: [&str; 5] = ["FM", "MI", "PL", "PR", "SG"];

fn is_digit(part: &str) -> bool {
    matches!(part, "9" | "0")
}

impl Pattern {
    /// What a pattern says, or what of it is not known.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(letter) = rest.chars().next() {
            let two = rest.get(..2).map(str::to_ascii_uppercase).filter(|two| WORDS.contains(&two.as_str()));
            let word = two.unwrap_or_else(|| letter.to_ascii_uppercase().to_string());
            let known = match word.as_str() {
                "D" => ".",
                "G" => ",",
                known => known,
            };
            if letter.is_alphanumeric() && !is_digit(known) && !WORDS.contains(&known) && !"S.,".contains(known) {
                return Err(format!("{rest:?} in {text:?} {UNKNOWN}"));
            }
            parts.push(known.to_owned());
            rest = rest.get(word.len()..).unwrap_or_default();
        }
        let at = |word: &str| parts.iter().position(|part| part == word);
        let count = |words: &[&str]| parts.iter().filter(|part| words.contains(&part.as_str())).count();
        let point = at(".").unwrap_or(parts.len());
        let digits: Vec<(usize, bool)> =
            parts.iter().enumerate().filter(|(_, part)| is_digit(part)).map(|(at, part)| (at, part == "0")).collect();
        let (before, behind) = digits.split_at(digits.iter().filter(|(at, _)| *at < point).count());
        let (anchored, around) = (count(&["S"]), count(&["PR"]));
        let is_twice = anchored + around > 1 || anchored + around > 0 && count(&["MI", "PL", "SG"]) > 0;
        if digits.is_empty() || is_twice || count(&["."]) > usize::from(!behind.is_empty()) {
            return Err(format!(
                "{text:?} is no pattern of a number: it has places for digits, one point and one sign"
            ));
        }
        let blank = if at("FM").is_some() { "" } else { " " };
        let signs = match at("S") {
            Some(sign) if digits.iter().filter(|(at, _)| *at < sign).count() < before.len() => [("+", ""), ("-", "")],
            Some(_) => [("", "+"), ("", "-")],
            None if around > 0 => [(blank, blank), ("<", ">")],
            None if count(&["MI", "SG"]) > 0 => [("", ""); 2],
            None => [(blank, ""), ("-", "")],
        };
        let filled_from = before.iter().position(|(_, is_filled)| *is_filled);
        let filled = behind.iter().rposition(|(_, is_filled)| *is_filled).map_or(0, |last| last + 1);
        let (whole, decimals) = (before.len(), behind.len());
        Ok(Self { parts, whole, decimals, filled_from, filled, signs })
    }

    /// The nearest number of so many decimals, halves away from zero.
    fn of_decimal(&self, number: i128, scale: i8) -> String {
        let scale = usize::try_from(scale).unwrap_or_default();
        let left = scale.min(self.decimals);
        let unit = (left..scale).fold(1_u128, |unit, _| unit * 10);
        let rounded = (number.unsigned_abs() + unit / 2) / unit;
        let digits = format!("{rounded:0>width$}", width = left + 1);
        let (whole, decimals) = digits.split_at(digits.len() - left);
        self.written(number < 0 && rounded > 0, whole, &format!("{decimals:0<width$}", width = self.decimals))
    }

    fn of_float(&self, number: f64, digits: usize) -> Result<String> {
        if !number.is_finite() {
            return exec_err!("to_char() writes no number that is infinite, or none");
        }
        let whole = format!("{:.0}", number.abs()).len();
        let decimals = self.decimals.min(digits.saturating_sub(whole));
        let digits = format!("{:.decimals$}", number.abs());
        let (whole, decimals) = digits.split_once('.').unwrap_or((&digits, ""));
        Ok(self.written(number.is_sign_negative(), whole, decimals))
    }

    /// A number by its digits before the point and behind it.
    fn written(&self, is_negative: bool, whole: &str, decimals: &str) -> String {
        if whole.len() > self.whole {
            return self.written(is_negative, &"#".repeat(self.whole), &"#".repeat(decimals.len()));
        }
        let is_short = self.parts.iter().any(|part| part == "FM");
        let blank = if is_short { "" } else { " " };
        let [positive, negative] = self.signs;
        let (first, last) = if is_negative { negative } else { positive };
        let empty = self.whole - whole.len();
        let begin = self.filled_from.map_or(empty, |from| from.min(empty));
        let kept = if is_short { decimals.trim_end_matches('0').len() } else { decimals.len() };
        let kept = kept.max(self.filled.min(decimals.len()));
        // A zero before decimals is not written, unless they are not either.
        let is_zero = self.filled_from.is_none() && whole == "0" && !decimals.is_empty();
        let is_left_out = is_zero && kept > 0;
        let end = self.whole + decimals.len() + usize::from(self.decimals > 0);
        let (mut text, mut place, mut is_within, mut sign) = (String::new(), 0, false, Some(first));
        for part in self.parts.iter().map(String::as_str) {
            let shown = match part {
                "FM" | "S" | "PR" => "",
                "MI" | "SG" if is_negative => "-",
                "PL" | "SG" if !is_negative => "+",
                "MI" | "PL" => blank,
                "," if !is_within => blank,
                other => other,
            };
            if !is_digit(part) && part != "." {
                text.push_str(shown);
                continue;
            }
            if place >= begin + usize::from(is_left_out) {
                text.push_str(sign.take().unwrap_or_default());
            }
            let behind = place.checked_sub(self.whole + 1);
            let digit = match behind {
                _ if part == "." && decimals.is_empty() => return text,
                _ if part == "." => Some('.'),
                Some(at) if is_short && at >= kept && part == "9" => None,
                Some(at) if at >= decimals.len() => return text,
                Some(at) => decimals.chars().nth(at),
                None if place < begin || place == empty && is_left_out => blank.chars().next(),
                None if place < empty => Some('0'),
                None => whole.chars().nth(place - empty),
            };
            text.extend(digit);
            is_within = digit.is_some_and(|digit| !". ".contains(digit)) && !(is_zero && place == empty);
            place += 1;
            if place == end {
                text.push_str(last);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// The texts are those of Postgres.
    #[test]
    fn numbers_are_written_by_their_places() {
        for (hundredths, pattern, wanted) in [
            (123_450, "FM999,990.00", "1,234.50"),
            (50, "FM999,990.00", "0.50"),
            (123_456_700, "FM999,990.00", "###,###.##"),
            (-10, "99.99", "  -.10"),
            (-10, "FM9.99", "-.1"),
            (-10, "fm90.99", "-0.1"),
            (0, "FM9.99", "0."),
            (0, "FM9.09", ".0"),
            (1_200, "9990999.9", "    0012.0"),
            (1_200, "FM9990999.9", "0012."),
            (48_500, "9 9 9", " 4 8 5"),
            (148_500, "9G999", " 1,485"),
            (48_500, "9,999", "   485"),
            (314_850, "9G999D999", " 3,148.500"),
            (-48_500, "999S", "485-"),
            (48_500, "S999", "+485"),
            (-48_500, "S9999", " -485"),
            (-48_500, "999MI", "485-"),
            (48_500, "999MI", "485 "),
            (48_500, "FM999MI", "485"),
            (-48_500, "9SG99", "4-85"),
            (-48_500, "999PR", "<485>"),
            (48_500, "999PR", " 485 "),
            (-123_450, "$999,990.00", "$  -1,234.50"),
            (249, "9.9", " 2.5"),
            (-4, "9.9", "  .0"),
        ] {
            assert_eq!(Pattern::of(pattern).unwrap().of_decimal(hundredths, 2), wanted, "{hundredths} {pattern}");
        }
        for (float, pattern, wanted) in [
            (2.675, "9.99", " 2.67"),
            (-0.001, "9.99", " -.00"),
            (1_234_567.891, "FM9999999.999999999999", "1234567.891"),
            (1_234_567.891, "9999999.9999999999 %", " 1234567.89100000"),
        ] {
            assert_eq!(Pattern::of(pattern).unwrap().of_float(float, 15).unwrap(), wanted, "{float} {pattern}");
        }
        for wrong in ["9.9EEEE", "999TH", "L99", "9.9.9", "99.", "S9S", "SG9PR", "-", "99V9", "RN"] {
            assert!(Pattern::of(wrong).is_err(), "{wrong}");
        }
    }
}
