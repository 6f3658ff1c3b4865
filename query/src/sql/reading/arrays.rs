//! Arrays as Postgres writes them in text, which are only compared with here: `x = ANY('{a,"b, c",NULL}')` is `x IN (…)`.

use std::collections::HashMap;

use datafusion::sql::sqlparser::{
    ast::{ArrayElemTypeDef, DataType},
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use super::{
    parameters::place,
    types::{self, Type},
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

/// The most words of the name of a type that is read: `timestamp (6) with time zone [3]` and a few more.
const MAX_NAME: usize = 16;

/// The parameters that a statement takes for arrays, by number, and of what they are where it says so by a cast; none of what cannot be read.
pub(crate) fn parameters(sql: &str) -> HashMap<usize, Option<Type>> {
    let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    // Comments are among it.
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    let mut all: HashMap<usize, Option<Type>> = HashMap::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Placeholder(name) = token else { continue };
        let Some(number) = place(name).map(|place| place + 1) else { continue };
        let (before, after) = (tokens.get(..at).unwrap_or_default(), tokens.get(at + 1..).unwrap_or_default());
        let of = cast_to(after);
        if of.is_some() || is_compared_with(before) {
            let known = all.entry(number).or_default();
            *known = known.or(of);
        }
    }
    all
}

/// What an array is of that a parameter is cast to, by what follows that.
fn cast_to(after: &[Token]) -> Option<Type> {
    let (cast, name) = after.split_first()?;
    if !matches!(cast, Token::DoubleColon) && !is_one_of(cast, &[Keyword::AS]) {
        return None;
    }
    let name = name.iter().take(MAX_NAME).cloned().collect();
    match Parser::new(&PostgreSqlDialect {}).with_tokens(name).parse_data_type().ok()? {
        DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)) => Some(types::called(&of).unwrap_or(types::TEXT)),
        _ => None,
    }
}

/// Whether what stands before a parameter compares with it as an array.
fn is_compared_with(before: &[Token]) -> bool {
    let mut before = before.iter().rev().peekable();
    let mut is_open = false;
    while before.next_if(|token| matches!(token, Token::LParen) || is_one_of(token, &[Keyword::CAST])).is_some() {
        is_open = true;
    }
    is_open && before.next().is_some_and(|token| is_one_of(token, &[Keyword::ANY, Keyword::SOME, Keyword::ALL]))
}

fn is_one_of(token: &Token, words: &[Keyword]) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && words.contains(&word.keyword))
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
        let check = |sql: &str, wanted: &[(usize, Option<&'static str>)]| {
            let known = parameters(sql).into_iter().map(|(number, of)| (number, of.map(|of| of.name)));
            assert_eq!(known.collect::<HashMap<_, _>>(), wanted.iter().copied().collect::<HashMap<_, _>>(), "{sql}");
        };
        check(
            "SELECT a FROM t WHERE a = ANY($1) AND b = any ( $12::text[] ) AND c <> ALL($3)",
            &[(1, None), (12, Some("text")), (3, None)],
        );
        check("SELECT a FROM t WHERE a = ANY(CAST($2 AS bigint[])) AND b = $1", &[(2, Some("int8"))]);
        check("SELECT a FROM t WHERE $1::int[] IS NULL OR a = ANY($1)", &[(1, Some("int4"))]);
        check("SELECT a FROM t WHERE a = ANY($1) OR a <> ALL(($1)) OR b = some($2)", &[(1, None), (2, None)]);
        check(
            "SELECT $1::timestamp(3) with time zone[], $2::\"pg_catalog\".oid[]",
            &[(1, Some("timestamptz")), (2, Some("oid"))],
        );
        check("SELECT a FROM t WHERE a = ANY($1::mood[])", &[(1, Some("text"))]);
        check("SELECT a AS \"any\", $1::int, $2 AS date, ($3) FROM t WHERE a = $1 -- any($1)", &[]);
        check("SELECT 'any($1)", &[]);
    }
}
