//! The time that a report looks at: days and months are those of a time zone, and reports see them as instants.

use jiff::{Timestamp, ToSpan as _, Unit, Zoned, civil::Date, tz::TimeZone};
use schemas::time::Time;

use super::quoted;

/// What is asked for: text as a person writes it.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// From when on: a day of the zone, or an instant in RFC 3339. The first of the month if not said, which is that of `as_of` if that is over.
    pub from: Option<String>,
    /// Up to when, exclusive. A month after the first of the month of `from` if not said.
    pub to: Option<String>,
    /// The time zone, as IANA names it. UTC if not said.
    pub zone: Option<String>,
    /// What was recorded before this instant is known, and nothing later: the report is one that was asked for then. Everything if not said.
    pub as_of: Option<String>,
}

/// The instants that reports go by.
#[derive(Clone, Debug)]
pub struct Period {
    zone: String,
    from: Zoned,
    to: Zoned,
    /// The instant that is asked at, or as of, but in the month that is asked about.
    now: Zoned,
    /// The day that is asked at, or as of.
    asked: Zoned,
    /// The instant of it.
    clock: Zoned,
    month: Zoned,
    as_of: Zoned,
    /// The options that were said.
    given: Vec<&'static str>,
}

impl Period {
    /// The period that a span means at an instant.
    ///
    /// # Errors
    /// What cannot be read, or is empty.
    pub fn new(span: &Span, now: Time) -> Result<Self, String> {
        let zone = span.zone.clone().unwrap_or_else(|| "UTC".into());
        let place = TimeZone::get(&zone)
            .map_err(|_| format!("there is no time zone {zone:?}; write one such as Europe/Berlin"))?;
        let at = |what: &str, text: &String| {
            instant(text, &place)
                .ok_or_else(|| format!("{what} is {text:?}; write 2026-11-01, or 2026-11-01T12:00:00Z"))
        };
        let now =
            Timestamp::from_microsecond(now.as_micros()).map_err(|error| error.to_string())?.to_zoned(place.clone());
        let as_of = span.as_of.as_ref().map(|text| at("--as-of", text)).transpose()?;
        // Of the time after it nothing can be known, so no clock goes on in it.
        let now = as_of.iter().cloned().fold(now, Ord::min);
        let from = span.from.as_ref().map(|text| at("--from", text)).transpose()?;
        let from = from.map_or_else(|| now.first_of_month().and_then(|day| day.start_of_day()), Ok).map_err(said)?;
        let month = from.first_of_month().and_then(|day| day.start_of_day()).map_err(said)?;
        let next = month.checked_add(1.month()).map_err(said)?;
        let to = span.to.as_ref().map(|text| at("--to", text)).transpose()?.unwrap_or_else(|| next.clone());
        if from >= to {
            return Err(format!("--from {from} is not before --to {to}, so nothing lies between them"));
        }
        let never = || "2200-01-01T00:00:00Z".parse::<Timestamp>().map(|at| at.to_zoned(place.clone())).map_err(said);
        let as_of = as_of.map_or_else(never, Ok)?;
        let (asked, clock) = (now.start_of_day().map_err(said)?, now.clone());
        let now = if now < month { month.clone() } else { now.min(next) };
        let said = [("--from", &span.from), ("--to", &span.to), ("--as-of", &span.as_of)];
        let given = said.into_iter().filter(|(_, text)| text.is_some()).map(|(option, _)| option).collect();
        Ok(Self { zone, from, to, now, asked, clock, month, as_of, given })
    }

    /// Whether an option was said.
    pub(super) fn given(&self, option: &str) -> bool {
        self.given.contains(&option)
    }

    /// Whether it begins and ends at midnight in UTC.
    pub(super) fn is_whole_utc_days(&self) -> bool {
        [&self.from, &self.to].iter().all(|at| at.timestamp().as_second().rem_euclid(86_400) == 0)
    }

    /// The time zone.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The time zone as a constant of SQL.
    pub(super) fn zone_in_sql(&self) -> String {
        let place = PLACES.iter().find(|(name, _)| self.zone.eq_ignore_ascii_case(name));
        quoted(place.map_or(self.zone.as_str(), |(_, place)| *place))
    }

    /// Its first instant and the first after it.
    pub fn bounds(&self) -> [Time; 2] {
        [&self.from, &self.to].map(|at| Time::from_micros(at.timestamp().as_microsecond()))
    }

