//! Events that are taken say exactly what they say; all others are refused by name.

use std::collections::BTreeSet;

use journal::Draft;
use schemas::{
    config::MeteringConfig,
    decision::{Instance, WindowState},
    event::{Posting, Why},
    fixture,
    id::{InstanceId, Lane, ProducerId, Seq},
    json::Tree,
    ledger::Charged,
    limit::{Limit, Unit, Window},
    standing::Standing,
    tokens::Doubt,
};

use super::*;
use crate::limits::Outlet;
use crate::obey::Books;

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
    limits_of.lock().rule(limits, &MeteringConfig::default());
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
    assert_eq!(other.is.attempt.call, is.attempt.call);
    assert!(other.claims().eq(learned.claims()));
    assert_ne!(other.content, learned.content);
}

#[test]
fn each_reason_against_a_tag_is_told_as_it_is() {
    let told = |members: &str| {
        let text = format!("{{{members}}}");
        let tree = Tree::read(text.as_bytes()).unwrap();
        tags(tree.root()).map_err(|(_, why)| why)
    };
    let long = format!(r#""{}":"v""#, "n".repeat(65));
    for name in [r#""a/b":"v""#, r#""x%20y":"v""#, r#""ü":"v""#, r#""p:q":"v""#, r#""*":"v""#, r#""":"v""#, &long] {
        let why = told(name).unwrap_err();
        assert!(why.starts_with("a tag's name has 1 to 64 letters, digits, dashes, dots or underscores: "), "{why}");
    }
    assert_eq!(told(r#""a":"1","a":"2""#).unwrap_err(), r#"`tags` has a name twice: "a""#);
    let many = |count: usize| (0..count).map(|number| format!(r#""t{number}":"v""#)).collect::<Vec<_>>().join(",");
    assert_eq!(told(&many(TAGS_MAX + 1)).unwrap_err(), "`tags` has at most 16 names");
    assert_eq!(told(&many(TAGS_MAX)).map(|tags| tags.len()), Ok(TAGS_MAX));
    assert_eq!(told(r#""..":"v""#), Ok(vec![("..".into(), "v".into())]));
}

/// What the ledger says of an attempt of `ci` of which 1,000 tokens were reported; it keeps 5,000 more held.
fn standing(corrected: bool) -> Standing {
    standing_as(Completeness::LowerBound(Doubt::ClientLeft), corrected)
}

/// The same, of one whose tokens are so sure.
fn standing_as(completeness: Completeness, corrected: bool) -> Standing {
    let call = CallId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
    let mut attempt = fixture::attempt(call, Time::parse("2026-11-02").unwrap());
    Arc::make_mut(&mut attempt.subject).key = "ci".into();
    (attempt.model, attempt.book) = ("gpt-4o-mini".into(), Book::builtin().hash());
    let usage = Usage { completeness, ..Usage::exact(Vector { uncached_input: 1_000, ..Vector::default() }) };
    let posted = ["usd", "tokens", "house"].into_iter().zip([(150_000_000, 1_000_000_000), (1_000, 5_000), (1, 0)]);
    let posted =
        posted.map(|(name, (used, provision))| Posting { instance: instance(name), window: NOW, used, provision });
    let bare = Settled::bare(attempt, NOW, Outcome::ClientGone, usage);
    let charged = Charged { settled: Settled { posted: posted.collect(), ..bare }, charges: Vec::new() };
    let amended = corrected.then(|| ("urn:y".to_owned(), "2".to_owned()));
    let (amended, counted) = (amended.into_iter().collect(), BTreeSet::new());
    Standing { charged, charged_at: NOW, number: 0, amended, counted }
}

fn instance(name: &str) -> InstanceId {
    let limit = limits().into_iter().find(|limit| limit.name == name).unwrap();
    InstanceId::of::<&str>(limit.id(), &[], Some(NOW))
}

/// What becomes of an amendment that a key of acme's sends of an attempt that stands so.
fn amend(text: &str, caller: (&str, bool), standing: Option<&Standing>) -> Result<Amended, Wrong> {
    amend_under(limits(), text, caller, standing)
}

/// The same where these limits are in force by now.
fn amend_under(
    in_force: Vec<Limit>,
    text: &str,
    (key, corrects): (&str, bool),
    standing: Option<&Standing>,
) -> Result<Amended, Wrong> {
    let limits_of = Limits::over(ProducerId::from_bytes([1; 16]), Arc::new(Paper), 4);
    limits_of.lock().rule(limits(), &MeteringConfig::default());
    for limit in limits() {
        let (id, values, windows) = (instance(&limit.name), Vec::new(), vec![WindowState::new(NOW, Time::MAX)]);
        let (limit, amount, holders, recall) = (limit.id(), 1, Vec::new(), 0);
        let view = Instance { id, limit, values, amount, windows, holders, recall };
        limits_of.lock().view(id, Some(Arc::new(view)));
    }
    limits_of.lock().rule(in_force, &MeteringConfig::default());
    let subject = Subject { tenant: "acme".into(), key: key.into(), ..Subject::default() };
    let book = Arc::new(Book::builtin());
    let books = Books::default();
    books.insert(book);
    let corrector = Corrector { subject: &subject, of_all: corrects, corrects, books: &books };
    read(text).unwrap().amend(corrector, standing, Some(NOW), &limits_of)
}

fn amendment(was: u64) -> String {
    let data = format!(r#"{CALL},"was":{{"input":{was}}},"tokens":{{"input":1500,"output":10}}"#);
    event("amended.v1", "", &data)
}

#[test]
fn an_amendment_moves_the_difference_to_what_the_ledger_says_and_gives_room_only_with_a_key_that_corrects() {
    let cost = 500 * 150_000 + 10 * 600_000;
    for (corrects, cleared, completeness) in [
        (false, [cost, 510], Completeness::LowerBound(Doubt::ClientLeft)),
        (true, [1_000_000_000, 5_000], Completeness::Exact),
    ] {
        let amended = amend(&amendment(1_000), ("ci", corrects), Some(&standing(false))).unwrap();
        let Amended::Now(learned) = amended else { panic!("it was not amended before") };
        // The attempt is known already, so the limit of requests is not moved.
        let moved: Vec<[i128; 2]> = learned.moves.iter().map(|moved| [moved.amount, moved.clears]).collect();
        assert_eq!(moved, [[cost, cleared[0]], [510, cleared[1]]]);
        let left: Vec<i128> = learned.is.posted.iter().map(|posting| posting.provision).collect();
        assert_eq!(left, [1_000_000_000 - cleared[0], 5_000 - cleared[1], 0]);
        assert_eq!(
            (learned.was.as_ref().map(|was| was.why), &learned.is.usage.completeness),
            (Some(Why::Amended), &completeness)
        );
        assert_eq!(learned.at, Time::parse("2026-11-20T11:00:00Z").unwrap());
        assert_eq!(learned.claims().count(), 2, "that it was said, and of what it takes the place");
    }
}

#[test]
fn an_amendment_moves_the_counters_that_its_attempt_names_whether_their_limits_are_in_force_or_not() {
    let cost = 500 * 150_000 + 10 * 600_000;
    let mut unlimited = standing(false);
    unlimited.charged.settled.posted.clear();
    let mut told = unlimited.clone();
    let is = &mut told.charged.settled;
    (is.outcome, is.settled_at) = (Outcome::Complete, is.attempt.admitted_at);
    told.counted = BTreeSet::from([(instance("tokens"), NOW)]);
    for in_force in [limits(), limits()[..1].to_vec(), Vec::new()] {
        let amended = |standing: &Standing| {
            let amended = amend_under(in_force.clone(), &amendment(1_000), ("ci", true), Some(standing));
            let Ok(Amended::Now(learned)) = amended else { panic!("it is one") };
            learned
        };
        let learned = amended(&standing(false));
        let moved: Vec<[i128; 2]> = learned.moves.iter().map(|moved| [moved.amount, moved.clears]).collect();
        assert_eq!(moved, [[cost, 1_000_000_000], [510, 5_000]]);
        let used: Vec<i128> = learned.is.posted.iter().map(|posting| posting.used).collect();
        assert_eq!(used, [150_000_000 + cost, 1_510, 1]);
        // What was told of names no counters: those that have counted it are in the ledger.
        let tokens = limits()[1].id();
        let told = amended(&told);
        let moved = told.moves.iter().filter(|moved| moved.limit == tokens).map(|moved| moved.amount);
        assert_eq!(moved.collect::<Vec<_>>(), [510]);
        // One that was no limit's when a gateway made it is none's now.
        let unlimited = amended(&unlimited);
        assert_eq!((unlimited.moves, unlimited.was.map(|was| was.charged_at)), (Vec::new(), Some(NOW)));
    }
}

#[test]
fn what_was_estimated_is_lowered_by_who_says_the_whole_and_by_nobody_else() {
    let data = format!(r#"{CALL},"was":{{"input":1000}},"tokens":{{"input":400,"output":10}}"#);
    let lowers = |corrects, completeness| {
        amend(&event("amended.v1", "", &data), ("ci", corrects), Some(&standing_as(completeness, false)))
    };
    let estimate = Completeness::Estimated(Doubt::Truncated);
    for (corrects, completeness) in
        [(false, estimate.clone()), (true, Completeness::LowerBound(Doubt::ClientLeft)), (true, Completeness::Exact)]
    {
        let (code, what) = lowers(corrects, completeness).unwrap_err();
        assert!(code == ErrorCode::EventLowers && what.contains("400 of input is less than 1000"), "{what}");
    }
    let Ok(Amended::Now(learned)) = lowers(true, estimate.clone()) else { panic!("it is known now") };
    let total = learned.is.usage.total().unwrap();
    assert_eq!((total.uncached_input, total.output, &learned.is.usage.completeness), (400, 10, &Completeness::Exact));
    let moved: Vec<[i128; 2]> = learned.moves.iter().map(|moved| [moved.amount, moved.clears]).collect();
    // 600 of input less at 0.15 and 10 of output more at 0.60 dollars a million.
    assert_eq!(moved, [[-600 * 150_000 + 10 * 600_000, 1_000_000_000], [-590, 5_000]]);
    // What a client adds to an estimate is no provider's word either.
    let added = amend(&amendment(1_000), ("ci", false), Some(&standing_as(estimate.clone(), false)));
    let Ok(Amended::Now(learned)) = added else { panic!("it may add") };
    assert_eq!(learned.is.usage.completeness, estimate);
}

#[test]
fn an_amendment_of_anything_else_than_what_stands_is_refused_by_name() {
    let check = |text: &str, key, standing: Option<&Standing>, code: ErrorCode, says: &str| {
        let (found, what) = amend(text, key, standing).unwrap_err();
        assert!(found == code && what.contains(says), "{text}: {found} {what}");
    };
    let (mine, theirs, first) = (("ci", false), ("other", false), standing(false));
    check(&amendment(1_000), mine, None, ErrorCode::NoSuchAttempt, "goes back to 2026-11-20");
    check(&amendment(1_000), theirs, Some(&first), ErrorCode::NotItsAttempt, "another key");
    check(&amendment(999), mine, Some(&first), ErrorCode::NotWhatStands, r#"stands at {"input":1000}"#);
    check(&amendment(999), mine, Some(&standing(true)), ErrorCode::AmendedOtherwise, "\"2\" of \"urn:y\"");
    let other = amendment(1_000).replace("gpt-4o-mini", "gpt-5");
    check(&other, mine, Some(&first), ErrorCode::NotWhatStands, "`data.model` was \"gpt-4o-mini\"");
    // Of another tenant there is nothing.
    let mut globex = standing(false);
    Arc::make_mut(&mut globex.charged.settled.attempt.subject).tenant = "globex".into();
    check(&amendment(1_000), mine, Some(&globex), ErrorCode::NoSuchAttempt, "");
    // The same event again is the same; a key that corrects may amend what others did; what was amended can be again.
    let again = amendment(999).replace("urn:x", "urn:y").replace(r#""id":"1""#, r#""id":"2""#);
    assert_eq!(amend(&again, mine, Some(&standing(true))), Ok(Amended::Before));
    assert!(matches!(amend(&amendment(1_000), ("other", true), Some(&first)), Ok(Amended::Now(_))));
    assert!(matches!(amend(&amendment(1_000), mine, Some(&standing(true))), Ok(Amended::Now(_))));
}

#[test]
fn what_is_not_such_an_event_is_refused_by_name() {
    let bad = |text: &str, says: &str| {
        let (found, what) = read(text).unwrap_err();
        assert!(found == ErrorCode::BadEvent && what.contains(says), "{text}: {found} {what}");
    };
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
    bad(&event("v1", "", r#""tokens":{"input":1},"owner":"globex""#), "`data.owner` is not known");
    bad(&event("v1", "", r#""tokens":{"input":1},"tenant":"globex""#), "members of an amendment");
    bad(&event("v1", "", r#""cost_usd":1"#), "`data.tokens` is missing");
    bad(&event("v1", "", &format!(r#"{tokens},"cost_usd":-1"#)), "cost_usd");
    bad(&event("v1", "", &format!(r#"{tokens},"api":"telepathy""#)), "telepathy");
    bad(&event("v1", "", &format!(r#"{tokens},{CALL}"#)), "members of an amendment");
    bad(&event("amended.v1", "", tokens).replace(r#""time":"2026-11-20T11:00:00Z","#, ""), "`time` is missing");
    bad(&event("amended.v1", "", tokens), "`data.call_id`");
    bad(&event("amended.v1", "", &format!("{CALL},{tokens}")), "`data.was`");
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
    // What costs more than a row holds would count as nothing in any of dollars: of one class, or in all.
    let told = |tokens: &str| event("v1", "", &format!(r#""tokens":{{{tokens}}}"#));
    for dear in [r#""input":7000000000000"#, r#""input":4000000000000,"output":1000000000000"#] {
        for limits in [limits(), Vec::new()] {
            let (code, what) = learn_under(&limits, &told(dear)).1.unwrap_err();
            assert!(code == ErrorCode::BadEvent && what.contains("a million dollars"), "{what}");
        }
    }
    check(&limits(), &told(r#""input":4000000000000,"output":600000000000"#), Ok(()));
}
