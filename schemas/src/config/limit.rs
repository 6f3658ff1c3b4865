//! Limits: amounts into integers, scopes into sorted matchers, zones into their one name.
//!
//! What a later version adds is refused by name: a limit that is silently weaker than it reads would be a lie. What is written and
//! changes nothing is said, and read as if it were not there.

use jiff::tz::TimeZone;

use super::{
    reader::{Fields, Reader, shown_key},
    remark::Place,
    tenant::is_tag_name,
    unique::Unique,
    yaml::{Node, Value},
};
use crate::{
    error_code::ErrorCode,
    limit::{Dimension, Limit, Match, Mode, OnExceed, OnUnbounded, Scope, Share, Unit, Window},
    money::Pico,
};

/// The most that a plain count may be: far beyond use, and far from where sums overflow.
const MAX_COUNT: i128 = 1_000_000_000_000_000;
/// The most that an amount of dollars may be.
const MAX_USD: Pico = Pico(1_000_000_000 * crate::money::PICO_PER_USD);

/// The most shares that a limit names: each is a row for each counter and window.
const MOST_ALERTS: usize = 16;

const KNOWN: &[&str] = &[
    "name",
    "scope",
    "unit",
    "amount",
    "window",
    "mode",
    "zone",
    "on_exceed",
    "unbounded",
    "stream",
    "values",
    "max_instances",
    "alerts",
    "backfill",
];

const KNOWN_OF_BUDGET: &[&str] =
    &["unit", "amount", "window", "mode", "zone", "on_exceed", "unbounded", "stream", "alerts", "backfill"];

/// The names that the configuration defines.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) tenants: &'a [String],
    pub(super) providers: &'a [String],
    pub(super) models: &'a [String],
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader, node: &Node, names: &mut Unique, known: Known<'_>) -> Vec<Limit> {
    let limits = reader.list(node, "limits", |reader, item| limit(reader, item, names, known));
    limits.unwrap_or_default()
}

/// Reads a limit of what is called with one key, which says neither its name nor its scope.
pub(super) fn budget(
    reader: &mut Reader,
    node: &Node,
    (tenant, key): (&str, &str),
    names: &mut Unique,
    known: Known<'_>,
) -> Option<Limit> {
    let fields = reader.fields(node, "a budget", KNOWN_OF_BUDGET)?;
    let scope = vec![(Dimension::Tenant, Match::Is(tenant.into())), (Dimension::Key, Match::Is(key.into()))];
    let mode = Some(reader.or(&fields, "mode", Mode::Hard, mode));
    let limit = rest(reader, &fields, (scope, mode), known, |unit, window| {
        Some(Limit::name_of_budget((tenant, key), unit, window))
    })?;
    names.add(reader, node.at, &limit.name);
    Some(limit)
}

pub(super) fn limit(reader: &mut Reader, node: &Node, names: &mut Unique, known: Known<'_>) -> Option<Limit> {
    let fields = reader.fields(node, "a limit", KNOWN)?;
    let name = reader.need(&fields, "name", |reader, node| {
        let name = reader.text(node)?;
        names.add(reader, node.at, &name);
        Some(name)
    });
    let scope = reader.or(&fields, "scope", Scope::new(), |reader, node| scope(reader, node, known));
    let mode = reader.need(&fields, "mode", mode);
    rest(reader, &fields, (scope, mode), known, |_, _| name)
}

/// Reads a limit that somebody asks for who may have to do with some tenants only: whatever is called as a budget is one.
pub(super) fn asked(reader: &mut Reader, node: &Node, known: Known<'_>) -> Option<Limit> {
    let limit = limit(reader, node, &mut Unique::new("limit"), known)?;
    if is_name_of_budget(&limit.name) && !limit.is_budget() {
        let what = format!("{:?} is what a key's budget is called, and this limit is another", limit.name);
        reader.bad(node.at, what, "choose a name that does not end with /UNIT/WINDOW");
    }
    Some(limit)
}

/// Whether [`Limit::name_of_budget`] may make this name.
fn is_name_of_budget(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    let is_window = parts.next().is_some_and(|part| WINDOWS.iter().any(|window| window.name() == part));
    let is_unit = parts.next().is_some_and(|part| UNITS.iter().any(|unit| unit.name() == part));
    is_window && is_unit && parts.count() >= 2
}

