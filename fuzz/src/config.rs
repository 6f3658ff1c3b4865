//! Configurations and price files: one is taken whole, or every mistake has a place, and no remark shows what the environment says.
//!
//! What is taken can be published: its policy and its book come back from the log as they were.

use schemas::{
    config::{Config, in_the_clear, price_files},
    id::BookHash,
    policy::Record,
    price::Book,
    wire::{decode_policy, encode_policy},
};

/// What every variable of the environment but the two below says; no remark may.
const HIDDEN: &str = "zq7 hidden\u{1}";

/// Reads the input as each of both.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    configuration(&text);
    prices(&text);
}

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9000".into()),
        "UNSET" => None,
        _ => Some(HIDDEN.into()),
    }
}

fn configuration(text: &str) {
    // A reader may end lines at either, or at both together.
    let lines = text.matches(['\n', '\r']).count() + 1;
    let read = Config::parse(text, "fuzz.yaml", &env);
    let remarks = match &read {
        Ok((_, warnings)) => warnings,
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a word");
            mistakes
        }
    };
    for remark in remarks {
        let shown = remark.to_string();
        assert!((1..=lines + 1).contains(&remark.at.line), "no such line: {shown}");
        assert!((1..=text.chars().count() + 1).contains(&remark.at.column), "no such column: {shown}");
        assert!(!shown.contains('\n'), "more than a line: {shown}");
        assert!(!shown.contains("zq7") || text.contains("zq7"), "shows the environment: {shown}");
    }
    let files = price_files(text, &env);
    if let Ok((config, _)) = read {
        assert_eq!(files, config.prices);
        let clear = in_the_clear(text, &env);
        assert!(clear.keys.len() <= config.tenants.iter().map(|tenant| tenant.keys.len()).sum());
        let record = Record::Policy(Box::new(config.policy(BookHash([7; 32]))));
        assert_eq!(decode_policy(&encode_policy(&record)), Ok(record));
    }
}

fn prices(text: &str) {
    let lines = text.matches(['\n', '\r']).count() + 1;
    match Book::parse(text, "fuzz.yaml") {
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a word");
            let places = mistakes.iter().all(|mistake| (1..=lines + 1).contains(&mistake.line));
            assert!(places, "{mistakes:?}");
        }
        Ok(file) => {
            let book = Book::of(&[file]);
            let read = Book::from_bytes(&book.to_bytes()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((read.hash(), read.rows(), read.models()), (book.hash(), book.rows(), book.models()));
        }
    }
}
