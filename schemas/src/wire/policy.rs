//! The tables of `policy.proto`: limits, and the records of the `policy` topic.
//!
//! A policy and a price book are configuration: they travel as text in a message that says which it is; so do changes.

use super::{
    WireError,
    field::{Field, put_bytes},
    message::{Fields, Message, Value, enumeration, message, message_field, put_message},
};
use crate::{
    limit::{Dimension, Limit, Match, Mode, OnExceed, OnUnbounded, Window},
    policy::Record,
    price::Book,
};

message!(Limit {
    1 name,
    2 scope,
    3 unit,
    4 amount,
    5 window,
    6 zone,
    7 mode,
    8 unbounded,
    9 values,
    10 max_instances,
    11 on_exceed,
    12 slices,
    13 alerts,
    14 backfill,
});

enumeration!(Window { 1 Second, 2 Minute, 3 Hour, 4 Day, 5 Week, 6 Month, 7 Total });

enumeration!(Mode { 1 Hard, 2 Soft, 3 Observe });

enumeration!(OnUnbounded { 1 Hold, 2 Refuse, 3 Admit });

/// One matcher of a scope.
impl Message for (Dimension, Match) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.name().put(1, out);
        match &self.1 {
            Match::Is(value) => value.put(2, out),
            Match::Each => true.put(3, out),
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Matcher");
        let (mut dimension, mut matcher) = (None, None);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {
                    let name = String::get(value, "Matcher.dimension")?;
                    dimension = Some(Dimension::parse(&name).ok_or(WireError::BadText("Matcher.dimension"))?);
                }
                2 => matcher = Some(Match::Is(String::get(value, "Matcher.is")?)),
                3 => matcher = Some(Match::Each),
                _ => {}
            }
        }
        Ok((
            dimension.ok_or(WireError::Missing("Matcher.dimension"))?,
            matcher.ok_or(WireError::Unknown { field: "Matcher", value: 0 })?,
        ))
    }
}

message_field!((Dimension, Match));

/// A refusal is not written.
impl Field for OnExceed {
    fn stands(&self) -> bool {
        *self != Self::Refuse
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        put_message(tag, out, |out| match self {
            Self::Refuse => {}
            Self::Finish => true.put(1, out),
            Self::Downgrade(model) => model.put(2, out),
        });
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        let Value::Bytes(body) = value else { return Err(WireError::WrongType(field)) };
        let (mut fields, mut otherwise) = (Fields::of(body, "OnExceed"), Self::Refuse);
        while let Some((tag, value)) = fields.next()? {
            otherwise = match tag {
                1 => Self::Finish,
                2 => Self::Downgrade(String::get(value, "OnExceed.downgrade")?),
                _ => otherwise,
            };
        }
        Ok(otherwise)
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(Self::Refuse)
    }
}

/// Appends a policy record.
pub(super) fn write(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    match record {
        Record::Book(book) => put_bytes(1, &book.to_bytes(), &mut out),
        // Serializing these types to memory cannot fail: they have neither maps with other keys than text nor own code.
        Record::Policy(policy) => put_bytes(2, &serde_json::to_vec(policy).unwrap_or_default(), &mut out),
        Record::Change(change) => put_bytes(3, &serde_json::to_vec(change).unwrap_or_default(), &mut out),
    }
    out
}

/// Reads a policy record.
pub(super) fn read(body: &[u8]) -> Result<Record, WireError> {
    let mut fields = Fields::of(body, "PolicyRecord");
    let mut chosen = None;
    while let Some((tag, value)) = fields.next()? {
        chosen = match (tag, value) {
            (1, Value::Bytes(book)) => {
                let book = Book::from_bytes(book).map_err(|_| WireError::BadText("PolicyRecord.book"))?;
                Some(Record::Book(Box::new(book)))
            }
            (2, Value::Bytes(policy)) => {
                let policy = serde_json::from_slice(policy).map_err(|_| WireError::BadText("PolicyRecord.policy"))?;
                Some(Record::Policy(policy))
            }
            (3, Value::Bytes(change)) => {
                let change = serde_json::from_slice(change).map_err(|_| WireError::BadText("PolicyRecord.change"))?;
                Some(Record::Change(change))
            }
            _ => chosen,
        };
    }
    chosen.ok_or(WireError::Unknown { field: "PolicyRecord", value: 0 })
}
