//! The messages of the Postgres protocol, version 3: what clients say, read with every length checked, and what they are told.
//!
//! Written here because the library that there is for it (`pgwire` 0.42) reads beyond the end of a message, panics on one that is too
//! short, and takes up to 1 GiB of it before anybody has shown a password.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most bytes of a message before somebody is let in.
pub(super) const MAX_OPENING: usize = 10_000;

/// The most bytes of a message: some statements of 64 KiB, or some hundred parameters of 1 KiB.
pub(super) const MAX_MESSAGE: usize = 512 << 10;

/// The most entries of a list in a message.
const MAX_ENTRIES: usize = 2_000;

/// What stands in the place of a version to ask for something else.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the protocol is malformed: {0}")]
pub struct Malformed(&'static str);

/// A message that is longer than one may be, of which nothing but its length was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {length} bytes; {max} are allowed")]
pub(super) struct TooLong {
    pub(super) length: usize,
    max: usize,
}

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It asks for TLS.
    Tls,
    /// It asks for Kerberos.
    Gss,
    /// It asks that the query of another connection be ended.
    Cancel {
        /// Which connection.
        pid: u32,
        /// The proof that it may.
        secret: u32,
    },
    /// It begins a session.
    Start {
        /// The minor version of the protocol.
        minor: u16,
        /// What it says of itself.
        parameters: Vec<(String, String)>,
    },
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the protocol")]
pub enum Said {
    Password(String),
    Query(String),
    Parse {
        statement: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind {
        portal: String,
        statement: String,
        formats: Vec<i16>,
        values: Vec<Option<Bytes>>,
        results: Vec<i16>,
    },
    DescribeStatement(String),
    DescribePortal(String),
    Execute {
        portal: String,
        most: u32,
    },
    CloseStatement(String),
    ClosePortal(String),
    Flush,
    Sync,
    Terminate,
    /// One that nothing here asks for.
    Other(u8),
}

/// Reads the first message of a connection, or the next if that was a question only.
pub(super) async fn read_opening(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Opening> {
    let body = read_body(stream, MAX_OPENING).await?;
    opening(body).map_err(io::Error::other)
}

/// Reads a message.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Said> {
    let kind = stream.read_u8().await?;
    let body = read_body(stream, max).await?;
    said(kind, body).map_err(io::Error::other)
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Bytes> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > max {
        return Err(io::Error::other(TooLong { length, max }));
    }
    let Some(bytes) = length.checked_sub(4) else {
        return Err(io::Error::other(Malformed("it is shorter than its length")));
    };
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body).await?;
    Ok(body.into())
}

/// What a connection begins with, from the bytes after the length.
pub fn opening(body: Bytes) -> Result<Opening, Malformed> {
    let mut body = Body(body);
    let version = body.u32()?;
    let opening = match version {
        TLS => Opening::Tls,
        GSS => Opening::Gss,
        CANCEL => Opening::Cancel { pid: body.u32()?, secret: body.u32()? },
        _ if version >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                let name = body.text()?;
                if name.is_empty() {
                    break;
                }
                parameters.push((name, body.text()?));
            }
            Opening::Start { minor: (version & 0xffff) as u16, parameters }
        }
        _ => return Err(Malformed("a version of the protocol that is not 3")),
    };
    body.end(opening)
}

/// What a client says, from the bytes after the length.
pub fn said(kind: u8, body: Bytes) -> Result<Said, Malformed> {
    let mut body = Body(body);
    let said = match kind {
        b'p' => Said::Password(body.text()?),
        b'Q' => Said::Query(body.text()?),
        b'P' => Said::Parse { statement: body.text()?, sql: body.text()?, types: body.list(Body::u32)? },
        b'B' => Said::Bind {
            portal: body.text()?,
            statement: body.text()?,
            formats: body.list(Body::i16)?,
            values: body.list(Body::value)?,
            results: body.list(Body::i16)?,
        },
        b'D' | b'C' => {
            let of = body.u8()?;
            let name = body.text()?;
            match (kind, of) {
                (b'D', b'S') => Said::DescribeStatement(name),
                (b'D', b'P') => Said::DescribePortal(name),
                (b'C', b'S') => Said::CloseStatement(name),
                (b'C', b'P') => Said::ClosePortal(name),
                _ => return Err(Malformed("neither a statement nor a portal")),
            }
        }
        b'E' => Said::Execute { portal: body.text()?, most: body.u32()? },
        b'H' => Said::Flush,
        b'S' => Said::Sync,
        b'X' => Said::Terminate,
        other => return Ok(Said::Other(other)),
    };
    body.end(said)
}

