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

#[cfg(test)]
mod tests {
    use super::records;

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
