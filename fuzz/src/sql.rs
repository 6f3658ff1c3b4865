//! Statements of callers: one is refused, or is one query whose text is a statement that is understood the same.
//!
//! Nothing is planned or run. That a statement is bounded shows as time: whatever is refused or understood is so at once.

use query::sql::understood;

/// How the text of what is understood begins.
const QUERIES: [&str; 6] = ["SELECT", "WITH", "VALUES", "EXPLAIN", "(", "TABLE"];

/// Reads a statement, and its text.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(statement) = understood(&text) else { return };
    assert!(QUERIES.iter().any(|word| statement.starts_with(word)), "{statement}");
    if let Ok(again) = understood(&statement) {
        assert_eq!(again, statement);
    }
}
