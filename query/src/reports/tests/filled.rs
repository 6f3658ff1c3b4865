//! What can be said to a report, and of which time it can be asked.

use super::*;

#[test]
fn what_is_said_to_a_report_is_a_constant_or_refused() {
    let period = Period::new(&november(), month::at(11, 0)).unwrap();
    let fill = |name: &str, set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::fill(by_name(name).unwrap(), &period, &set)
    };
    let evil = "x') FROM usage --";
    assert!(fill("untagged", &[("tag", evil)]).unwrap().contains("tag(tags, 'x'') FROM usage --')"));
    assert!(fill("spend", &[("by", "tag:a\"b'c")]).unwrap().contains(r#"tag(tags, 'a"b''c') AS "tag:a""b'c""#));
    for (name, set, why) in [
        ("spend", ("by", "password"), "there is no dimension"),
        ("spend", ("grain", "minute"), "there is no grain"),
        ("sessions", ("top", "1; x"), "a whole number"),
        ("movers", ("top", "2.5"), "a whole number"),
        ("anomalies", ("least", "1; x"), "a plain number"),
        ("spend", ("by", "tenant,model,tenant"), "said twice"),
        ("budgets", ("by", "tenant"), "takes no \"by\"; it takes nothing"),
    ] {
        assert!(fill(name, &[set]).unwrap_err().contains(why), "{name}");
    }
    for (from, to, zone) in [
        ("2026-11-02", "2026-11-01", "UTC"),
        ("yesterday", "2026-11-01", "UTC"),
        ("2026-11-01", "2026-11-02", "Mars/Olympus"),
    ] {
        let span = Span { zone: Some(zone.into()), ..span(from, to) };
        assert!(Period::new(&span, month::at(11, 0)).is_err(), "{span:?}");
    }
}

#[test]
fn a_time_that_a_report_would_leave_out_of_account_is_refused() {
    let check = |name: &str, span: Span, why: &str| {
        let filled = fill(by_name(name).unwrap(), &Period::new(&span, month::at(11, 0)).unwrap(), &[]);
        assert!(filled.as_ref().is_err_and(|said| said.contains(why)), "{name}: {filled:?}");
    };
    check("budgets", span("2026-11-01", "2026-11-02"), "takes no --from");
    check("pace", Span { to: Some("2026-11-20".into()), ..november() }, "takes no --to");
    check("forecast", Span { to: Some("2026-11-20".into()), ..november() }, "takes no --to");
    check("ownership", Span { as_of: Some("2026-11-02".into()), ..november() }, "takes no --as-of");
    check("refused", Span { zone: Some("America/New_York".into()), ..november() }, "whole days in UTC");
    check("cash-and-accrual", span("2026-11-01T12:00:00Z", "2026-11-02"), "whole days in UTC");
}

#[test]
fn days_are_those_of_the_zone() {
    let berlin = Span { zone: Some("Europe/Berlin".into()), ..span("2026-10-25", "2026-10-26") };
    let [from, to] = Period::new(&berlin, month::at(11, 0)).unwrap().bounds();
    // The clock goes back that night: the day has 25 hours.
    assert_eq!(to.since(from), std::time::Duration::from_secs(25 * 3_600));
    assert_eq!(from.to_string(), "2026-10-24T22:00:00.000000Z");
}
