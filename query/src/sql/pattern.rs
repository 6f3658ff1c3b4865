//! How `to_char` is told what to write: as Postgres does (`YYYY-MM-DD`), or as the engine does (`%Y-%m-%d`).
//!
//! The engine takes a format of Postgres for plain text, and would write it into every row. One without `%` is read as Postgres reads it;
//! what of that has no like here is refused, never written as it stands.

/// What Postgres calls something, and what the engine does; of two that begin alike the longer stands first.
const PATTERNS: &[(&str, &str)] = &[
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

/// The engine's format for what stands in a statement; nothing if it is that already.
///
/// # Errors
/// What of it cannot be written here.
pub(super) fn of_postgres(format: &str) -> Result<Option<String>, String> {
    if format.contains('%') || !format.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let (mut out, mut rest) = (String::new(), format);
    while let Some(letter) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            out.push_str(text);
            rest = after;
        } else if let Some((pattern, like)) = PATTERNS.iter().find(|(pattern, _)| rest.starts_with(pattern)) {
            out.push_str(like);
            rest = rest.get(pattern.len()..).unwrap_or_default();
        } else if letter.is_ascii_alphanumeric() {
            return Err(format!(
                "to_char does not know {rest:?} in {format:?}: it knows YYYY, MM, DD, HH24, MI, SS, MS, US, AM, Mon, FMMonth, Dy, FMDay, \
                 DDD, IYYY, IW, ID, Q and text in double quotes, or strftime as '%Y-%m-%d'"
            ));
        } else {
            out.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
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
        for known in ["%Y-%m", "", "--"] {
            assert_eq!(of_postgres(known), Ok(None));
        }
        for strange in ["YYYY-MM-DDTHH24", "Month", "yyyy-mm", "999", "DDth", "J YYYY", "TZ", "MONTH"] {
            let digits = !strange.contains(|letter: char| letter.is_ascii_alphabetic());
            assert!(digits || of_postgres(strange).unwrap_err().contains(strange), "{strange}");
        }
    }
}
