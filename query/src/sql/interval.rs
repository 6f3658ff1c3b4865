//! Intervals as Postgres writes them, `3 days 04:05:06`: numbers with their units, and behind them what a clock shows, which the engine does
//! not read; nor signs that stand alone, as in `1 month - 1 day`.

/// An interval in units alone, with signs before their numbers; nothing where it is so, or cannot be read.
pub(crate) fn in_units(text: &str) -> Option<String> {
    let signed = signed(text);
    without_clock(&signed).or_else(|| (signed != text.trim()).then_some(signed))
}

fn signed(text: &str) -> String {
    let (mut signed, mut is_minus) = (String::with_capacity(text.len()), false);
    for word in text.split_whitespace() {
        if matches!(word, "+" | "-") {
            is_minus = word == "-";
            continue;
        }
        let sign = if std::mem::take(&mut is_minus) { "-" } else { "" };
        let space = if signed.is_empty() { "" } else { " " };
        signed.push_str(space);
        signed.push_str(sign);
        signed.push_str(word.strip_prefix('+').unwrap_or(word));
    }
    signed
}

fn without_clock(text: &str) -> Option<String> {
    let (units, clock) = text.rsplit_once(' ').unwrap_or(("", text));
    let (sign, clock) = match clock.strip_prefix('-') {
        Some(clock) => ("-", clock),
        None => ("", clock.strip_prefix('+').unwrap_or(clock)),
    };
    let (hours, rest) = clock.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if ![hours, minutes, whole, part].into_iter().all(is_number) {
        return None;
    }
    let units = units.trim_end();
    let between = if units.is_empty() { "" } else { " " };
    Some(format!("{units}{between}{sign}{hours} hours {sign}{minutes} minutes {sign}{seconds} seconds"))
}

#[cfg(test)]
mod tests {
    use super::in_units;

    #[test]
    fn a_clock_is_written_in_units() {
        let check = |text: &str, wanted: Option<&str>| assert_eq!(in_units(text).as_deref(), wanted, "{text}");
        check("3 days 04:05:06", Some("3 days 04 hours 05 minutes 06 seconds"));
        check(" 1 mon -1 days -00:00:01.5 ", Some("1 mon -1 days -00 hours -00 minutes -01.5 seconds"));
        check("04:05", Some("04 hours 05 minutes 0 seconds"));
        check("1 month - 1 day", Some("1 month -1 day"));
        check("1 day - 02:00", Some("1 day -02 hours -00 minutes -0 seconds"));
        check("+1 day", Some("1 day"));
        for other in ["", "3 days", "soon", "1 day 0:x", "1 day :00", "1:2:3:4", "1:2:3.", "1 day 1:-2"] {
            check(other, None);
        }
    }
}
