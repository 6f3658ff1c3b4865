//! The settings of a session: what clients ask for when they connect, and the few that change something.
//!
//! `timezone` says where days begin and how instants are shown, `statement_timeout` shortens a query's time, `tollgate.rollups` lets it
//! read rollups; the others are kept, or have the one value that is true here, and another one is an error.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::timezone::Tz;

use super::error::Wrong;
use crate::sql::offset;

/// The version of Postgres that clients take this for: they ask for what that one has.
pub(super) const VERSION: &str = "14.0";

/// What a setting may be.
#[derive(Clone, Copy)]
enum Allows {
    /// Anything.
    Any,
    /// What begins so, and nothing else.
    Only(&'static str),
    /// What is called UTF-8.
    Encoding,
    /// What it is.
    Own,
    /// A zone.
    Zone,
    /// A time in milliseconds, or with its unit; 0 for none.
    Time,
    /// On or off.
    Switch,
}

use Allows::{Any, Encoding, Only, Own, Switch, Time, Zone};

/// Each setting: its name as it is shown, its default, what it may be, and whether clients are told when it changes.
const SETTINGS: &[(&str, &str, Allows, bool)] = &[
    ("application_name", "", Any, true),
    ("bytea_output", "hex", Only("hex"), false),
    ("client_encoding", "UTF8", Encoding, true),
    ("client_min_messages", "notice", Any, false),
    ("DateStyle", "ISO, MDY", Only("iso"), true),
    ("default_transaction_isolation", "read committed", Any, false),
    ("default_transaction_read_only", "on", Any, true),
    ("extra_float_digits", "1", Any, false),
    ("idle_in_transaction_session_timeout", "0", Any, false),
    ("in_hot_standby", "off", Only("off"), true),
    ("integer_datetimes", "on", Only("on"), true),
    ("IntervalStyle", "postgres", Only("postgres"), true),
    ("is_superuser", "off", Only("off"), true),
    ("jit", "off", Any, false),
    ("lock_timeout", "0", Any, false),
    ("max_identifier_length", "63", Only("63"), false),
    ("max_index_keys", "32", Only("32"), false),
    ("row_security", "on", Any, false),
    ("search_path", "public", Any, false),
    ("server_encoding", "UTF8", Encoding, true),
    ("server_version", VERSION, Only(VERSION), true),
    ("server_version_num", "140000", Only("140000"), false),
    ("session_authorization", "", Own, true),
    ("standard_conforming_strings", "on", Only("on"), true),
    ("statement_timeout", "0", Time, false),
    ("TimeZone", "UTC", Zone, true),
    (ROLLUPS, "on", Switch, false),
    ("transaction_isolation", "read committed", Any, false),
    ("transaction_read_only", "on", Any, false),
];

/// Whether rollups are read where they know what is asked.
const ROLLUPS: &str = "tollgate.rollups";

/// The longest value of a setting.
const MAX_VALUE: usize = 256;

/// The settings of a session.
#[derive(Clone, Debug)]
pub(super) struct Settings(Arc<BTreeMap<&'static str, String>>);

impl Settings {
    /// Those of a user who sets nothing.
    pub(super) fn new(user: &str) -> Self {
        let mut all: BTreeMap<_, _> = SETTINGS.iter().map(|(name, value, ..)| (*name, (*value).to_owned())).collect();
        all.insert("session_authorization", user.chars().take(MAX_VALUE).collect());
        Self(Arc::new(all))
    }

    /// All, by name.
    pub(super) fn all(&self) -> &Arc<BTreeMap<&'static str, String>> {
        &self.0
    }

    /// A setting.
    pub(super) fn get(&self, name: &str) -> Result<(&'static str, &str), Wrong> {
        let (name, ..) = *known(name)?;
        Ok((name, self.0.get(name).map_or("", String::as_str)))
    }

    /// Sets one, to its default if to nothing; gives its name and value if clients are to be told.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<(&'static str, String)>, Wrong> {
        let (name, default, allows, told) = *known(name)?;
        let value = value.unwrap_or(default);
        let bad = || Wrong::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        if value.len() > MAX_VALUE {
            return Err(bad());
        }
        let own = self.0.get(name).map_or("", String::as_str);
        let kept = match allows {
            Any => value,
            Own if value == own || value == default || value.eq_ignore_ascii_case("default") => own,
            Only(only) if value.to_lowercase().starts_with(only) => default,
            Encoding if is_utf8(value) => default,
            Zone if ["gmt", "z", "zulu", "etc/utc", "utc"].contains(&value.to_lowercase().as_str()) => "UTC",
            Zone if place(value).is_some() => value,
            Time if milliseconds(value).is_some() => value,
            Switch => switched(value).ok_or_else(bad)?,
            Only(_) | Encoding | Own | Zone | Time => return Err(bad()),
        };
        let kept = kept.to_owned();
        Arc::make_mut(&mut self.0).insert(name, kept.clone());
        Ok(told.then_some((name, kept)))
    }

