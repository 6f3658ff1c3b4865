use std::time::Duration;

use schemas::{event::Api, json::Tree};

use super::*;
use crate::settlement::End;

fn asked(text: &str) -> Result<Check, Wrong> {
    check(Tree::read(text.as_bytes()).unwrap().root())
}

fn settled(text: &str) -> Result<Settlement, Wrong> {
    settlement(Tree::read(text.as_bytes()).unwrap().root())
}

#[test]
fn a_check_says_who_and_how_much() {
    let check = asked(
        r#"{"call": "r1", "subject": {"tenant": "acme", "user": "u", "tags": {"b": "1", "a": "2"}}, "provider": "openai",
            "model": "gpt-4o", "stream": true, "tags": {"env": "x"}, "most": {"input": 30, "output": 6.4e1}, "expires_in": 60}"#,
    )
    .unwrap();
    let tags = vec![("a".into(), "2".into()), ("b".into(), "1".into())];
    let subject = Subject { tenant: "acme".into(), user: "u".into(), tags, ..Subject::default() };
    assert_eq!((check.who, check.call.as_deref(), check.stream), (Who::Stated(subject), Some("r1"), true));
    let most = Stated { input: Some(30), output: Some(64), ..Stated::default() };
    assert_eq!((check.most, check.expires_in), (Most::Stated(most), Duration::from_secs(60)));

    let check =
        asked(r#"{"client_key": "tg-acme", "provider": "anthropic", "request": {"model": "c", "a": [1]}}"#).unwrap();
    assert_eq!((check.who, check.api), (Who::Key(Digest::of("tg-acme")), Api::AnthropicMessages));
    assert_eq!(check.most, Most::Request(Bytes::from_static(br#"{"model": "c", "a": [1]}"#)));
    assert_eq!(check.expires_in, EXPIRES_IN);
}

#[test]
fn a_check_may_state_the_most_of_every_unit() {
    let asked = asked(
        r#"{"provider": "anthropic", "model": "m", "most": {"input": 1, "output": 2, "tool_calls": 3, "web_search": 4,
            "search_unit": 5, "guardrail": 6}}"#,
    );
    let most = Stated {
        input: Some(1),
        output: Some(2),
        tool_calls: Some(3),
        web_searches: Some(4),
        search_units: Some(5),
        guardrails: Some(6),
    };
    assert_eq!(asked.unwrap().most, Most::Stated(most));
}

#[test]
fn a_settlement_says_what_was_used_or_why_not() {
    let check = |text: &str, end: End, tokens: Option<u64>| {
        let settlement = settled(text).unwrap();
        let (ended, measured) = settlement.told.ended();
        assert_eq!((ended, measured.unwrap().usage.total().map(|total| total.total())), (end, tokens), "{text}");
    };
    check(
        r#"{"call": "r", "tokens": {"input": 5, "cache_read": 2, "output": 7, "reasoning": 3}}"#,
        End::Complete,
        Some(14),
    );
    check(r#"{"call": "r", "tokens": {}}"#, End::Complete, Some(0));
    check(r#"{"call": "r"}"#, End::Complete, None);
    check(r#"{"call": "r", "outcome": "not_sent"}"#, End::NotSent, None);
    check(
        r#"{"call": "r", "outcome": "cut", "tokens": {"output": 1}, "completeness": "lower_bound"}"#,
        End::Cut,
        Some(1),
    );
    check(r#"{"call": "r", "outcome": "provider_error", "status": 429}"#, End::Refused, None);
    check(r#"{"call": "r", "outcome": "timeout"}"#, End::TimedOut, None);
    let one = settled(r#"{"call_id": "0198c0de-0000-7000-8000-000000000001", "cost_usd": "0.5"}"#).unwrap();
    assert!(matches!(one.name, Name::Id(_)) && one.told.cost.is_some());
    assert_eq!(settled(r#"{"call": "r"}"#).unwrap().content, settled(r#"{"call": "r"}"#).unwrap().content);
    assert_ne!(settled(r#"{"call": "r"}"#).unwrap().content, settled(r#"{"call": "s"}"#).unwrap().content);
}

#[test]
fn one_mistake_is_one_answer() {
    let check = |text: &str, wanted: &str| {
        let (code, what) = asked(text).expect_err(text);
        assert!(what.contains(wanted), "{text}: {what:?} does not say {wanted:?}");
        assert!(matches!(code, ErrorCode::BadCheck | ErrorCode::DuplicateJsonKey), "{text}: {code}");
    };
    check("[]", "a check is an object");
    check(r#"{"provider": "p", "provider": "q"}"#, "may stand once");
    check(r#"{"provider": "p"}"#, "`model` is missing");
    check(r#"{"model": "m"}"#, "`provider` is missing");
    check(r#"{"provider": "p", "model": ""}"#, "`model` is empty");
    check(r#"{"provider": "p", "model": "m", "modle": 1}"#, "`modle` is no member");
    check(r#"{"provider": "p", "model": "m", "api": "x"}"#, "`api`");
    check(r#"{"provider": "p", "model": "m", "stream": 1}"#, "`stream`");
    check(r#"{"provider": "p", "model": "m", "most": {"input": -1}}"#, "`input` is a count");
    check(r#"{"provider": "p", "model": "m", "most": {"tokens": 1}}"#, "`most.tokens`");
    check(r#"{"provider": "p", "model": "m", "most": {"web_search": -1}}"#, "`web_search` is a count");
    check(r#"{"provider": "p", "model": "m", "most": {}, "request": {}}"#, "not both");
    check(r#"{"provider": "p", "model": "m", "expires_in": 0}"#, "1 to 3600 seconds");
    check(r#"{"provider": "p", "model": "m", "expires_in": 3601}"#, "1 to 3600 seconds");
    check(r#"{"provider": "p", "model": "m", "subject": {"tenant": "a"}, "client_key": "k"}"#, "not both");
    check(r#"{"provider": "p", "model": "m", "subject": {"user": "u"}}"#, "`subject.tenant` is missing");
    check(r#"{"provider": "p", "model": "m", "subject": {"name": "u"}}"#, "`subject.name`");

    let check = |text: &str, wanted: &str| {
        let (_, what) = settled(text).expect_err(text);
        assert!(what.contains(wanted), "{text}: {what:?} does not say {wanted:?}");
    };
    check("{}", "`call_id` or `call` is missing");
    check(r#"{"call": "r", "call_id": "0198c0de-0000-7000-8000-000000000001"}"#, "not both");
    check(r#"{"call_id": "r"}"#, "no call id");
    check(r#"{"call": "r", "outcome": "fine"}"#, "`outcome` is one of complete, ");
    check(r#"{"call": "r", "status": 20}"#, "`status`");
    check(r#"{"call": "r", "completeness": "exact"}"#, "which are missing");
    check(r#"{"call": "r", "outcome": "not_sent", "tokens": {"input": 1}}"#, "used no `tokens`");
    check(r#"{"call": "r", "tokens": {"tokens": 1}}"#, "no class of tokens");
    check(r#"{"call": "r", "usage": 1}"#, "`usage` is no member");
}
