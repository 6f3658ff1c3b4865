use proptest::prelude::*;
use schemas::tokens::Completeness;

use super::*;
use crate::{
    proxy::envoy::{Entry, Number, Skipped},
    settlement::End,
};

/// A request of descriptors written as `key=value,key=value #hits`.
fn request(descriptors: &[&str], hits_addend: u32) -> Request {
    let descriptors = descriptors.iter().map(|text| {
        let (entries, hits) = text.split_once('#').map_or((*text, None), |(entries, hits)| (entries, Some(hits)));
        let entries = entries.trim().split(',').filter_map(|pair| pair.split_once('='));
        Descriptor {
            entries: entries.map(|(key, value)| Entry { key: key.into(), value: value.into() }).collect(),
            hits_addend: hits.map(|hits| Number { value: hits.parse().unwrap() }),
            ..Descriptor::default()
        }
    });
    Request { descriptors: descriptors.collect(), hits_addend }
}

fn ask(descriptors: &[&str], hits_addend: u32) -> Result<Question, Wrong> {
    question(&request(descriptors, hits_addend), b"body")
}

fn tokens(input: Option<u64>, output: Option<u64>) -> Most {
    Most::Stated(Stated { input, output, ..Stated::default() })
}

const WHO: &str = "tenant=acme,provider=openai,model=gpt-4o";

#[test]
fn descriptors_together_describe_one_call() {
    let asked = ask(
        &[
            "tenant=acme,user=u,tag.env=prod",
            "provider=anthropic,model=claude-opus-4,tag.app=x,user=u,expires_in=90",
            "call=r1",
            "unit=input_tokens #30",
            "unit=output_tokens,tenant=acme #64",
        ],
        0,
    );
    let Ok(Question::Check(check)) = asked else { panic!("{asked:?}") };
    let subject = Subject { tenant: "acme".into(), user: "u".into(), ..Subject::default() };
    assert_eq!((check.who, check.call.as_deref()), (Who::Stated(subject), Some("r1")));
    assert_eq!(
        (&*check.provider, &*check.model, check.api.name()),
        ("anthropic", "claude-opus-4", "anthropic.messages")
    );
    assert_eq!(check.tags, [("env".into(), "prod".into()), ("app".into(), "x".into())]);
    assert_eq!((check.most, check.expires_in.as_secs()), (tokens(Some(30), Some(64)), 90));

    let asked = ask(&["authorization=Bearer tg-acme,provider=openai,model=m", "authorization=tg-acme,call=r"], 1);
    let Ok(Question::Check(check)) = asked else { panic!("{asked:?}") };
    assert_eq!((check.who, check.most), (Who::Key(Digest::of("tg-acme")), tokens(None, None)));
    let asked = ask(&["provider=openai,model=m,call=r"], 0);
    assert!(matches!(asked, Ok(Question::Check(Check { who: Who::Asker, .. }))), "{asked:?}");
}