/// The rest of a message.
struct Body(Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length {
            return Err(Malformed("it is too short"));
        }
        Ok(self.0.split_to(length))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.get_u8())
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(self.take(2)?.get_i16())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(self.take(4)?.get_u32())
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed("a text has no end"))?;
        let text = self.take(end)?;
        self.0.advance(1);
        String::from_utf8(text.into()).map_err(|_| Malformed("a text is not UTF-8"))
    }

    fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.u32()? {
            u32::MAX => Ok(None),
            length => self.take(usize::try_from(length).unwrap_or(usize::MAX)).map(Some),
        }
    }

    fn list<T>(&mut self, mut entry: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let entries = usize::from(self.take(2)?.get_u16());
        if entries > MAX_ENTRIES {
            return Err(Malformed("a list is too long"));
        }
        (0..entries).map(|_| entry(self)).collect()
    }

    fn end<T>(self, read: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(read) } else { Err(Malformed("something follows its end")) }
    }
}

/// Whether a session is in a transaction, as clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    /// In none.
    None,
    /// In one.
    Open,
    /// In one in which a statement failed.
    Failed,
}

/// A column, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The number of its type, its length, and what more is to be said of it.
    pub(super) oid: u32,
    pub(super) length: i16,
    pub(super) modifier: i32,
}

/// What is told, until it is sent.
#[derive(Debug, Default)]
pub(super) struct Told(pub(super) BytesMut);

impl Told {
    fn message(&mut self, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        sized(&mut self.0, 4, fill);
    }

    /// One that says nothing but what it is.
    pub(super) fn bare(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    /// Of authentication: 0 that it is done, 3 that a password is wanted.
    pub(super) fn authentication(&mut self, step: u32) {
        self.message(b'R', |body| body.put_u32(step));
    }

    pub(super) fn version(&mut self, minor: u16, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.put_u32((3 << 16) | u32::from(minor));
            body.put_u32(unknown.len() as u32);
            unknown.iter().for_each(|name| text(body, name));
        });
    }

    pub(super) fn setting(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            text(body, name);
            text(body, value);
        });
    }

    pub(super) fn key(&mut self, pid: u32, secret: u32) {
        self.message(b'K', |body| {
            body.put_u32(pid);
            body.put_u32(secret);
        });
    }

    pub(super) fn ready(&mut self, transaction: Transaction) {
        let state = match transaction {
            Transaction::None => b'I',
            Transaction::Open => b'T',
            Transaction::Failed => b'E',
        };
        self.message(b'Z', |body| body.put_u8(state));
    }

    /// The columns that follow, each in one of the formats: 0 is text, 1 binary.
    pub(super) fn columns(&mut self, columns: &[Column], formats: &[i16]) {
        self.message(b'T', |body| {
            body.put_u16(columns.len() as u16);
            for (at, column) in columns.iter().enumerate() {
                text(body, &column.name);
                // Of no table that has a number.
                body.put_u32(0);
                body.put_u16(0);
                body.put_u32(column.oid);
                body.put_i16(column.length);
                body.put_i32(column.modifier);
                body.put_i16(format(formats, at));
            }
        });
    }

    pub(super) fn parameters(&mut self, types: &[u32]) {
        self.message(b't', |body| {
            body.put_u16(types.len() as u16);
            types.iter().for_each(|oid| body.put_u32(*oid));
        });
    }

    /// A row of values, each of which is written by `value`, or is NULL if that says so.
    pub(super) fn row<E>(
        &mut self,
        columns: usize,
        mut value: impl FnMut(usize, &mut BytesMut) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut failed = Ok(());
        self.message(b'D', |body| {
            body.put_u16(columns as u16);
            for column in 0..columns {
                let begin = body.len();
                let mut null = false;
                sized(body, 0, |body| match value(column, body) {
                    Ok(there) => null = !there,
                    Err(error) => failed = Err(error),
                });
                if null {
                    body.truncate(begin);
                    body.put_i32(-1);
                }
            }
        });
        failed
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |body| text(body, tag));
    }

    /// An error: how bad, its SQLSTATE, what, and what to do.
    pub(super) fn error(&mut self, severity: &str, state: &str, message: &str, hint: &str) {
        self.message(b'E', |body| {
            let fields = [(b'S', severity), (b'V', severity), (b'C', state), (b'M', message), (b'H', hint)];
            for (field, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
                body.put_u8(*field);
                text(body, value);
            }
            body.put_u8(0);
        });
    }
}

