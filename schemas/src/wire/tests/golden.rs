//! Records written by released versions, which decode for ever.
//!
//! Each kind of record has a text in `golden/v1`, in Protobuf's text format, and the bytes once made of it. With
//! `TOLLGATE_NEW_GOLDEN=1` the bytes of texts that have none yet are written; those that are there are never changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DynamicMessage, prost::Message as _};

use super::*;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

/// The texts, by name: `message-kind`.
fn texts() -> Vec<(String, String)> {
    let files = fs::read_dir(golden()).expect("golden/v1").map(|file| file.expect("a file").path());
    let texts = files.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    texts
        .map(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, fs::read_to_string(path).expect("text"))
        })
        .collect()
}

fn message(name: &str) -> &'static str {
    match name.split_once('-').expect("message-kind").0 {
        "event" => "Event",
        "entry" => "Entry",
        "key" => "Key",
        "state" => "State",
        "policy" => "PolicyRecord",
        other => panic!("no message is called {other}"),
    }
}

/// What our decoder and encoder make of the bytes.
fn again(message: &str, body: &[u8]) -> Result<Vec<u8>, WireError> {
    match message {
        "Event" => decode_event(body).map(|event| encode_event(&event)),
        "Entry" => decode_entry(body).map(|entry| encode_entry(&entry)),
        "Key" => decode_key(body).map(|key| encode_key(&key)),
        "State" => message::Message::read(body).map(|state: State| encode_state(&state)),
        // Configuration travels as text, which may be said in other words by a later version.
        _ => decode_policy(body).and_then(|record| {
            assert_eq!(decode_policy(&encode_policy(&record))?, record);
            Ok(body.to_vec())
        }),
    }
}

#[test]
fn golden_records_decode() {
    for (name, text) in texts() {
        let expected = DynamicMessage::parse_text_format(contract(message(&name)), &text).expect(&name);
        let path = golden().join(format!("{name}.bin"));
        if !path.exists() && std::env::var_os("TOLLGATE_NEW_GOLDEN").is_some() {
            fs::write(&path, expected.encode_to_vec()).expect("a place to write");
        }
        let body = fs::read(&path).expect(&name);
        by_contract(message(&name), &body);
        assert_eq!(expected.encode_to_vec(), body, "{name}");
        assert_eq!(again(message(&name), &body).as_deref(), Ok(body.as_slice()), "{name}");
    }
}

#[test]
fn every_kind_of_record_has_a_golden_one() {
    let mut wanted = BTreeSet::new();
    for (prefix, holder) in
        [("event", "Event"), ("entry", "Fact"), ("key", "Key"), ("state", "State"), ("policy", "PolicyRecord")]
    {
        wanted.extend(contract(holder).fields().map(|field| format!("{prefix}-{}", field.name())));
    }
    let there: BTreeSet<String> = texts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(there, wanted);
}
