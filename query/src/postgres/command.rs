//! What a session does itself: settings, transactions, of which there is nothing to do, and cursors. Everything else is for the engine.
//!
//! Pure: text → commands. Nothing that a client sets reaches the engine's own configuration.

use std::num::NonZeroU32;

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use super::error::Wrong;

/// The longest text of a message, and the most statements in it.
const MAX_BYTES: usize = 256 << 10;
const MAX_STATEMENTS: usize = 100;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing.
    Empty,
    /// For the engine.
    Query(String),
    /// A transaction begins.
    Begin,
    /// It ends; whether as it should.
    End {
        /// Whether what it did is kept.
        commit: bool,
    },
    /// A transaction goes back to a point before it failed.
    Back,
    /// What has no effect, and is called this when it is done.
    Nothing(&'static str),
    /// Puts a setting at a value, or back at its default.
    Set(String, Option<String>),
    /// Puts all settings back.
    ResetAll,
    /// Shows a setting.
    Show(String),
    /// Makes a cursor of a query for the engine.
    Declare {
        /// What it is called.
        name: String,
        /// The query.
        sql: String,
        /// Whether its rows are in binary.
        binary: bool,
    },
    /// Takes rows of a cursor.
    Fetch {
        /// Which.
        name: String,
        /// How many at most; nothing for all.
        rows: Option<NonZeroU32>,
    },
    /// Closes a cursor, or all.
    Close(Option<String>),
    /// Forgets a prepared statement, or all.
    Deallocate(Option<String>),
    /// Puts all back, and forgets all.
    Discard,
}

impl Command {
    /// What it has for the engine.
    pub(super) fn sql(&self) -> Option<&str> {
        match self {
            Self::Query(sql) | Self::Declare { sql, .. } => Some(sql),
            _ => None,
        }
    }
}

/// The statements of a message.
pub(super) fn commands(sql: &str) -> Result<Vec<Command>, Wrong> {
    let syntax = |why: String| Wrong::new("42601", why);
    if sql.len() > MAX_BYTES {
        return Err(Wrong::new("54000", format!("a message may have {MAX_BYTES} bytes of statements")));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(format!("syntax error: {error}")))?;
    let mut texts = parts(sql, &tokens).into_iter();
    let (mut all, mut next) = (Vec::new(), 0);
    for part in tokens.split(|token| token.token == Token::SemiColon) {
        let text = texts.next().unwrap_or_default();
        let begin = next;
        next += text.len() + 1;
        let words: Vec<&Token> =
            part.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        if words.is_empty() {
            continue;
        }
        if all.len() == MAX_STATEMENTS {
            return Err(Wrong::new("54000", format!("a message may have {MAX_STATEMENTS} statements")));
        }
        if let [first, ..] = words.as_slice()
            && first.to_string().eq_ignore_ascii_case("declare")
        {
            let shown: Vec<&TokenWithSpan> =
                part.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
            let query = |start| offset(sql, start).and_then(|at| text.get(at.checked_sub(begin)?..));
            all.push(declare(&words, |at| shown.get(at).and_then(|token| query(token.span.start)))?);
            continue;
        }
        all.push(match command(&words)? {
            Some(command) => command,
            None => Command::Query(text.trim().to_owned()),
        });
    }
    if all.is_empty() {
        all.push(Command::Empty);
    }
    Ok(all)
}