/// The format of a column, where one stands for all and none for text.
pub(super) fn format(formats: &[i16], at: usize) -> i16 {
    match formats {
        [] => 0,
        [all] => *all,
        each => each.get(at).copied().unwrap_or(0),
    }
}

/// Writes what has its length before it; `itself` is what the length counts of its own.
fn sized(body: &mut BytesMut, itself: usize, fill: impl FnOnce(&mut BytesMut)) {
    let at = body.len();
    body.put_u32(0);
    fill(body);
    let length = u32::try_from(body.len() - at - 4 + itself).unwrap_or(u32::MAX);
    if let Some(slot) = body.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

/// Text with its end. A text with a zero byte in it would end there, so it is left out.
fn text(body: &mut BytesMut, text: &str) {
    text.bytes().filter(|byte| *byte != 0).for_each(|byte| body.put_u8(byte));
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Malformed, Opening, Said, Told, opening, said};

    #[test]
    fn messages_are_read_to_their_end_and_no_further() {
        let check = |kind: u8, body: &'static [u8], wanted: Result<Said, &str>| {
            let got = said(kind, Bytes::from_static(body)).map_err(|Malformed(why)| why);
            assert_eq!(got, wanted, "{body:?}");
        };
        check(b'Q', b"SELECT 1\0", Ok(Said::Query("SELECT 1".into())));
        check(b'Q', b"SELECT 1", Err("a text has no end"));
        check(b'Q', b"a\0b", Err("something follows its end"));
        check(b'Q', b"\xff\0", Err("a text is not UTF-8"));
        let parse = Said::Parse { statement: "s".into(), sql: "x".into(), types: vec![23] };
        check(b'P', b"s\0x\0\0\x01\0\0\0\x17", Ok(parse));
        check(b'P', b"s\0x\0\xff\xff", Err("a list is too long"));
        let bind = Said::Bind {
            portal: String::new(),
            statement: "s".into(),
            formats: vec![1],
            values: vec![Some(Bytes::from_static(b"ab")), None],
            results: vec![],
        };
        check(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0", Ok(bind));
        check(b'B', b"\0s\0\0\0\0\x01\0\0\0\x09ab", Err("it is too short"));
        check(b'E', b"p\0\0\0\0\x05", Ok(Said::Execute { portal: "p".into(), most: 5 }));
        check(b'D', b"Xa\0", Err("neither a statement nor a portal"));
        check(b'?', b"anything", Ok(Said::Other(b'?')));
        let start = opening(Bytes::from_static(b"\0\x03\0\0user\0u\0\0")).unwrap();
        assert_eq!(start, Opening::Start { minor: 0, parameters: vec![("user".into(), "u".into())] });
        assert!(opening(Bytes::from_static(b"\0\x02\0\0")).is_err());
    }

    #[test]
    fn rows_say_how_long_each_value_is() {
        let mut told = Told::default();
        let written = told.row(2, |column, body| {
            body.extend_from_slice(b"xy");
            Ok::<_, ()>(column == 0)
        });
        assert_eq!(written, Ok(()));
        assert_eq!(&told.0[..], b"D\0\0\0\x10\0\x02\0\0\0\x02xy\xff\xff\xff\xff");
    }
}