/// What a limit says beside its name, scope and mode.
fn rest(
    reader: &mut Reader,
    fields: &Fields<'_>,
    (scope, mode): (Scope, Option<Mode>),
    known: Known<'_>,
    name: impl FnOnce(Unit, Window) -> Option<String>,
) -> Option<Limit> {
    let unit = reader.need(fields, "unit", unit);
    let amount = reader.need(fields, "amount", |reader, node| amount(reader, node, unit));
    let window = if unit == Some(Unit::Concurrent) {
        no_window(reader, fields);
        Some(Window::Total)
    } else {
        reader.need(fields, "window", window)
    };
    let unbounded = reader.maybe(fields, "unbounded", |reader, node| {
        let choices = [("hold", OnUnbounded::Hold), ("refuse", OnUnbounded::Refuse), ("admit", OnUnbounded::Admit)];
        reader.one_of(node, &choices)
    });
    if unbounded.is_some() && mode.is_some_and(|mode| mode != Mode::Hard) {
        no_effect(reader, fields.place("unbounded"), "\"unbounded\" has no effect on a limit that is not hard");
    }
    let mut values = reader.or(fields, "values", Vec::new(), values);
    let mut max_instances = reader.maybe(fields, "max_instances", |reader, node| reader.number(node, 1..=1_000_000));
    if client_tags(reader, fields, &scope) {
        (values, max_instances) = (Vec::new(), None);
    }
    let on_exceed =
        reader.or(fields, "on_exceed", OnExceed::Refuse, |reader, node| on_exceed(reader, node, known.models));
    let slices =
        reader.or(fields, "stream", false, |reader, node| reader.one_of(node, &[("whole", false), ("slices", true)]));
    let alerts = reader.or(fields, "alerts", Vec::new(), alerts);
    let zone = reader.or(fields, "zone", "UTC".into(), zone);
    let mut limit = Limit {
        name: name(unit?, window?)?,
        scope,
        unit: unit?,
        amount: amount?,
        window: window?,
        zone,
        mode: mode?,
        unbounded: unbounded.unwrap_or_default(),
        values,
        max_instances,
        on_exceed,
        slices,
        alerts,
        backfill: false,
    };
    limit.backfill = reader.or(fields, "backfill", false, |reader, node| backfill(reader, node, &limit));
    ineffective(reader, fields, &mut limit);
    Some(limit)
}

/// What is open at a time has no window.
fn no_window(reader: &mut Reader, fields: &Fields<'_>) {
    let written = fields.get("window").and_then(|node| window(reader, node));
    if written.is_some_and(|window| window != Window::Total) {
        no_effect(reader, fields.place("window"), "\"window\" has no effect on calls that are open at a time");
    }
}

/// All that a call can use is held when it is admitted, so nothing is left to finish.
const FINISH_NEEDS_SLICES: &str = "\"on_exceed: finish\" needs \"stream: slices\", on a limit of output, tokens or usd of a day and \
    longer: without it a call that does not fit is refused, as by \"on_exceed: refuse\"";

/// Takes out what changes nothing, and says so.
fn ineffective(reader: &mut Reader, fields: &Fields<'_>, limit: &mut Limit) {
    if matches!(limit.unit, Unit::Requests | Unit::Concurrent) && limit.unbounded != OnUnbounded::default() {
        if limit.mode == Mode::Hard {
            let what = "\"unbounded\" has no effect on limits of requests and of open calls, of which each call is one";
            no_effect(reader, fields.place("unbounded"), what);
        }
        limit.unbounded = OnUnbounded::default();
    }
    if limit.slices && (limit.window.stands() || !limit.unit.is_of_output() || limit.mode == Mode::Observe) {
        let what =
            "\"stream: slices\" has an effect only on limits of output, tokens or usd of a day and longer that refuse";
        no_effect(reader, fields.place("stream"), what);
        limit.slices = false;
    }
    let idle = match &limit.on_exceed {
        OnExceed::Refuse => None,
        OnExceed::Finish => (!limit.slices).then_some(FINISH_NEEDS_SLICES),
        OnExceed::Downgrade(_) => {
            (limit.mode == Mode::Observe).then_some("\"on_exceed\" has no effect on a limit that only observes")
        }
    };
    if let Some(what) = idle {
        no_effect(reader, fields.place("on_exceed"), what);
        limit.on_exceed = OnExceed::Refuse;
    }
}