    /// Those that clients are told when a session begins.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let told = SETTINGS.iter().filter(|(.., told)| *told);
        told.filter_map(|(name, ..)| self.0.get(name).map(|value| (*name, value.as_str())))
    }

    /// The zone, if it is not UTC.
    pub(super) fn zone(&self) -> Option<Arc<str>> {
        self.0.get("TimeZone").filter(|zone| *zone != "UTC").and_then(|zone| Some(place(zone)?.into()))
    }

    /// Whether rollups are read where they know what is asked.
    pub(super) fn rollups(&self) -> bool {
        self.0.get(ROLLUPS).is_none_or(|value| value == "on")
    }

    /// How long a query may take, where that is said.
    pub(super) fn within(&self) -> Option<Duration> {
        let time = milliseconds(self.0.get("statement_timeout")?)?;
        (time > 0).then(|| Duration::from_millis(time))
    }
}

fn known(name: &str) -> Result<&'static (&'static str, &'static str, Allows, bool), Wrong> {
    let found = SETTINGS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Wrong::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
}

/// The zone of a name, or that of an offset as the engine writes it. A number of hours is east of UTC; `+05:30` and `GMT+5` are west of it,
/// as POSIX and Postgres have it.
fn place(value: &str) -> Option<String> {
    let written = value.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_named = written.len() < value.len();
    if is_named && value.parse::<Tz>().is_ok() {
        return Some(value.to_owned());
    }
    let (is_minus, time) = match written.strip_prefix('-') {
        Some(time) => (true, time),
        None => (false, written.strip_prefix('+').unwrap_or(written)),
    };
    let is_east = !is_named && !time.contains(':');
    let (hours, minutes) = match time.split_once('.').filter(|_| is_east) {
        None => time.split_once(':').unwrap_or((time, "0")),
        Some((hours, "5")) => (hours, "30"),
        Some((hours, "25")) => (hours, "15"),
        Some((hours, "75")) => (hours, "45"),
        Some(_) => return None,
    };
    offset(is_minus != is_east, hours, minutes)
}

/// Whether an encoding is the one that there is. Of its name Postgres reads letters and digits alone: drivers put quotes around it.
fn is_utf8(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode"].contains(&name.to_lowercase().as_str())
}

/// As Postgres reads what is on or off.
fn switched(value: &str) -> Option<&'static str> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some("on"),
        "off" | "false" | "no" | "0" => Some("off"),
        _ => None,
    }
}

fn milliseconds(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let times = match value.get(digits.len()..)?.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Settings;

    #[test]
    fn an_offset_is_east_or_west_of_utc_as_in_postgres() {
        let mut settings = Settings::new("alice");
        for (value, wanted) in [
            ("Europe/Zurich", Some("Europe/Zurich")),
            ("Etc/GMT+5", Some("Etc/GMT+5")),
            ("+05:30", Some("-05:30")),
            ("-5", Some("-05:00")),
            ("5.5", Some("+05:30")),
            // As the driver of Java writes what is ahead of UTC.
            ("GMT-05:30", Some("+05:30")),
            ("UTC+3", Some("-03:00")),
            ("gmt", None),
        ] {
            settings.set("timezone", Some(value)).unwrap();
            assert_eq!(settings.zone().as_deref(), wanted, "{value}");
        }
        for wrong in ["", "+", "GMT+16", "+05:60", "5.3", "5:3:0", "--5", "nowhere"] {
            assert!(settings.set("timezone", Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_setting_is_what_is_true_here() {
        let mut settings = Settings::new("alice");
        let mut check = |name: &str, value: &str, wanted: Result<&str, &str>| {
            let got = settings.set(name, Some(value)).map_err(|wrong| wrong.state);
            let got = got.map(|_| settings.get(name).unwrap().1.to_owned());
            assert_eq!(got, wanted.map(str::to_owned), "{name} = {value}");
        };
        check("timezone", "Europe/Zurich", Ok("Europe/Zurich"));
        check("TIMEZONE", "nowhere", Err("22023"));
        check("client_encoding", "utf-8", Ok("UTF8"));
        check("client_encoding", "'utf-8'", Ok("UTF8"));
        check("client_encoding", "Unicode", Ok("UTF8"));
        check("client_encoding", "latin1", Err("22023"));
        check("datestyle", "ISO", Ok("ISO, MDY"));
        check("datestyle", "German", Err("22023"));
        check("application_name", "psql", Ok("psql"));
        check("datafusion.execution.batch_size", "1", Err("42704"));
        check("tollgate.rollups", "OFF", Ok("off"));
        check("tollgate.rollups", "maybe", Err("22023"));
        check("statement_timeout", "2s", Ok("2s"));
        assert_eq!(settings.within(), Some(Duration::from_secs(2)));
        assert_eq!(settings.zone().as_deref(), Some("Europe/Zurich"));
        assert!(!settings.rollups());
        settings.set("tollgate.rollups", None).unwrap();
        assert!(settings.rollups());
        settings.set("statement_timeout", None).unwrap();
        assert_eq!(settings.within(), None);
    }
}
