//! Messages as tables: each type says which tag each of its fields has, and that is how it is written and read.
//!
//! `message!` is for structs, `choice!` for enums whose variants carry something (a Protobuf `oneof`), `enumeration!` for
//! enums of names. A variant or field that is added to a type without a tag does not compile.

use prost::{
    bytes::Buf as _,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint},
};

use super::WireError;

/// A type that stands for a Protobuf message.
pub(super) trait Message: Sized {
    /// Appends its fields.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it from exactly these bytes.
    fn read(body: &[u8]) -> Result<Self, WireError>;
}

/// What stands behind a tag.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// A number of variable length.
    Varint(u64),
    /// A number of eight bytes.
    Fixed(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes, which no field of ours has.
    Other,
}

/// The fields of a message, in the order they stand.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of `body`, which is a `message`.
    pub(super) const fn of(body: &'a [u8], message: &'static str) -> Self {
        Self { rest: body, message }
    }

    /// The next tag and its value; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let malformed = |_| WireError::Malformed(self.message);
        let (tag, wire_type) = decode_key(&mut self.rest).map_err(malformed)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.rest).map_err(malformed)?),
            WireType::SixtyFourBit => {
                Value::Fixed(self.rest.try_get_u64_le().map_err(|_| WireError::Malformed(self.message))?)
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.rest).map_err(malformed)?;
                Value::Bytes(self.take(length)?)
            }
            WireType::ThirtyTwoBit => {
                self.take(4)?;
                Value::Other
            }
            WireType::StartGroup | WireType::EndGroup => return Err(WireError::Malformed(self.message)),
        };
        Ok(Some((tag, value)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or(WireError::Malformed(self.message))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Appends a message within a message. Its length is known only afterwards, and mostly fits the one byte left for it.
pub(super) fn put_message(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if let (Ok(short @ 0..0x80), Some(byte)) = (u8::try_from(length), out.get_mut(at)) {
        *byte = short;
    } else {
        let mut prefix = Vec::with_capacity(5);
        encode_varint(length as u64, &mut prefix);
        out.splice(at..=at, prefix);
    }
}

/// Implements `Message` and `Field` for a struct: `Struct { tag field, … }`.
macro_rules! message {
    ($name:ident { $($tag:literal $field:ident),* $(,)? }) => {
        impl $crate::wire::message::Message for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::wire::field::put(&self.$field, $tag, out);)*
            }

            fn read(body: &[u8]) -> Result<Self, $crate::wire::WireError> {
                use $crate::wire::{field::Field, message::Fields};
                let mut fields = Fields::of(body, stringify!($name));
                $(let mut $field = None;)*
                while let Some((tag, value)) = fields.next()? {
                    match tag {
                        $($tag => Field::add(&mut $field, value, concat!(stringify!($name), ".", stringify!($field)))?,)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: $field.map_or_else(
                        || Field::absent(concat!(stringify!($name), ".", stringify!($field))), Ok,
                    )?,)*
                })
            }
        }

        $crate::wire::message::message_field!($name);
    };
}

/// Implements `Message` and `Field` for an enum whose variants each carry one value: `Enum { tag Variant, … }`.
macro_rules! choice {
    ($name:ident { $($tag:literal $variant:ident),* $(,)? }) => {
        impl $crate::wire::message::Message for $name {
            fn write(&self, out: &mut Vec<u8>) {
                use $crate::wire::field::Field as _;
                match self {
                    $(Self::$variant(value) => value.put($tag, out),)*
                }
            }

            fn read(body: &[u8]) -> Result<Self, $crate::wire::WireError> {
                use $crate::wire::{WireError, message::Fields};
                let mut fields = Fields::of(body, stringify!($name));
                let mut chosen = None;
                while let Some((tag, value)) = fields.next()? {
                    match tag {
                        $($tag => {
                            let value = $crate::wire::field::get(value, concat!(stringify!($name), ".", stringify!($variant)))?;
                            chosen = Some(Self::$variant(value));
                        })*
                        _ => {}
                    }
                }
                chosen.ok_or(WireError::Unknown { field: stringify!($name), value: 0 })
            }
        }

        $crate::wire::message::message_field!($name);
    };
}

/// Implements `Field` for an enum of names: `Enum { number Variant, … }`. Zero is nobody's number.
macro_rules! enumeration {
    ($name:ident { $($number:literal $variant:ident),* $(,)? }) => {
        impl $crate::wire::field::Field for $name {
            fn put(&self, tag: u32, out: &mut Vec<u8>) {
                let number: u64 = match self {
                    $(Self::$variant => $number,)*
                };
                number.put(tag, out);
            }

            fn get(
                value: $crate::wire::message::Value<'_>, field: &'static str,
            ) -> Result<Self, $crate::wire::WireError> {
                match u64::get(value, field)? {
                    $($number => Ok(Self::$variant),)*
                    value => Err($crate::wire::WireError::Unknown { field, value }),
                }
            }
        }
    };
}

/// Lets a message stand as a field of another.
macro_rules! message_field {
    ($name:ty) => {
        impl $crate::wire::field::Field for $name {
            fn put(&self, tag: u32, out: &mut Vec<u8>) {
                $crate::wire::message::put_message(tag, out, |out| $crate::wire::message::Message::write(self, out));
            }

            fn get(
                value: $crate::wire::message::Value<'_>,
                field: &'static str,
            ) -> Result<Self, $crate::wire::WireError> {
                match value {
                    $crate::wire::message::Value::Bytes(body) => $crate::wire::message::Message::read(body),
                    _ => Err($crate::wire::WireError::WrongType(field)),
                }
            }
        }
    };
}

pub(super) use {choice, enumeration, message, message_field};
