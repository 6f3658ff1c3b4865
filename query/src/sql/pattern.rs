//! How `to_char` is told what to write, and `to_timestamp` and `to_date` what to read ([`reads`](super::reads)): as Postgres does
//! (`YYYY-MM-DD`), or as the engine does (`%Y-%m-%d`).
//!
//! The engine takes a format of Postgres for plain text, and would write it into every row. One without `%` is read as Postgres reads it;
//! what of that has no like here is refused, never written as it stands.

/// What Postgres calls something, and what the engine does; of two that begin alike the longer stands first.
const PATTERNS: &[(&str, &str)] = &[
    ("TZH:TZM", "%:z"),
    ("FMMonth", "%B"),
    ("TMMonth", "%B"),
    ("FMHH24", "%-H"),
    ("FMHH12", "%-I"),
    ("FMDay", "%A"),
    ("TMDay", "%A"),
    ("FMDDD", "%-j"),
    ("TMMon", "%b"),
    ("FMMM", "%-m"),
    ("FMDD", "%-d"),
    ("FMMI", "%-M"),
    ("FMSS", "%-S"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("IYYY", "%G"),
    ("YYYY", "%Y"),
    ("TMDy", "%a"),
    ("TZH", "%:::z"),
    ("DDD", "%j"),
    ("Mon", "%b"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("am", "%P"),
    ("pm", "%P"),
    ("Dy", "%a"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("Q", "%q"),
];

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A part of a time, as the engine calls it.
    Field(&'static str),
    /// What stood in quotes.
    Text(&'a str),
    /// What stands between others.
    Separator(char),
}

/// What a format of Postgres consists of; nothing if it is one of the engine.
///
/// # Errors
/// What of it is not known here.
pub(super) fn parts(format: &str) -> Result<Option<Vec<Part<'_>>>, String> {
    if format.contains('%') || !format.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let (mut parts, mut rest) = (Vec::new(), format);
    while let Some(letter) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            parts.push(Part::Text(text));
            rest = after;
        } else if let Some((pattern, like)) = PATTERNS.iter().find(|(pattern, _)| rest.starts_with(pattern)) {
            parts.push(Part::Field(like));
            rest = rest.get(pattern.len()..).unwrap_or_default();
        } else if letter.is_ascii_alphanumeric() {
            return Err(format!(
                "{rest:?} in {format:?} is no part of a time that is known: these are YYYY, MM, DD, HH24, MI, SS, MS, US, AM, Mon, FMMonth, \
                 Dy, FMDay, DDD, IYYY, IW, ID, Q, TZH:TZM and text in double quotes, or strftime as '%Y-%m-%d'"
            ));
        } else {
            parts.push(Part::Separator(letter));
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(Some(parts))
}

/// The engine's format for what stands in a statement; nothing if it is that already.
///
/// # Errors
/// What of it cannot be written here.
pub(super) fn of_postgres(format: &str) -> Result<Option<String>, String> {
    let Some(parts) = parts(format)? else { return Ok(None) };
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Field(text) | Part::Text(text) => out.push_str(text),
            Part::Separator(letter) => out.push(letter),
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::of_postgres;

    #[test]
    fn a_format_of_postgres_becomes_one_of_the_engine_or_is_refused() {
        let check = |format: &str, wanted: &str| assert_eq!(of_postgres(format).unwrap().as_deref(), Some(wanted));
        check("YYYY-MM", "%Y-%m");
        check("YYYY-MM-DD HH24:MI:SS.US", "%Y-%m-%d %H:%M:%S.%6f");
        check("YYYY-MM-DD\"T\"HH24:MI", "%Y-%m-%dT%H:%M");
        check("IYYY-\"W\"IW", "%G-W%V");
        check("FMMonth YYYY, HH12:MI AM", "%B %Y, %I:%M %p");
        check("YYYY-\"Q\"Q", "%Y-Q%q");
        check("HH24:MI TZH:TZM", "%H:%M %:z");
        check("HH24TZH", "%H%:::z");
        for known in ["%Y-%m", "", "--"] {
            assert_eq!(of_postgres(known), Ok(None));
        }
        for strange in ["YYYY-MM-DDTHH24", "Month", "yyyy-mm", "999", "DDth", "J YYYY", "TZ", "MONTH"] {
            let digits = !strange.contains(|letter: char| letter.is_ascii_alphabetic());
            assert!(digits || of_postgres(strange).unwrap_err().contains(strange), "{strange}");
        }
    }
}