    /// What stands in SQL for one of its instants.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let today = || self.now.start_of_day();
        let last_month = || self.month.checked_sub(1.month());
        let of = |at: Result<Zoned, jiff::Error>| at.ok().map(|at| literal(&at));
        match name {
            "from" => Some(literal(&self.from)),
            "to" => Some(literal(&self.to)),
            "as_of" => Some(literal(&self.as_of)),
            "now" => Some(literal(&self.now)),
            "month" => Some(literal(&self.month)),
            "zone" => Some(self.zone_in_sql()),
            "month_name" => Some(quoted(&self.month.strftime("%Y-%m").to_string())),
            "last_month" => of(last_month()),
            "today" => of(today()),
            "days28" => of(today().and_then(|day| day.checked_sub(28.days()))),
            "from28" => of(self.from28()),
            "before" => of(self.before()),
            "so_far" => self.so_far().ok(),
            "same_point" => of(self.same_point()),
            "days_left" => self.days_left().ok(),
            "first_day" => self.from28().ok().and_then(|at| day_number(at.date())),
            "from_day" => day_number(self.from.date()),
            "over_day" => day_number(self.over()),
            _ => None,
        }
    }

    /// The beginning of the period of the same length before; of whole months as many months.
    fn before(&self) -> Result<Zoned, jiff::Error> {
        let whole = |at: &Zoned| at.day() == 1 && at.start_of_day().is_ok_and(|start| start == *at);
        if whole(&self.from) && whole(&self.to) {
            let months = self.from.until((Unit::Month, &self.to))?.get_months();
            return self.from.checked_sub(i64::from(months).months());
        }
        let days = self.from.until((Unit::Day, &self.to))?;
        self.from.checked_sub(days)
    }

    /// A condition that leaves out of the period before what is later in it than now is in this one: a period that lasts is held against as
    /// much of that. Nothing once the period is over.
    fn so_far(&self) -> Result<String, jiff::Error> {
        if self.clock >= self.to {
            return Ok(String::new());
        }
        let since = self.from.until((Unit::Day, &self.clock.clone().max(self.from.clone())))?;
        let until = self.before()?.checked_add(since)?.min(self.from.clone());
        Ok(format!("AND (time < {} OR time >= {})", literal(&until), literal(&self.from)))
    }

    /// As long after the beginning of the last month as now is after that of this one, but not beyond its end.
    fn same_point(&self) -> Result<Zoned, jiff::Error> {
        let since = self.month.until((Unit::Day, &self.now))?;
        Ok(self.month.checked_sub(1.month())?.checked_add(since)?.min(self.month.clone()))
    }

    fn from28(&self) -> Result<Zoned, jiff::Error> {
        self.from.start_of_day()?.checked_sub(28.days())
    }

    /// The first day that is not over by now, or of which not all is asked about.
    fn over(&self) -> Date {
        self.to.date().min(self.asked.date())
    }

    fn days_left(&self) -> Result<String, jiff::Error> {
        let next = self.month.checked_add(1.month())?;
        let seconds = next.timestamp().as_second() - self.now.timestamp().as_second();
        Ok(format!("({seconds} / CAST(86400 AS DOUBLE))"))
    }
}

fn said(error: jiff::Error) -> String {
    error.to_string()
}

fn instant(text: &str, zone: &TimeZone) -> Option<Zoned> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.to_zoned(zone.clone()));
    }
    let day: Date = text.parse().ok().filter(|_| !text.contains(['T', 't', ' ']))?;
    day.to_zoned(zone.clone()).ok()
}

/// Zones whose names are to SQL what Postgres calls clocks that are never changed, and places that have the clocks of these zones.
const PLACES: &[(&str, &str)] = &[
    ("CET", "Europe/Brussels"),
    ("EET", "Europe/Athens"),
    ("EST", "America/Panama"),
    ("HST", "Pacific/Honolulu"),
    ("MET", "Europe/Brussels"),
    ("MST", "America/Phoenix"),
    ("WET", "Europe/Lisbon"),
];

/// A day as the engine counts it, when it makes a number of a date.
fn day_number(day: Date) -> Option<String> {
    Some(Date::constant(1970, 1, 1).until(day).ok()?.get_days().to_string())
}

/// An instant as SQL has it. It says its zone, as the columns that it is compared with do: beside a time of another zone, a bare literal
/// would be taken for what the clocks of that zone show.
fn literal(at: &Zoned) -> String {
    format!("(TIMESTAMP '{:.6}' AT TIME ZONE 'UTC')", at.timestamp())
}
