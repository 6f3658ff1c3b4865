//! Records of CSV (RFC 4180): fields in quotes may hold commas, quotes twice, and ends of lines.
//!
//! For files from outside whose columns are not known before: what a field means is for whoever asked. Bounded in bytes.

/// The largest file.
const MAX_BYTES: usize = 256 << 20;

/// Its records, without empty lines at its end.
///
/// # Errors
/// If it is too large, not UTF-8, or a quote is not closed.
pub(crate) fn records(bytes: &[u8]) -> Result<Vec<Vec<String>>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("the file has more than {} MiB", MAX_BYTES >> 20));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("the file is not UTF-8 text: {error}"))?;
    let (mut records, mut record, mut field, mut quoted, mut line) = (Vec::new(), Vec::new(), String::new(), false, 1);
    let mut letters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted && letters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed before line {line}"));
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    while records.last().is_some_and(|last| last.iter().all(String::is_empty)) {
        records.pop();
    }
    Ok(records)
}

/// The same CSV with no cell that a spreadsheet would take for a formula: an apostrophe stands before each that begins as one and is no
/// number, and before an apostrophe, so that what was there can be told.
///
/// # Errors
/// If it is no CSV.
pub fn without_formulas(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = String::with_capacity(bytes.len());
    for record in records(bytes)? {
        let cells: Vec<String> = record.iter().map(|cell| inert(cell)).collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    Ok(out.into_bytes())
}

fn inert(cell: &str) -> String {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE-+".contains(&byte))
        && cell.parse::<f64>().is_ok();
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) && !number;
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::{records, without_formulas};

    #[test]
    fn a_spreadsheet_calculates_nothing() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(String::from_utf8(without_formulas(text.as_bytes()).unwrap()).unwrap(), wanted);
        };
        check("tenant,usd\n=1+1,-2.5\n", "tenant,usd\n'=1+1,-2.5\n");
        check("a\n\"=HYPERLINK(\"\"x\"\",1)\"\n", "a\n\"'=HYPERLINK(\"\"x\"\",1)\"\n");
        check("a,b,c,d\n@x,+1,-x,-1-1\n", "a,b,c,d\n'@x,+1,'-x,'-1-1\n");
        check("a\n1e-7\n'x\n", "a\n1e-7\n''x\n");
    }

    #[test]
    fn fields_in_quotes_hold_anything() {
        let check = |text: &str, wanted: &[&[&str]]| assert_eq!(records(text.as_bytes()).unwrap(), wanted, "{text:?}");
        check("", &[]);
        check("a,b\n1,2\n", &[&["a", "b"], &["1", "2"]]);
        check("\u{feff}a,b\r\n\"1,\"\"x\"\"\n\",\n\n", &[&["a", "b"], &["1,\"x\"\n", ""]]);
        check("a\n\"\"", &[&["a"]]);
        assert!(records(b"a,\"b").is_err() && records(&[0xff]).is_err());
    }
}