fn on_exceed(reader: &mut Reader, node: &Node, models: &[String]) -> Option<OnExceed> {
    match &node.value {
        Value::Scalar(choice) if choice.text == "refuse" => Some(OnExceed::Refuse),
        Value::Scalar(choice) if choice.text == "finish" => Some(OnExceed::Finish),
        Value::Map(entries) if matches!(entries.as_slice(), [(key, _)] if key.name == "downgrade") => {
            let (_, node) = entries.first()?;
            let model = reader.text(node)?;
            let serves =
                |name: &String| name.strip_suffix('*').map_or(*name == model, |start| model.starts_with(start));
            if !models.iter().any(serves) {
                let what = format!("no model serves {model:?}");
                let remedy = "name one that stands under models, or add it there";
                reader.mistake(node.at, ErrorCode::DanglingReference, what, remedy);
            }
            Some(OnExceed::Downgrade(model))
        }
        Value::Broken => None,
        _ => {
            let remedy = "write refuse, finish or { downgrade: MODEL }";
            reader.bad(node.at, "on_exceed is none of the choices", remedy);
            None
        }
    }
}

/// Clients choose the values of tags, so that a `*` over one needs an end. Says whether there is an end and nothing that it is one of.
fn client_tags(reader: &mut Reader, fields: &Fields<'_>, scope: &Scope) -> bool {
    let open =
        scope.iter().find(|(dimension, matcher)| matches!((dimension, matcher), (Dimension::Tag(_), Match::Each)));
    let ended = fields.get("values").is_some() || fields.get("max_instances").is_some();
    match open {
        Some((dimension, _)) if !ended => {
            let what = format!("\"*\" over {} would make a counter for whatever clients send", dimension.name());
            let remedy = "add values: [ … ] or max_instances: …";
            reader.bad(fields.place("scope").unwrap_or(fields.at), what, remedy);
        }
        None if ended => {
            let at = fields.place("values").or_else(|| fields.place("max_instances"));
            no_effect(reader, at, "\"values\" and \"max_instances\" have no effect without a \"*\" over a tag");
        }
        _ => {}
    }
    open.is_none() && ended
}

fn no_effect(reader: &mut Reader, at: Option<Place>, what: &str) {
    reader.warn(at.unwrap_or_default(), ErrorCode::ConfigHasNoEffect, what, "take it out");
}

const UNITS: [Unit; 7] =
    [Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::Usd, Unit::ToolCalls, Unit::Concurrent];

const WINDOWS: [Window; 7] =
    [Window::Second, Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Total];

fn unit(reader: &mut Reader, node: &Node) -> Option<Unit> {
    reader.one_of(node, &UNITS.map(|unit| (unit.name(), unit)))
}

fn window(reader: &mut Reader, node: &Node) -> Option<Window> {
    reader.one_of(node, &WINDOWS.map(|window| (window.name(), window)))
}

pub(super) fn mode(reader: &mut Reader, node: &Node) -> Option<Mode> {
    reader.one_of(node, &[Mode::Hard, Mode::Soft, Mode::Observe].map(|mode| (mode.name(), mode)))
}

pub(super) fn amount(reader: &mut Reader, node: &Node, unit: Option<Unit>) -> Option<i128> {
    match unit {
        // The unit is reported already; whether the amount fits it cannot be said.
        None => None,
        Some(Unit::Usd) => {
            let wanted = "dollars from 0 to 1000000000 with at most 12 decimals, such as \"100.00\"";
            let usd = |text: &str| Pico::parse_usd(text).filter(|usd| usd.0 >= 0 && *usd <= MAX_USD);
            reader.parsed(node, wanted, usd).map(|usd| usd.0)
        }
        Some(_) => reader.number(node, 0..=MAX_COUNT),
    }
}

fn zone(reader: &mut Reader, node: &Node) -> Option<String> {
    let wanted = "the name of a time zone, such as UTC or Europe/Berlin";
    reader.parsed(node, wanted, |text| Some(TimeZone::get(text).ok()?.iana_name()?.to_owned()))
}

fn values(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    let mut seen = Unique::new("value");
    reader.list(node, "values", |reader, item| {
        let value = reader.text(item)?;
        seen.add(reader, item.at, &value);
        Some(value)
    })
}

