//! Events that are taken say exactly what they say; all others are refused by name.

use std::time::Duration;

use journal::Draft;
use schemas::{
    fixture,
    id::{Lane, ProducerId, Seq},
    json::Tree,
    limit::{Limit, Unit, Window},
};

use super::*;
use crate::limits::Outlet;

/// 2026-11-20T12:00:00Z.
const NOW: Time = Time::from_micros(1_795_176_000_000_000);

struct Paper;

impl Outlet for Paper {
    fn append(&self, _: &[Draft<'_>]) -> Result<(), journal::Error> {
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

fn limits() -> Vec<Limit> {
    let of = |name: &str, unit| Limit { name: name.into(), unit, ..fixture::limit(1, Window::Month) };
    let house = Limit { scope: Vec::new(), ..of("house", Unit::Requests) };
    vec![of("usd", Unit::Usd), of("tokens", Unit::Tokens), house]
}

fn read(text: &str) -> Result<External, Wrong> {
    let tree = Tree::read(text.as_bytes()).unwrap();
    Envelope::of(tree.root())?.read(&fixture::policy(limits(), Book::builtin().hash()), NOW)
}

fn learn(text: &str) -> Learned {
    learn_under(&limits(), text).0
}

/// What is learned under these limits, and whether they can count it.
fn learn_under(limits: &[Limit], text: &str) -> (Learned, Result<(), Wrong>) {
    let limits_of = Limits::over(ProducerId::from_bytes([1; 16]), Arc::new(Paper), 4);
    limits_of.lock().rule(limits, Duration::from_secs(60));
    let subject = Subject { tenant: "acme".into(), tags: vec![("env".into(), "prod".into())], ..Subject::default() };
    let scene = Scene { subject: &subject, book: &Book::builtin(), gateway: &"g".into() };
    let learned = read(text).unwrap().learn(scene, &limits_of);
    let counted = is_counted(&learned, &Book::builtin(), &limits_of);
    (learned, counted)
}

/// An event with this type, these attributes more, and this data.
fn event(kind: &str, more: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"1","source":"urn:x","type":"tollgate.usage.{kind}","time":"2026-11-20T11:00:00Z"{more},
           "data":{{"provider":"openai","model":"gpt-4o-mini",{data}}}}}"#
    )
}

const CALL: &str = r#""call_id":"01890a5d-ac96-774b-bcce-b302099a8057","time":"2026-11-02T00:00:00Z""#;