/// What stands between semicolons, as it stands: tokens do not say how they were written.
fn parts<'a>(sql: &'a str, tokens: &[TokenWithSpan]) -> Vec<&'a str> {
    let ends = tokens.iter().filter(|token| token.token == Token::SemiColon).map(|token| token.span.start);
    let mut ends = ends.map(|start| (start.line, start.column)).peekable();
    let (mut parts, mut begin, mut line, mut column) = (Vec::new(), 0, 1, 1);
    for (at, letter) in sql.char_indices() {
        if ends.next_if_eq(&(line, column)).is_some() {
            parts.push(sql.get(begin..at).unwrap_or_default());
            begin = at + 1;
        }
        (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    parts.push(sql.get(begin..).unwrap_or_default());
    parts
}

/// Where a place is in a text, in bytes.
fn offset(sql: &str, place: Location) -> Option<usize> {
    let (mut line, mut column) = (1, 1);
    for (at, letter) in sql.char_indices() {
        if (line, column) == (place.line, place.column) {
            return Some(at);
        }
        (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    None
}

/// What this protocol has for what is no query, and what parsers do not take for a statement at all.
const OTHERS: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "checkpoint",
    "cluster",
    "comment",
    "copy",
    "create",
    "delete",
    "do",
    "drop",
    "execute",
    "grant",
    "import",
    "insert",
    "listen",
    "load",
    "lock",
    "merge",
    "move",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "revoke",
    "security",
    "truncate",
    "update",
    "vacuum",
];

/// What is the session's own.
fn command(words: &[&Token]) -> Result<Option<Command>, Wrong> {
    let word = |at: usize| words.get(at).map(|token| token.to_string().to_lowercase()).unwrap_or_default();
    Ok(Some(match word(0).as_str() {
        "begin" | "start" => Command::Begin,
        "commit" | "end" => Command::End { commit: true },
        "abort" => Command::End { commit: false },
        "rollback" if word(1) == "to" || word(2) == "to" => Command::Back,
        "rollback" => Command::End { commit: false },
        "savepoint" => Command::Nothing("SAVEPOINT"),
        "release" => Command::Nothing("RELEASE"),
        "unlisten" => Command::Nothing("UNLISTEN"),
        "close" if word(1) == "all" => Command::Close(None),
        "close" => Command::Close(Some(words.get(1).map(|name| folded(name)).unwrap_or_default())),
        "fetch" => fetch(words.get(1..).unwrap_or(&[]))?,
        "discard" => Command::Discard,
        "deallocate" => {
            let name = if word(1) == "prepare" { words.get(2) } else { words.get(1) };
            Command::Deallocate(name.map(|name| bare(name)).filter(|name| !name.eq_ignore_ascii_case("all")))
        }
        "reset" if word(1) == "all" => Command::ResetAll,
        "reset" if word(1) == "time" => Command::Set("timezone".into(), None),
        "reset" => Command::Set(name(words.get(1..).unwrap_or(&[])), None),
        "show" => show(words.get(1..).unwrap_or(&[])),
        "set" => return set(words.get(1..).unwrap_or(&[])).map(Some),
        other if OTHERS.contains(&other) => {
            let what = other.to_uppercase();
            return Err(Wrong::new("0A000", format!("{what} is not allowed: only queries are, and settings")));
        }
        _ => return Ok(None),
    }))
}

/// `DECLARE name [NO SCROLL] CURSOR FOR query`, where `query` gives the text from a word on.
fn declare<'a>(words: &[&Token], query: impl FnOnce(usize) -> Option<&'a str>) -> Result<Command, Wrong> {
    let word = |at: usize| words.get(at).map(|token| token.to_string().to_lowercase()).unwrap_or_default();
    let syntax = || Wrong::new("42601", "syntax error: write DECLARE name CURSOR FOR SELECT …");
    let cursor = (2..words.len()).find(|at| word(*at) == "cursor").ok_or_else(syntax)?;
    let how: Vec<String> = (2..cursor).map(word).collect();
    let plain = |one: &&str| !["binary", "asensitive", "insensitive"].contains(one);
    match how.iter().map(String::as_str).filter(plain).collect::<Vec<_>>().as_slice() {
        [] | ["no", "scroll"] => {}
        ["scroll"] => return Err(forward()),
        _ => return Err(syntax()),
    }
    let next = match (word(cursor + 1).as_str(), word(cursor + 2).as_str()) {
        ("with", "hold") => {
            return Err(Wrong::new("0A000", "WITH HOLD is not supported: a cursor ends with its transaction"));
        }
        ("without", "hold") => cursor + 3,
        _ => cursor + 1,
    };
    let sql = query(next + 1).filter(|_| word(next) == "for").ok_or_else(syntax)?.trim().to_owned();
    let name = words.get(1).map(|name| folded(name)).unwrap_or_default();
    Ok(Command::Declare { name, sql, binary: how.iter().any(|one| one == "binary") })
}

/// What follows `FETCH`.
fn fetch(words: &[&Token]) -> Result<Command, Wrong> {
    let Some((name, before)) = words.split_last() else {
        return Err(Wrong::new("42601", "syntax error: write FETCH FORWARD 100 FROM name"));
    };
    let how: Vec<String> = before.iter().map(|token| token.to_string().to_lowercase()).collect();
    let how: Vec<&str> = how.iter().map(String::as_str).collect();
    let how = match how.as_slice() {
        [how @ .., "from" | "in"] => how,
        how => how,
    };
    let rows = match how {
        [] | ["next" | "forward"] => Some(NonZeroU32::MIN),
        ["all"] | ["forward", "all"] => None,
        [number] | ["forward", number] => Some(number.parse().map_err(|_| forward())?),
        _ => return Err(forward()),
    };
    Ok(Command::Fetch { name: folded(name), rows })
}

fn forward() -> Wrong {
    Wrong::new("0A000", "a cursor goes forward only: write FETCH FORWARD 100 FROM name")
}

fn show(words: &[&Token]) -> Command {
    let text = words.iter().map(|word| word.to_string().to_lowercase()).collect::<Vec<_>>().join(" ");
    Command::Show(match text.as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        _ => name(words),
    })
}

