//! What a field of a message can be: numbers, text, ids, amounts, and lists of them.
//!
//! What is zero or empty is not written and reads back as such; an id, an amount that may be absent, an enum and a message
//! are never taken for zero.

use std::sync::Arc;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::{WireError, message::Value};
use crate::{
    error_code::ErrorCode,
    id::{BookHash, CallId, ClaimId, InstanceId, Lane, LimitId, Offset, ProducerId, Seq},
    limit::Share,
    money::Pico,
    time::Time,
};

/// A type that can stand as a field.
pub(super) trait Field: Sized {
    /// Whether it is written at all where the contract gives it no presence of its own.
    fn stands(&self) -> bool {
        true
    }

    /// Appends its tag and value.
    fn put(&self, tag: u32, out: &mut Vec<u8>);

    /// Reads it from one value.
    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError>;

    /// Takes one more occurrence of the field: the last one counts, unless it is a list.
    fn add(slot: &mut Option<Self>, value: Value<'_>, field: &'static str) -> Result<(), WireError> {
        *slot = Some(Self::get(value, field)?);
        Ok(())
    }

    /// What it is if it does not stand in the message.
    fn absent(field: &'static str) -> Result<Self, WireError> {
        Err(WireError::Missing(field))
    }
}

/// Appends a field where it stands.
pub(super) fn put(value: &impl Field, tag: u32, out: &mut Vec<u8>) {
    if value.stands() {
        value.put(tag, out);
    }
}

/// [`Field::get`] of the type that the caller needs.
pub(super) fn get<F: Field>(value: Value<'_>, field: &'static str) -> Result<F, WireError> {
    F::get(value, field)
}

fn bytes<'a>(value: Value<'a>, field: &'static str) -> Result<&'a [u8], WireError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(WireError::WrongType(field)),
    }
}

fn text<'a>(value: Value<'a>, field: &'static str) -> Result<&'a str, WireError> {
    str::from_utf8(bytes(value, field)?).map_err(|_| WireError::BadText(field))
}

fn array<const N: usize>(value: Value<'_>, field: &'static str) -> Result<[u8; N], WireError> {
    bytes(value, field)?.try_into().map_err(|_| WireError::OutOfRange(field))
}

pub(super) fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

impl Field for u64 {
    fn stands(&self) -> bool {
        *self != 0
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        encode_key(tag, WireType::Varint, out);
        encode_varint(*self, out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        match value {
            Value::Varint(number) => Ok(number),
            _ => Err(WireError::WrongType(field)),
        }
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(0)
    }
}

/// Fields that travel as a plain number.
macro_rules! number {
    ($($name:ty: $value:ident => $out:expr, $number:ident => $in:expr;)*) => {
        $(impl Field for $name {
            fn stands(&self) -> bool {
                let $value = self;
                $out != 0
            }

            fn put(&self, tag: u32, out: &mut Vec<u8>) {
                let $value = self;
                $out.put(tag, out);
            }

            fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
                let $number = u64::get(value, field)?;
                $in.ok_or(WireError::OutOfRange(field))
            }

            fn absent(_: &'static str) -> Result<Self, WireError> {
                let $number = 0_u64;
                $in.ok_or(WireError::OutOfRange(stringify!($name)))
            }
        })*
    };
}

number! {
    u16: value => u64::from(*value), number => Self::try_from(number).ok();
    u32: value => u64::from(*value), number => Self::try_from(number).ok();
    bool: value => u64::from(*value), number => Some(number != 0);
    Share: value => u64::from(value.0), number => u32::try_from(number).ok().map(Self);
    Lane: value => u64::from(value.0), number => u16::try_from(number).ok().map(Self);
    Seq: value => value.0, number => Some(Self(number));
    Offset: value => value.0, number => Some(Self(number));
}

