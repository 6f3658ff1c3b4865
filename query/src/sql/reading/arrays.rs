//! Arrays as Postgres writes them in text, which are only compared with here: `x = ANY('{a,"b, c",NULL}')` is `x IN (…)`.

use std::collections::HashSet;

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token, Tokenizer},
};

/// What stands before the number of a parameter that is an array and is not compared with: such a statement is refused.
pub(crate) const ALONE: &str = "$array";

/// What stands in an array of one dimension, NULLs among it; nothing if it is none.
pub fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut all = Vec::new();
    if rest.is_empty() {
        return Some(all);
    }
    loop {
        let (element, after) = match rest.strip_prefix('"') {
            Some(inside) => {
                let (element, after) = in_quotes(inside)?;
                (Some(element), after.trim_start())
            }
            None => {
                let (bare, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                let bare = bare.trim_end();
                // What is empty, nested or escaped has quotes, or is no array of one dimension.
                if bare.is_empty() || bare.contains(['{', '}', '"', '\\']) {
                    return None;
                }
                ((!bare.eq_ignore_ascii_case("null")).then(|| bare.to_owned()), after)
            }
        };
        all.push(element);
        if after.is_empty() {
            return Some(all);
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
}

/// A text up to the quote that ends it, and what follows.
fn in_quotes(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((element, text.get(at + 1..)?)),
            '\\' => element.push(letters.next()?.1),
            letter => element.push(letter),
        }
    }
    None
}

/// The parameters that a statement compares with as arrays, by number; none of what cannot be read.
pub(crate) fn compared(sql: &str) -> HashSet<usize> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    let words = tokens.into_iter().filter_map(|token| match token {
        // Comments are among it.
        Token::Whitespace(_) => None,
        token @ (Token::Word(_) | Token::Placeholder(_) | Token::LParen) => Some(token.to_string().to_lowercase()),
        _ => Some(" ".to_owned()),
    });
    let words: String = words.collect();
    let opened = ["any($", "some($", "all($", "any(cast($", "some(cast($", "all(cast($"];
    let mut numbers = HashSet::new();
    for open in opened {
        for (at, open) in words.match_indices(open) {
            let after = words.get(at + open.len()..).unwrap_or_default();
            let digits = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
            numbers.extend(after.get(..digits).and_then(|digits| digits.parse::<usize>().ok()));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgres_writes_them() {
        let check = |text: &str, wanted: Option<&[Option<&str>]>| {
            let wanted = wanted.map(|all| all.iter().map(|one| one.map(str::to_owned)).collect::<Vec<_>>());
            assert_eq!(elements(text), wanted, "{text}");
        };
        check("{}", Some(&[]));
        check("{a}", Some(&[Some("a")]));
        check(" {a, b c ,d} ", Some(&[Some("a"), Some("b c"), Some("d")]));
        check(r#"{"a,b","c\"d\\","",NULL,"NULL"}"#, Some(&[Some("a,b"), Some("c\"d\\"), Some(""), None, Some("NULL")]));
        check("{1,-2}", Some(&[Some("1"), Some("-2")]));
        for wrong in ["", "a", "{", "{a", "{a,}", "{,a}", "{{a},{b}}", "{\"a}", "{\"a\"b}", "{\"a\\", "[1:2]={a,b}"] {
            check(wrong, None);
        }
    }

    #[test]
    fn parameters_that_are_arrays_are_known_by_what_is_around_them() {
        let check = |sql: &str, wanted: &[usize]| {
            assert_eq!(compared(sql), wanted.iter().copied().collect::<HashSet<_>>(), "{sql}");
        };
        check("SELECT a FROM t WHERE a = ANY($1) AND b = any ( $12::text[] ) AND c <> ALL($3)", &[1, 12, 3]);
        check("SELECT a FROM t WHERE a = ANY(CAST($2 AS text[])) AND b = $1", &[2]);
        check("SELECT a FROM t WHERE a = $1", &[]);
    }
}