fn set(words: &[&Token]) -> Result<Command, Wrong> {
    let word = |at: usize| words.get(at).map(|token| token.to_string().to_lowercase()).unwrap_or_default();
    let rest = match word(0).as_str() {
        "session" if word(1) == "characteristics" => return Ok(Command::Nothing("SET")),
        "session" if word(1) == "authorization" => return Err(not_allowed("SET SESSION AUTHORIZATION")),
        "session" | "local" => words.get(1..).unwrap_or(&[]),
        "transaction" => return Ok(Command::Nothing("SET")),
        "role" => return Err(not_allowed("SET ROLE")),
        _ => words,
    };
    let first = rest.first().map(|token| token.to_string().to_lowercase()).unwrap_or_default();
    let (name, values) = match first.as_str() {
        "time" => ("timezone".to_owned(), rest.get(2..)),
        "names" => ("client_encoding".to_owned(), rest.get(1..)),
        _ => {
            let at = rest.iter().position(|token| **token == Token::Eq || token.to_string().eq_ignore_ascii_case("to"));
            let at = at.ok_or_else(|| Wrong::new("42601", "syntax error: write SET name = value"))?;
            (name(rest.get(..at).unwrap_or(&[])), rest.get(at + 1..))
        }
    };
    let values: Vec<String> =
        values.unwrap_or(&[]).iter().filter(|token| ***token != Token::Comma).map(|token| bare(token)).collect();
    let value = match values.as_slice() {
        [] => return Err(Wrong::new("42601", "syntax error: a setting without a value")),
        [one] if one.eq_ignore_ascii_case("default") || one.eq_ignore_ascii_case("local") => None,
        // A sign is a token of its own.
        [sign, number] if sign == "-" || sign == "+" => Some(format!("{sign}{number}")),
        all => Some(all.join(", ")),
    };
    Ok(Command::Set(name, value))
}

fn not_allowed(what: &str) -> Wrong {
    Wrong::new("0A000", format!("{what} is not allowed: who you are is what your password says"))
}

/// A name of parts.
fn name(words: &[&Token]) -> String {
    words.iter().map(|word| bare(word).to_lowercase()).collect()
}

/// The name of a cursor: what has no quotes is in lower case.
fn folded(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        other => bare(other),
    }
}

