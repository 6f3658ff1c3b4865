//! A statement, with the values of its parameters: what the handle of a prepared statement is, and what a ticket is.
//!
//! Both are a question and no right to an answer. Whoever sends one shows a token with it and is answered as that token is, so there is
//! nothing to forge, to expire or to clean up: between two calls nothing is kept, and any process that serves questions takes any ticket.

use std::time::Duration;

use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};
use prost::Message;
use tonic::Status;
use uuid::Uuid;

use super::{
    command::{decoded, sql},
    error::wrong,
    message::{Any, FlightData, Handle, Statement, Ticket},
    values::Values,
};
use crate::sql::{MAX_SQL_BYTES, Question};

/// The most bytes of values.
const MAX_VALUES_BYTES: usize = 256 << 10;

/// A statement that is asked, or may be.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Asked {
    #[prost(string, tag = "1")]
    sql: String,
    /// The schema of the values, and a batch of one row of them, as they came; empty where there are none.
    #[prost(bytes = "bytes", tag = "2")]
    schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    header: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    body: Bytes,
    /// Of a ticket: drawn anew for each, by which what runs for it is found. Empty in a prepared statement.
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) id: Bytes,
}

impl Asked {
    /// A statement as it came.
    pub(super) fn of(statement: Statement) -> Result<Self, Status> {
        let sql = sql(statement)?;
        // Before anything reads it.
        let sql = if sql.len() > MAX_SQL_BYTES { sql } else { numbered(&sql).unwrap_or(sql) };
        Ok(Self { sql, ..Self::default() })
    }

    /// The one that a handle is.
    pub(super) fn by(handle: &Bytes) -> Result<Self, Status> {
        let asked: Self = decoded(handle)?;
        asked.bounded()
    }

    /// The same with values for its parameters: what comes of a stream of batches, which has to be a schema and one batch.
    pub(super) fn with(self, schema: FlightData, batch: FlightData) -> Result<Self, Status> {
        let (schema, header, body) = (schema.data_header, batch.data_header, batch.data_body);
        Self { schema, header, body, ..self }.bounded()
    }

    fn bounded(self) -> Result<Self, Status> {
        if self.schema.len() + self.header.len() + self.body.len() > MAX_VALUES_BYTES {
            return Err(wrong(format!("the values of parameters may have {MAX_VALUES_BYTES} bytes")));
        }
        Ok(self)
    }

    /// It as a handle.
    pub(super) fn handle(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// A ticket for its answer.
    pub(super) fn ticket(&self) -> Ticket {
        let asked = Self { id: Bytes::copy_from_slice(Uuid::new_v4().as_bytes()), ..self.clone() };
        Ticket { ticket: Any::of("TicketStatementQuery", &Handle { handle: asked.handle() }) }
    }

    /// It as a question to the engine.
    pub(super) fn question(&self, within: Option<Duration>) -> Question {
        let question = Question::plain(self.sql.clone()).within(within);
        if self.schema.is_empty() {
            return question;
        }
        let values = Values { schema: self.schema.clone(), header: self.header.clone(), body: self.body.clone() };
        question.with(move |known: &[Option<DataType>], zone: &str| values.scalars(known, zone))
    }
}

/// A statement with its parameters numbered, where they are written `?`, as clients of JDBC and ADBC do; nothing where none is.
fn numbered(sql: &str) -> Option<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let mut marks = tokens.iter().flat_map(marks).peekable();
    marks.peek()?;
    let (mut out, mut number) = (String::with_capacity(sql.len() + 16), 0_u32);
    let (mut line, mut column) = (1, 1);
    for letter in sql.chars() {
        if marks.next_if_eq(&(line, column)).is_some() {
            number += 1;
            out.push_str(&format!("${number}"));
        } else {
            out.push(letter);
        }
        (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    Some(out)
}

/// The lines and columns of the marks in a token. With what stands beside it a mark may be an operator elsewhere, as in `?||'%'` or `>=?`,
/// but there is none such here.
fn marks(token: &TokenWithSpan) -> impl Iterator<Item = (u64, u64)> {
    use Token::{
        AtQuestion, CustomBinaryOperator, Question, QuestionAnd, QuestionMarkDash, QuestionMarkDashVerticalBar,
        QuestionMarkDoubleVerticalBar, QuestionMarkSharp, QuestionPipe,
    };
    let text = match &token.token {
        CustomBinaryOperator(operator) => operator.clone(),
        operator @ (AtQuestion | Question | QuestionAnd | QuestionPipe | QuestionMarkDash | QuestionMarkSharp) => {
            operator.to_string()
        }
        operator @ (QuestionMarkDashVerticalBar | QuestionMarkDoubleVerticalBar) => operator.to_string(),
        _ => String::new(),
    };
    let start = token.span.start;
    let letters: Vec<char> = text.chars().collect();
    (start.column..).zip(letters).filter(|(_, letter)| *letter == '?').map(move |(column, _)| (start.line, column))
}

#[cfg(test)]
mod tests {
    #[test]
    fn marks_are_numbered_where_they_stand_for_values() {
        let check = |sql: &str, wanted: Option<&str>| assert_eq!(super::numbered(sql).as_deref(), wanted, "{sql}");
        check("SELECT 1", None);
        check("SELECT $1", None);
        check("SELECT 'who?', \"a?\" -- ?\n /* ? */ FROM t", None);
        check("SELECT ?", Some("SELECT $1"));
        check(
            "SELECT 1 WHERE a>=? AND b>? AND c<? AND d<>? AND e=? AND f!=?-1 AND g<=?",
            Some("SELECT 1 WHERE a>=$1 AND b>$2 AND c<$3 AND d<>$4 AND e=$5 AND f!=$6-1 AND g<=$7"),
        );
        check("SELECT ?||'?', ?-1, ?|| ?", Some("SELECT $1||'?', $2-1, $3|| $4"));
        check(
            "SELECT 'é?', a\nFROM t WHERE b = ?\r\n AND c IN (?,?)",
            Some("SELECT 'é?', a\nFROM t WHERE b = $1\r\n AND c IN ($2,$3)"),
        );
    }
}