#[test]
fn a_request_for_several_answers_may_use_the_output_of_each() {
    let most = |more: &[&str]| {
        let all: Vec<&str> = [WHO, "call=r", "unit=input_tokens #30"].iter().chain(more).copied().collect();
        match ask(&all, 0) {
            Ok(Question::Check(check)) => Ok(check.most),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(most(&["unit=output_tokens #64"]), Ok(tokens(Some(30), Some(64))));
    assert_eq!(most(&["unit=choices #3", "unit=output_tokens #64"]), Ok(tokens(Some(30), Some(192))));
    assert_eq!(most(&["unit=choices #3"]), Ok(tokens(Some(30), None)), "a number of what is not bounded");
    for choices in ["unit=choices #0", "unit=choices #1001"] {
        assert!(most(&[choices, "unit=output_tokens #64"]).unwrap_err().contains("`choices`"), "{choices}");
    }
    let settled = ask(&["call=r,settle=yes", "unit=output_tokens #7", "unit=choices #2"], 0);
    assert!(settled.is_err_and(|(_, what)| what.contains("belongs to a check")));
    assert_eq!(told(&["unit=output_tokens #7", "unit=choices #2"], 0).unwrap().tokens.unwrap().output, 14);
}

#[test]
fn a_check_bounds_every_unit_that_it_states() {
    let units = [
        "unit=input_tokens #100",
        "unit=output_tokens #10",
        "unit=choices #2",
        "unit=tool_calls #4",
        "unit=web_search #100",
        "unit=search_unit #0",
        "unit=guardrail #1",
    ];
    let wanted = Most::Stated(Stated {
        input: Some(100),
        output: Some(20),
        tool_calls: Some(4),
        web_searches: Some(100),
        search_units: Some(0),
        guardrails: Some(1),
    });
    for named in [WHO.to_owned(), format!("{WHO},call=r")] {
        let all: Vec<&str> = [&*named].iter().chain(&units).copied().collect();
        let check = match ask(&all, 0) {
            Ok(Question::Check(check)) => check,
            Ok(Question::Final(both)) => both.0,
            other => panic!("{other:?}"),
        };
        assert_eq!(check.most, wanted, "{named}");
    }
}

/// What a settlement, or a call that is final, says it used.
fn told(more: &[&str], hits_addend: u32) -> Result<Told, String> {
    let all: Vec<&str> = [WHO].iter().chain(more).copied().collect();
    match ask(&all, hits_addend) {
        Ok(Question::Final(both)) => Ok(both.1),
        Ok(Question::Settle(Settlement { told, .. })) => Ok(told),
        Ok(other) => Err(format!("{other:?}")),
        Err((code, what)) => Err(format!("{code}: {what}")),
    }
}

#[test]
fn units_are_what_was_used_and_what_is_not_stated_is_not_none() {
    let check = |more: &[&str], hits, wanted: (u64, u64, u64, u64), stating| {
        let told = told(more, hits).unwrap();
        let tokens = told.tokens.unwrap();
        let got = (tokens.uncached_input, tokens.cache_read, tokens.output, tokens.reasoning);
        assert_eq!((got, told.completeness), (wanted, Some(stating)), "{more:?}");
    };
    let settle = "call=r,settle=yes";
    check(&[settle, "unit=input_tokens #30", "unit=output_tokens #7"], 0, (30, 0, 7, 0), Stating::Exact);
    check(
        &["unit=input_tokens #30", "unit=cache_read #10", "unit=output_tokens #0"],
        0,
        (20, 10, 0, 0),
        Stating::Exact,
    );
    check(
        &["unit=input #20", "unit=cache_read #10", "unit=output #9", "unit=reasoning #4"],
        0,
        (20, 10, 9, 4),
        Stating::Exact,
    );
    check(&[settle, "unit=cache_read #10", "unit=output_tokens #7"], 0, (0, 10, 7, 0), Stating::LowerBound);
    check(&[settle, "unit=reasoning #4"], 0, (0, 0, 4, 4), Stating::LowerBound);
    check(&["unit=output_tokens"], 12, (0, 0, 12, 0), Stating::LowerBound);
    let told = told(&[settle, "unit=status #503"], 0).unwrap();
    assert_eq!((told.status, told.tokens, told.ended().0), (503, None, End::NoAnswer));
}

#[test]
fn a_provider_that_refused_charged_nothing_and_one_that_may_have_worked_is_not_known() {
    for (status, end) in [(200, End::Complete), (400, End::Refused), (429, End::Refused), (500, End::Refused)] {
        assert_eq!(Told { status, ..Told::default() }.ended().0, end, "{status}");
    }
    for status in 502..=504 {
        assert_eq!(Told { status, ..Told::default() }.ended().0, End::NoAnswer);
    }
    let (end, measured) = Told { status: 500, tokens: Some(Vector::default()), ..Told::default() }.ended();
    assert_eq!((end, measured.unwrap().usage.completeness), (End::Truncated, Completeness::Exact));
}

/// Where an answer began well the status is that of its head, whatever became of it.
#[test]
fn how_an_answer_ended_is_in_its_details() {
    for (details, end) in [
        ("via_upstream", End::Complete),
        ("downstream_remote_disconnect", End::ClientGone),
        ("http2.remote_reset", End::ClientGone),
        ("stream_idle_timeout", End::TimedOut),
        ("upstream_max_stream_duration_reached", End::TimedOut),
        ("upstream_reset_after_response_started{connection_termination}", End::Truncated),
    ] {
        let details = format!("details={details}");
        let told = told(&["call=r,settle=yes", "unit=status #200", &details], 0).unwrap();
        assert_eq!(told.ended().0, end, "{details}");
    }
}

#[test]
fn one_mistake_is_one_answer() {
    let check = |descriptors: &[&str], hits, wanted: &str| {
        let got = ask(descriptors, hits).expect_err(wanted).1;
        assert!(got.contains(wanted), "{got:?} does not say {wanted:?}");
    };
    check(&[], 0, "1 to 64 descriptors");
    check(&[""], 0, "1 to 64 entries");
    check(&[WHO, "details=via_upstream"], 0, "belong to a settlement");
    check(&[WHO, "tenant=globex"], 0, "two values of `tenant` disagree");
    check(&[WHO, "authorization=Bearer a"], 0, "state nobody beside it");
    check(&["authorization=a", "authorization=b"], 0, "disagree");
    check(&["user=u,provider=p,model=m"], 0, "`tenant` is missing");
    check(&["tenant=acme,model=m"], 0, "`provider` is missing");
    check(&["tenant=acme,provider=p"], 0, "`model` is missing");
    check(&[WHO, "generic_key=x"], 0, "`generic_key` is no entry");
    check(&[WHO, "tags.a=x"], 0, "no entry that is known");
    check(&[WHO, "tag.a b=x"], 0, "a tag's name has 1 to 64 letters");
    check(&[WHO, "api=grpc"], 0, "`api`");
    check(&[WHO, "expires_in=soon"], 0, "1 to 3600 seconds");
    check(&[WHO, "expires_in=0"], 0, "1 to 3600 seconds");
    check(&[WHO, "user="], 0, "the value of `user`");
    check(&["tenant=acme,provider=openai,model=gpt-4o #3"], 0, "a call is one request");
    check(&["tenant=acme,provider=openai,model=gpt-4o #0"], 0, "a call is one request");
    check(&[WHO], 2, "a call is one request");
    check(&[WHO, "unit=input_tokens #4"], 2, "a call is one request");
    check(&[WHO, "unit=input_tokens"], 0, "no `hits_addend`");
    check(&[WHO, "unit=barrels #1"], 0, "`barrels` is no unit");
    check(&[WHO, "unit=input,unit=output #1"], 0, "two units");
    check(&[WHO, "unit=input #1", "unit=input #2"], 0, "disagree");
    check(&[WHO, "unit=input #1", "unit=input_tokens #2"], 0, "state one of them");
    check(&[WHO, "unit=input_tokens #1", "unit=cache_read #2"], 0, "less than its parts");
    check(&[WHO, "unit=output #1", "unit=reasoning #2"], 0, "a part of");
    check(&[WHO, "unit=input #1000000001"], 0, "at most 1000000000");
    check(&[WHO, "unit=status #200"], 0, "belongs to a settlement");
    check(&[WHO, "settle=yes"], 0, "without the `call`");
    let mut negative = request(&[WHO], 0);
    negative.descriptors[0].is_negative_hits = true;
    assert!(question(&negative, b"").unwrap_err().1.contains("taken back"));
    let mut limited = request(&[WHO], 0);
    limited.descriptors[0].limit = Some(Skipped {});
    assert!(question(&limited, b"").unwrap_err().1.contains("a `limit` of its own"));
}

proptest! {
    #[test]
    fn what_is_stated_adds_up(input in 0..1_000_u64, cached in 0..1_000_u64, output in 0..1_000_u64, hidden in 0..1_000_u64) {
        let units = [
            format!("unit=input_tokens #{}", input + cached),
            format!("unit=cache_read #{cached}"),
            format!("unit=output_tokens #{}", output + hidden),
            format!("unit=reasoning #{hidden}"),
        ];
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        let tokens = told(&units, 0).unwrap().tokens.unwrap();
        prop_assert_eq!((tokens.input(), tokens.all_output()), (input + cached, output + hidden));
        prop_assert_eq!((tokens.uncached_input, tokens.reasoning), (input, hidden));
    }
}
