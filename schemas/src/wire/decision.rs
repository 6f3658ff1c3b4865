//! The tables of `decision.proto`: keys, and the state under each.

use super::{
    WireError,
    field::{Field, put},
    message::{Fields, Message, choice, message, message_field, put_message},
};
use crate::{
    decision::{Awaited, Claim, Holder, Instance, Key, LaneState, Passed, ProducerMark, State, Waiting, WindowState},
    id::{ClaimId, InstanceId, Lane, LimitId},
    limit::Schedule,
    time::Time,
};

choice!(State { 1 Lane, 2 Instance, 3 Schedule, 4 Claim, 5 Awaited });

message!(Awaited { 1 attempts });

message!(LaneState { 1 input, 2 policy, 3 recorded_at, 4 producers, 5 waiting, 6 claims, 7 passed, 8 taken });

message!(Passed { 1 lane, 2 number });

message!(Claim { 1 at, 2 content, 3 lacks });

message!(Instance { 1 id, 2 limit, 3 values, 4 amount, 5 windows, 6 holders, 7 recall });

message!(WindowState { 1 start, 2 end, 3 adjusted, 4 alerted, 5 cleared, 6 passed, 7 filled });

message!(ProducerMark { 1 producer, 2 seq, 3 hash, 4 gateway, 5 low_watermark, 6 heard_at, 7 answered, 8 closed, 9 forked, 10 accepted_at, 11 heir, 12 copy });

message!(Holder {
    1 producer,
    2 granted,
    3 returned,
    4 used,
    5 held,
    7 version,
    8 recall,
    9 unknown,
});

message!(Waiting { 1 producer, 2 number, 3 since, 4 wants });

message!(Schedule { 1 limit, 2 boundaries });

impl Message for Key {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Lane(lane) => lane.put(1, out),
            Self::Instance(instance) => instance.put(2, out),
            Self::Schedule(lane, limit) => put_message(3, out, |out| {
                put(lane, 1, out);
                put(limit, 2, out);
            }),
            Self::Claim(lane, claim) => put_message(4, out, |out| {
                put(lane, 1, out);
                put(claim, 2, out);
            }),
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Key");
        let mut chosen = None;
        while let Some((tag, value)) = fields.next()? {
            chosen = match tag {
                1 => Some(Self::Lane(Lane::get(value, "Key.lane")?)),
                2 => Some(Self::Instance(InstanceId::get(value, "Key.instance")?)),
                3 => {
                    let ScheduleKey { lane, limit } = ScheduleKey::get(value, "Key.schedule")?;
                    Some(Self::Schedule(lane, limit))
                }
                4 => {
                    let ClaimKey { lane, claim } = ClaimKey::get(value, "Key.claim")?;
                    Some(Self::Claim(lane, claim))
                }
                _ => chosen,
            };
        }
        chosen.ok_or(WireError::Unknown { field: "Key", value: 0 })
    }
}

struct ScheduleKey {
    lane: Lane,
    limit: LimitId,
}

message!(ScheduleKey { 1 lane, 2 limit });

struct ClaimKey {
    lane: Lane,
    claim: ClaimId,
}

message!(ClaimKey { 1 lane, 2 claim });

/// What was used of one window.
impl Message for (Time, i128) {
    fn write(&self, out: &mut Vec<u8>) {
        put(&self.0, 1, out);
        put(&self.1, 2, out);
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::of(body, "Used");
        let mut used = Self::default();
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => used.0 = Time::get(value, "Used.window")?,
                2 => used.1 = i128::get(value, "Used.amount")?,
                _ => {}
            }
        }
        Ok(used)
    }
}

message_field!((Time, i128));
