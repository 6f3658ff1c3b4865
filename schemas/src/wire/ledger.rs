//! The tables of `ledger.proto`: what metering writes.

use std::sync::Arc;

use super::{
    WireError,
    field::{Field, put},
    message::{Fields, Message, choice, enumeration, message, message_field, put_message},
};

use crate::{
    ledger::{
        Adjusted, Alarm, AlarmKind, Alerted, Begun, BookInForce, Changed, Charge, Charged, Corrected, Entry, Fact,
        Heard, KeyInForce, KeysInForce, Late, LimitsInForce, Overrun, Rated, Unpriced,
    },
    money::Pico,
};

message!(Entry { 1 recorded_at, 2 fact });

choice!(Fact {
    1 Admitted,
    2 Streamed,
    3 Charged,
    4 Refused,
    5 Balance,
    6 Limits,
    7 Book,
    8 Heard,
    9 Overrun,
    10 Alarm,
    11 Corrected,
    12 Adjusted,
    13 Alerted,
    14 Keys,
    15 Changed,
});

message!(Begun { 1 attempt, 2 holds, 3 producer });

message!(Charged { 1 settled, 2 charges });

message!(Corrected { 1 source, 2 id, 3 was, 4 reversed, 5 charged });

message!(Adjusted { 1 source, 2 id, 3 call, 4 attempt, 5 posted, 6 gone, 7 late });

message!(Late { 1 limit, 2 values, 3 start, 4 end, 5 amount });

message!(Charge { 1 model, 2 class, 3 quantity, 4 price });

message!(LimitsInForce { 1 policy, 2 limits });

message!(KeysInForce { 1 policy, 2 keys });

message!(KeyInForce { 1 subject, 2 expires, 3 disabled, 4 models, 5 former_until, 6 corrects });

message!(Changed { 1 policy, 2 at, 3 by, 4 kind, 5 tenant, 6 name, 7 detail, 8 refused });

message!(BookInForce { 1 policy, 2 book });

message!(Heard { 1 producer, 2 gateway, 3 at, 4 low_watermark, 5 closed });

message!(Overrun { 1 instance, 2 window, 3 amount, 4 settled, 5 limit, 6 values, 7 until, 8 held });

message!(Alerted { 1 instance, 2 limit, 3 values, 4 window, 5 until, 6 share, 7 amount, 8 settled, 9 held });

message!(Alarm { 1 producer, 2 seq, 3 kind, 4 detail });

enumeration!(Unpriced {
    1 UnknownModel,
    2 UnknownClass,
    3 OutsideValidity,
    4 UnknownTier,
    5 TooLarge,
    6 UnknownBook,
    7 UnknownApi,
});

enumeration!(AlarmKind { 1 Poisoned, 2 Conflict, 3 Forked, 4 Stale, 5 Lost });

struct Priced {
    unit_price: Pico,
    cost: Pico,
    price_id: Arc<str>,
    source: Arc<str>,
}

message!(Priced { 1 unit_price, 2 cost, 3 price_id, 4 source });

impl Message for Rated {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Priced { unit_price, cost, price_id, source } => put_message(1, out, |out| {
                put(unit_price, 1, out);
                put(cost, 2, out);
                put(price_id, 3, out);
                put(source, 4, out);
            }),
            Self::Unpriced(why) => why.put(2, out),
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Rated");
        let mut chosen = None;
        while let Some((tag, value)) = fields.next()? {
            chosen = match tag {
                1 => {
                    let Priced { unit_price, cost, price_id, source } = Priced::get(value, "Rated.priced")?;
                    Some(Self::Priced { unit_price, cost, price_id, source })
                }
                2 => Some(Self::Unpriced(Unpriced::get(value, "Rated.unpriced")?)),
                _ => chosen,
            };
        }
        chosen.ok_or(WireError::Unknown { field: "Rated", value: 0 })
    }
}

message_field!(Rated);