fn scope(reader: &mut Reader, node: &Node, known: Known<'_>) -> Option<Scope> {
    let fields = reader.any_fields(node, "a scope")?;
    let mut scope = Scope::new();
    for (key, node) in fields.entries() {
        if key.name == "tags" {
            let Some(tags) = reader.any_fields(node, "tags") else { continue };
            for (tag, node) in tags.entries() {
                let name = format!("tag.{}", tag.name);
                matcher(reader, &mut scope, tag.at, &name, node);
            }
        } else {
            matcher(reader, &mut scope, key.at, &key.name, node);
        }
    }
    let named = [(Dimension::Tenant, known.tenants), (Dimension::Provider, known.providers)];
    for (dimension, known) in named {
        let value = scope.iter().find(|(other, _)| *other == dimension).map(|(_, matcher)| matcher);
        if let Some(Match::Is(value)) = value
            && !value.ends_with('*')
            && !known.contains(value)
        {
            let what = format!("the limit is for the {} {value:?}, which is not defined", dimension.name());
            let at = fields.place(&dimension.name()).unwrap_or(fields.at);
            reader.warn(
                at,
                ErrorCode::DanglingReference,
                what,
                "check the name; the limit counts nothing until there is one",
            );
        }
    }
    scope.sort_by(|one, other| one.0.cmp(&other.0));
    Some(scope)
}

const DIMENSIONS: &[&str] = &["tenant", "team", "project", "user", "key", "model", "provider", "tags", "tag.NAME"];

fn matcher(reader: &mut Reader, scope: &mut Scope, at: Place, name: &str, node: &Node) {
    let Some(dimension) = dimension(name) else {
        let remedy = super::unit::nearest(name, DIMENSIONS).map_or_else(
            || format!("a scope knows {}", DIMENSIONS.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        let what = format!("unknown key {} in a scope", shown_key(name, DIMENSIONS));
        return reader.mistake(at, ErrorCode::UnknownConfigKey, what, remedy);
    };
    if scope.iter().any(|(other, _)| *other == dimension) {
        let what = format!("{name:?} stands twice in the scope");
        return reader.mistake(at, ErrorCode::DuplicateConfig, what, "keep one of them");
    }
    if matches!(node.value, Value::Null) {
        return reader.bad(
            at,
            format!("{name:?} has no value"),
            "write a value, or \"*\" for a counter for each value",
        );
    }
    let Some(text) = reader.text(node) else { return };
    if text.strip_suffix('*').unwrap_or(&text).contains('*') {
        return reader.bad(
            node.at,
            format!("{text:?} has a * before its end"),
            "write a value, a beginning and *, or * alone",
        );
    }
    scope.push((dimension, if text == "*" { Match::Each } else { Match::Is(text) }));
}

fn dimension(name: &str) -> Option<Dimension> {
    Dimension::parse(name).filter(|known| !matches!(known, Dimension::Tag(tag) if !is_tag_name(tag)))
}

/// Shares of the amount, each once, from the least.
pub(super) fn alerts(reader: &mut Reader, node: &Node) -> Option<Vec<Share>> {
    let mut shares = reader.list(node, "alerts", |reader, item| {
        let text = &reader.scalar(item)?.text;
        let share = Share::parse(text);
        if share.is_none() {
            let what = format!("{text:?} is no share of an amount");
            reader.bad(item.at, what, "write 0.8 for four fifths, 1.0 for all of it, and at most 10");
        }
        share
    })?;
    shares.sort_unstable();
    shares.dedup();
    if shares.len() > MOST_ALERTS {
        reader.bad(node.at, format!("more than {MOST_ALERTS} alerts"), "name fewer shares");
    }
    Some(shares)
}

/// Whether a new limit counts what was used before it. It can be said exactly only where all of that is of one lane, and kept.
fn backfill(reader: &mut Reader, node: &Node, limit: &Limit) -> Option<bool> {
    let wanted = reader.boolean(node)?;
    let by_tenant = limit.scope.iter().any(|(dimension, matcher)| {
        let is_one = !matches!(matcher, Match::Is(value) if value.ends_with('*'));
        *dimension == Dimension::Tenant && is_one
    });
    let why = if !matches!(limit.window, Window::Day | Window::Week | Window::Month) {
        "its window is not a day, week or month"
    } else if !by_tenant {
        "its scope names no tenant, nor \"*\" of them"
    } else if limit.max_instances.is_some() {
        "which values of a tag have a counter of their own is not known of the past"
    } else {
        return Some(wanted);
    };
    if wanted {
        let what = format!("what was used before limit {:?} cannot be counted exactly: {why}", limit.name);
        reader.mistake(
            node.at,
            ErrorCode::CannotBackfill,
            what,
            "take backfill out; it then counts from when it is in force",
        );
    }
    Some(false)
}