/// Microseconds need most of eight bytes, so they travel as eight.
impl Field for Time {
    fn stands(&self) -> bool {
        *self != Self::ZERO
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        encode_key(tag, WireType::SixtyFourBit, out);
        out.extend_from_slice(&self.as_micros().to_le_bytes());
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        match value {
            Value::Fixed(bits) => Ok(Self::from_micros(bits.cast_signed())),
            _ => Err(WireError::WrongType(field)),
        }
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(Self::ZERO)
    }
}

/// An amount travels as big-endian two's complement in as few bytes as hold it; zero needs none.
impl Field for i128 {
    fn stands(&self) -> bool {
        *self != 0
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        let bytes = self.to_be_bytes();
        let redundant_bits = if *self < 0 { self.leading_ones() } else { self.leading_zeros() };
        // One bit has to stay for the sign.
        let spare = if *self == 0 { bytes.len() } else { redundant_bits.saturating_sub(1) as usize / 8 };
        put_bytes(tag, bytes.get(spare..).unwrap_or_default(), out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        let bytes = bytes(value, field)?;
        if bytes.len() > size_of::<Self>() {
            return Err(WireError::OutOfRange(field));
        }
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        Ok(bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| value << 8 | Self::from(*byte)))
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(0)
    }
}

impl Field for Pico {
    fn stands(&self) -> bool {
        self.0.stands()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        self.0.put(tag, out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        i128::get(value, field).map(Self)
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(Self(0))
    }
}

impl Field for String {
    fn stands(&self) -> bool {
        !self.is_empty()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        put_bytes(tag, self.as_bytes(), out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        text(value, field).map(Self::from)
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(Self::new())
    }
}

impl Field for Arc<str> {
    fn stands(&self) -> bool {
        !self.is_empty()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        put_bytes(tag, self.as_bytes(), out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        text(value, field).map(Self::from)
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok("".into())
    }
}

/// Ids: a fixed number of bytes, and never absent.
macro_rules! id {
    ($($name:ty: $value:ident => $bytes:expr, $from:expr;)*) => {
        $(impl Field for $name {
            fn put(&self, tag: u32, out: &mut Vec<u8>) {
                let $value = self;
                put_bytes(tag, $bytes, out);
            }

            fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
                array(value, field).map($from)
            }
        })*
    };
}

id! {
    CallId: id => id.as_bytes(), Self::from_bytes;
    ProducerId: id => id.as_bytes(), Self::from_bytes;
    BookHash: id => &id.0, Self;
    LimitId: id => &id.0, Self;
    InstanceId: id => &id.0, Self;
    ClaimId: id => &id.0, Self;
}

impl Field for ErrorCode {
    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        put_bytes(tag, self.code().as_bytes(), out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        let text = text(value, field)?;
        Self::ALL.iter().copied().find(|code| code.code() == text).ok_or(WireError::BadText(field))
    }
}

impl<F: Field> Field for Option<F> {
    fn stands(&self) -> bool {
        self.is_some()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put(tag, out);
        }
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        F::get(value, field).map(Some)
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(None)
    }
}

impl<F: Field> Field for Vec<F> {
    fn stands(&self) -> bool {
        !self.is_empty()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        for value in self {
            value.put(tag, out);
        }
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        Ok(vec![F::get(value, field)?])
    }

    fn add(slot: &mut Option<Self>, value: Value<'_>, field: &'static str) -> Result<(), WireError> {
        slot.get_or_insert_default().push(F::get(value, field)?);
        Ok(())
    }

    fn absent(_: &'static str) -> Result<Self, WireError> {
        Ok(Self::new())
    }
}

impl<F: Field> Field for Box<F> {
    fn stands(&self) -> bool {
        (**self).stands()
    }

    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        (**self).put(tag, out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        F::get(value, field).map(Self::new)
    }
}

impl<F: Field> Field for Arc<F> {
    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        (**self).put(tag, out);
    }

    fn get(value: Value<'_>, field: &'static str) -> Result<Self, WireError> {
        F::get(value, field).map(Self::new)
    }
}