/// A token without its quotes.
fn bare(token: &Token) -> String {
    match token {
        Token::SingleQuotedString(text) => text.replace("''", "'"),
        Token::Word(word) => word.value.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{Command, commands};

    #[test]
    fn what_is_the_sessions_own_is_told_from_what_is_not() {
        let check = |sql: &str, wanted: &[Command]| assert_eq!(commands(sql).unwrap(), wanted, "{sql}");
        let query = |sql: &str| Command::Query(sql.into());
        let set = |name: &str, value: Option<&str>| Command::Set(name.into(), value.map(str::to_owned));
        check("", &[Command::Empty]);
        check(" ; -- nothing\n;", &[Command::Empty]);
        check("SELECT 'a;b', $$c;d$$;select 2 ;", &[query("SELECT 'a;b', $$c;d$$"), query("select 2")]);
        check("SELECT 'it''s', E'a\\'b', \"x\"\"y\"", &[query("SELECT 'it''s', E'a\\'b', \"x\"\"y\"")]);
        check("BEGIN READ ONLY; COMMIT", &[Command::Begin, Command::End { commit: true }]);
        check("START TRANSACTION ISOLATION LEVEL READ COMMITTED", &[Command::Begin]);
        check("ROLLBACK TO SAVEPOINT a", &[Command::Back]);
        check("SET TimeZone TO 'Europe/Zurich'", &[set("timezone", Some("Europe/Zurich"))]);
        check("set session time zone 'UTC'", &[set("timezone", Some("UTC"))]);
        check("SET extra_float_digits = -3", &[set("extra_float_digits", Some("-3"))]);
        check("SET search_path = public, pg_catalog", &[set("search_path", Some("public, pg_catalog"))]);
        check("SET tollgate.rollups = off", &[set("tollgate.rollups", Some("off"))]);
        check("RESET timezone", &[set("timezone", None)]);
        check("SHOW TRANSACTION ISOLATION LEVEL", &[Command::Show("transaction_isolation".into())]);
        check("DEALLOCATE ALL", &[Command::Deallocate(None)]);
        check("DEALLOCATE \"_pg3_0\"", &[Command::Deallocate(Some("_pg3_0".into()))]);
        let declare = |name: &str, sql: &str, binary| Command::Declare { name: name.into(), sql: sql.into(), binary };
        let fetch = |name: &str, rows| Command::Fetch { name: name.into(), rows: NonZeroU32::new(rows) };
        check("DECLARE \"c 1\" CURSOR FOR SELECT 'for;', é ", &[declare("c 1", "SELECT 'for;', é", false)]);
        check(
            "BEGIN;\n-- é\n declare C binary no scroll cursor without hold\nfor SELECT\n 1; fetch 5 in C",
            &[Command::Begin, declare("c", "SELECT\n 1", true), fetch("c", 5)],
        );
        check("FETCH FORWARD 100 FROM \"C\"; FETCH c", &[fetch("C", 100), fetch("c", 1)]);
        check("FETCH FORWARD ALL FROM c; FETCH NEXT c; FETCH ALL IN c", &[fetch("c", 0), fetch("c", 1), fetch("c", 0)]);
        check("CLOSE c; CLOSE ALL", &[Command::Close(Some("c".into())), Command::Close(None)]);
        for (sql, state) in [
            ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "0A000"),
            ("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000"),
            ("DECLARE c CURSOR", "42601"),
            ("DECLARE c CURSOR FOR", "42601"),
            ("DECLARE c odd CURSOR FOR SELECT 1", "42601"),
            ("FETCH", "42601"),
            ("FETCH 0 FROM c", "0A000"),
            ("FETCH -1 FROM c", "0A000"),
            ("FETCH PRIOR FROM c", "0A000"),
        ] {
            assert_eq!(commands(sql).unwrap_err().state, state, "{sql}");
        }
        check("SETTLED", &[query("SETTLED")]);
        check("SELECT 'é;\n', 'x' ;\n SELECT\n E'\\\\' ;", &[query("SELECT 'é;\n', 'x'"), query("SELECT\n E'\\\\'")]);
        for sql in ["SET ROLE postgres", "SET x", "SELECT 'open", "COPY usage TO STDOUT", "SELECT 1; LISTEN x"] {
            assert!(commands(sql).is_err(), "{sql}");
        }
    }
}
