//! The wire form keeps everything, is what the `.proto` files say, and takes any bytes without harm.

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

use super::*;

mod arbitrary;
mod golden;

thread_local! {
    static CONTRACT: DescriptorPool = {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let files = protox::compile(["tollgate/v1/ledger.proto"], [root]).expect("the contract compiles");
        DescriptorPool::from_file_descriptor_set(files).expect("the contract is whole")
    };
}

/// A message of the contract, as the checked-in files have it.
fn contract(message: &str) -> MessageDescriptor {
    CONTRACT.with(|pool| pool.get_message_by_name(&format!("tollgate.v1.{message}"))).expect("of the contract")
}

/// The message that these bytes are by the contract; fails where the contract does not know all of it.
fn by_contract(name: &str, body: &[u8]) -> DynamicMessage {
    let message = DynamicMessage::decode(contract(name), body).expect("Protobuf");
    known(&message);
    message
}

fn known(message: &DynamicMessage) {
    assert_eq!(message.unknown_fields().count(), 0, "fields that the contract does not have: {message:?}");
    for (field, value) in message.fields() {
        let values = match value {
            Value::List(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match value {
                Value::Message(inner) => known(inner),
                Value::EnumNumber(number) => {
                    let kind = field.kind();
                    let names = kind.as_enum().expect("an enum");
                    assert!(*number != 0 && names.get_value(*number).is_some(), "{field:?} {number}");
                }
                _ => {}
            }
        }
    }
}

/// Another Protobuf implementation reads the same from the bytes and writes the same bytes again.
fn check_contract(name: &str, body: &[u8]) {
    use prost_reflect::prost::Message as _;
    assert_eq!(by_contract(name, body).encode_to_vec(), body, "{name}");
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(event in arbitrary::event()) {
        let body = encode_event(&event);
        check_contract("Event", &body);
        prop_assert_eq!(decode_event(&body), Ok(event));
    }

    #[test]
    fn an_entry_comes_back_as_it_was(entry in arbitrary::entry()) {
        let body = encode_entry(&entry);
        check_contract("Entry", &body);
        prop_assert_eq!(decode_entry(&body), Ok(entry));
    }

    #[test]
    fn a_key_and_its_state_come_back_as_they_were((key, state) in arbitrary::decision()) {
        let (key_bytes, body) = (encode_key(&key), encode_state(&state));
        check_contract("Key", &key_bytes);
        check_contract("State", &body);
        prop_assert_eq!(decode_key(&key_bytes), Ok(key));
        prop_assert_eq!(decode_state(&key, &body), Ok(state));
    }

    #[test]
    fn an_amount_takes_as_few_bytes_as_hold_it(amount: i128, shift in 0_u32..128) {
        let amount = amount >> shift;
        let mut body = Vec::new();
        field::Field::put(&amount, 1, &mut body);
        let width = body.len() - 2;
        let bits = 129 - if amount < 0 { amount.leading_ones() } else { amount.leading_zeros() };
        prop_assert_eq!(width, if amount == 0 { 0 } else { bits.div_ceil(8) as usize });
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_event(
        event in arbitrary::event(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let mut body = encode_event(&event);
        *at.get_mut(&mut body) = byte;
        body.truncate(cut.index(body.len()) + 1);
        // Whatever is read can be written: nothing that is out of range slips in.
        if let Ok(other) = decode_event(&body) {
            prop_assert_eq!(decode_event(&encode_event(&other)), Ok(other));
        }
    }

    #[test]
    fn any_bytes_are_taken_without_harm(body: Vec<u8>) {
        let _ = (decode_event(&body), decode_entry(&body), decode_key(&body), decode_policy(&body));
    }
}

/// The event that `text` is in Protobuf's text format, as our decoder sees it.
fn decode_text(text: &str) -> Result<Event, WireError> {
    use prost_reflect::prost::Message as _;
    let message = DynamicMessage::parse_text_format(contract("Event"), text).expect("text format");
    decode_event(&message.encode_to_vec())
}

#[test]
fn what_is_not_an_event_is_refused_by_name() {
    let id = "\"0123456789abcdef\"";
    let cases = [
        ("", WireError::Unknown { field: "Event", value: 0 }),
        ("streamed { }", WireError::Missing("Streamed.call")),
        ("streamed { call: \"short\" so_far { } }", WireError::OutOfRange("Streamed.call")),
        (&format!("streamed {{ call: {id} attempt: 65536 so_far {{ }} }}"), WireError::OutOfRange("Streamed.attempt")),
        (&format!("streamed {{ call: {id} }}"), WireError::Missing("Streamed.so_far")),
        ("settled { outcome: 99 }", WireError::Unknown { field: "Settled.outcome", value: 99 }),
        ("settled { outcome: 0 usage { } }", WireError::Missing("Usage.completeness")),
        ("settled { usage { completeness { } } }", WireError::Unknown { field: "Completeness", value: 0 }),
        ("settled { provider_cost: \"seventeen bytes..\" }", WireError::OutOfRange("Settled.provider_cost")),
        ("refused { code: \"TG9999\" }", WireError::BadText("Refused.code")),
        ("admitted { holds { } }", WireError::Missing("Hold.instance")),
    ];
    for (text, error) in cases {
        assert_eq!(decode_text(text), Err(error), "{text}");
    }
}

#[test]
fn bytes_that_are_not_protobuf_are_refused() {
    let cases: [(&[u8], _); 5] = [
        (&[0x0a], WireError::Malformed("Event")),
        (&[0x0a, 0x05, 1], WireError::Malformed("Event")),
        (&[0x0b], WireError::Malformed("Event")),
        (&[0x08, 1], WireError::WrongType("Event.Opened")),
        (&[0x0a, 0x03, 0x0a, 1, 0xff], WireError::BadText("Opened.gateway")),
    ];
    for (body, error) in cases {
        assert_eq!(decode_event(body), Err(error), "{body:?}");
    }
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let event = decode_text("opened { gateway: \"g\" at: 7 }").expect("an event");
    let mut body = encode_event(&event);
    // Field 100 of the event, once as each wire type.
    body.extend([0xa0, 6, 1, 0xa2, 6, 1, 9, 0xa1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0xa5, 6, 0, 0, 0, 0]);
    assert_eq!(decode_event(&body), Ok(event));
}

#[test]
fn a_state_does_not_stand_under_the_key_of_another() {
    let (lane, limit) = (crate::id::Lane(3), crate::id::LimitId([7; 16]));
    let state = State::Schedule(crate::limit::Schedule { limit, boundaries: vec![] });
    let cases = [
        (Key::Schedule(lane, limit), Ok(state.clone())),
        (Key::Schedule(lane, crate::id::LimitId([8; 16])), Err(WireError::OtherKey)),
        (Key::Lane(lane), Err(WireError::OtherKey)),
    ];
    for (key, expected) in cases {
        assert_eq!(decode_state(&key, &encode_state(&state)), expected, "{key:?}");
    }
}

#[test]
fn the_hash_of_a_body_never_changes() {
    // Published vectors of XXH3-64 with seed 0.
    assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(hash(b"a"), 0xe6c6_32b6_1e96_4e1f);
}