#[test]
fn usage_that_passed_elsewhere_is_an_attempt_of_the_keys_tenant() {
    let data = r#""tokens":{"input":1000,"cache_read":50,"output":20,"reasoning":5},"tags":{"env":"test","job":"7"},
        "cost_usd":"0.01","response_id":"r-1""#;
    let learned = learn(&event("v1", "", data));
    let is = &learned.is;
    assert_eq!(is.attempt.subject.tags, [("env".into(), "prod".into()), ("job".into(), "7".into())]);
    assert_eq!(
        (is.attempt.api, is.attempt.admitted_at),
        (Api::OpenAiChat, Time::parse("2026-11-20T11:00:00Z").unwrap())
    );
    assert_eq!((is.provider_cost, is.response_id.as_str()), (Some(Pico(10_000_000_000)), "r-1"));
    assert_eq!(is.usage.total().map(|total| (total.total(), total.reasoning)), Some((1070, 5)));
    let moved: Vec<i128> = learned.moves.iter().map(|moved| moved.amount).collect();
    // 1000 at 0.15, 50 at 0.075 and 20 at 0.60 dollars a million.
    assert_eq!(moved, [165_750_000, 1070, 1]);
    // The same event is the same call, whenever it is told; another is another.
    let again = learn(&event("v1", "", data));
    assert_eq!((again.is.attempt.call, again.content), (is.attempt.call, learned.content));
    let other = learn(&event("v1", "", r#""tokens":{"input":1}"#));
    assert_eq!((other.is.attempt.call, other.claim()), (is.attempt.call, learned.claim()));
    assert_ne!(other.content, learned.content);
}

#[test]
fn an_amendment_moves_the_difference() {
    let data = format!(r#"{CALL},"attempt":2,"was":{{"input":1000}},"tokens":{{"input":1500,"output":10}}"#);
    let learned = learn(&event("amended.v1", "", &data));
    assert_eq!((learned.is.attempt.attempt, learned.is.attempt.admitted_at), (2, Time::parse("2026-11-02").unwrap()));
    assert_eq!(learned.at, Time::parse("2026-11-20T11:00:00Z").unwrap());
    assert_eq!(learned.was.as_ref().map(|was| was.why), Some(Why::Amended));
    // The attempt is known already, so the limit of requests is not moved.
    let moved: Vec<i128> = learned.moves.iter().map(|moved| moved.amount).collect();
    assert_eq!(moved, [500 * 150_000 + 10 * 600_000, 510]);
}

#[test]
fn what_is_not_such_an_event_is_refused_by_name() {
    let check = |text: &str, code: ErrorCode, says: &str| {
        let (found, what) = read(text).unwrap_err();
        assert!(found == code && what.contains(says), "{text}: {found} {what}");
    };
    let bad = |text: &str, says: &str| check(text, ErrorCode::BadEvent, says);
    let tokens = r#""tokens":{"input":1}"#;
    bad("[]", "an object");
    bad(&event("v1", "", tokens).replace("1.0", "0.3"), "specversion");
    bad(&event("v2", "", tokens), "type");
    bad(&event("v1", "", tokens).replace(r#""id":"1","#, ""), "`id`");
    bad(&event("v1", "", tokens).replace("urn:x", &"x".repeat(257)), "`source`");
    bad(&event("v1", "", tokens).replace("2026-11-20T11", "2026-10-01T11"), "more than 35 days ago");
    bad(&event("v1", "", tokens).replace("2026-11-20T11", "2026-11-20T13"), "still to come");
    bad(&event("v1", "", tokens).replace("2026-11-20T11:00:00Z", "yesterday"), "`time`");
    bad(&event("v1", r#","time":"2026-11-20T11:00:00Z""#, tokens), "twice");
    bad(&event("v1", r#","data_base64":"AA==""#, tokens), "data_base64");
    bad(&event("v1", r#","No-Attribute":"x""#, tokens), "no attribute");
    bad(&event("v1", "", r#""tokens":{"inputs":1}"#), "no class");
    bad(&event("v1", "", r#""tokens":{"input":-1}"#), "count");
    bad(&event("v1", "", r#""tokens":{"input":1.5}"#), "count");
    bad(&event("v1", "", r#""tokens":{"input":9e18}"#), "count");
    bad(&event("v1", "", r#""tokens":{"output":1,"reasoning":2}"#), "reasoning");
    bad(&event("v1", "", r#""tokens":{"input":1},"tenant":"globex""#), "`data.tenant` is not known");
    bad(&event("v1", "", r#""cost_usd":1"#), "`data.tokens` is missing");
    bad(&event("v1", "", &format!(r#"{tokens},"cost_usd":-1"#)), "cost_usd");
    bad(&event("v1", "", &format!(r#"{tokens},"api":"telepathy""#)), "telepathy");
    bad(&event("v1", "", &format!(r#"{tokens},{CALL}"#)), "members of an amendment");
    bad(&event("amended.v1", "", tokens), "`data.time` is missing");
    bad(&event("amended.v1", "", &format!("{CALL},{tokens}")), "`data.was`");
    let lowers = format!(r#"{CALL},"was":{{"input":2}},{tokens}"#);
    check(&event("amended.v1", "", &lowers), ErrorCode::EventLowers, "1 of input is less than 2");
}

#[test]
fn what_has_no_price_is_not_taken_where_a_hard_limit_in_dollars_would_count_it_as_nothing() {
    let known = event("v1", "", r#""tokens":{"input":10}"#);
    let amended = event("amended.v1", "", &format!(r#"{CALL},"was":{{"input":1}},"tokens":{{"input":10}}"#));
    let unknown = |text: &str| text.replace("gpt-4o-mini", "nobody-knows");
    let check = |limits: &[Limit], text: &str, wanted: Result<(), ErrorCode>| {
        let counted = learn_under(limits, text).1;
        assert_eq!(counted.clone().map_err(|(code, _)| code), wanted, "{text}");
        assert!(counted.err().is_none_or(|(_, what)| what.contains("`nobody-knows`") && what.contains("`usd`")));
    };
    // An amendment is a difference of two costs.
    for text in [&known, &amended] {
        check(&limits(), text, Ok(()));
        check(&limits(), &unknown(text), Err(ErrorCode::EventUnpriced));
    }
    // A limit of tokens counts it, and a soft one promises less.
    let soft = |limit: Limit| Limit { mode: schemas::limit::Mode::Soft, ..limit };
    check(&limits().into_iter().map(soft).collect::<Vec<_>>(), &unknown(&known), Ok(()));
    check(&limits()[1..], &unknown(&known), Ok(()));
}
