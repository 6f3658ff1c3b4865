//! The columns that tables share: who called, what was called, and where in the ledger the row comes from.

use schemas::{
    event::{Refused, Settled},
    subject::Subject,
    time::Time,
};

use super::{
    Builder, Place, PushError,
    column::{Column, Kind, Value},
};

/// Who, on every table that belongs to tenants.
pub(super) const WHO: &[Column] = &[
    Column { name: "tenant", kind: Kind::Text, doc: "The tenant of the key." },
    Column { name: "team", kind: Kind::Text, doc: "The team of the key; NULL if it names none." },
    Column { name: "project", kind: Kind::Text, doc: "The project of the key; NULL if it names none." },
    Column { name: "user_id", kind: Kind::Text, doc: "The user of the key; NULL if it names none." },
    Column { name: "key_name", kind: Kind::Text, doc: "The name of the key, unique in its tenant; never the key." },
    Column { name: "tags", kind: Kind::Text, doc: "The tags as a JSON object; read one with tag('name')." },
];

/// What, on every table of calls.
pub(super) const WHAT: &[Column] = &[
    Column { name: "time", kind: Kind::Time, doc: "When it was admitted (or refused); selects price, window and day." },
    Column { name: "settled_at", kind: Kind::Time, doc: "When it ended." },
    Column { name: "recorded_at", kind: Kind::Time, doc: "When metering accepted it; never goes back within a lane." },
    Column { name: "call_id", kind: Kind::Text, doc: "The call, as x-tollgate-call-id shows it." },
    Column { name: "api", kind: Kind::Text, doc: "The API, such as openai.chat." },
    Column { name: "provider", kind: Kind::Text, doc: "The provider's configured name; NULL if none was chosen." },
    Column { name: "provider_account", kind: Kind::Text, doc: "The account at the provider; NULL if not stated." },
    Column { name: "model", kind: Kind::Text, doc: "The model asked of the provider." },
    Column { name: "model_requested", kind: Kind::Text, doc: "The model that the client asked for." },
    Column { name: "stream", kind: Kind::Flag, doc: "Whether the answer is a stream." },
    Column { name: "service_tier", kind: Kind::Text, doc: "The service tier that the answer states." },
    Column { name: "region", kind: Kind::Text, doc: "The region that the answer states." },
    Column { name: "gateway", kind: Kind::Text, doc: "The gateway that served it." },
];

/// Where a row comes from, on every table.
pub(super) const LOG: &[Column] = &[
    Column { name: super::LOG_PARTITION, kind: Kind::Int, doc: "The lane of the ledger that the row comes from." },
    Column { name: super::LOG_OFFSET, kind: Kind::Long, doc: "The record of that lane." },
];

/// Values of [`WHO`]; `tags` is what [`tags_json`] made.
pub(super) fn who<'a>(subject: &'a Subject, tags: &'a str) -> [Value<'a>; 6] {
    [
        Value::text(&subject.tenant),
        Value::text(&subject.team),
        Value::text(&subject.project),
        Value::text(&subject.user),
        Value::text(&subject.key),
        Value::text(tags),
    ]
}

/// Tags as a JSON object, sorted by name; empty if there are none. Of two with one name the later counts.
pub(crate) fn tags_json(tags: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = tags.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    let mut json = String::new();
    for (place, (name, value)) in sorted.iter().enumerate() {
        if sorted.get(place + 1).is_some_and(|next| next.0 == *name) {
            continue;
        }
        json.push(if json.is_empty() { '{' } else { ',' });
        quote(&mut json, name);
        json.push(':');
        quote(&mut json, value);
    }
    if !json.is_empty() {
        json.push('}');
    }
    json
}

/// Writes a text as JSON does. Tags have nothing to escape, or hardly ever.
fn quote(json: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        *json += &serde_json::Value::from(text).to_string();
    } else {
        json.push('"');
        *json += text;
        json.push('"');
    }
}

/// What all rows of one settlement say alike.
pub(super) struct Alike<'a> {
    settled: &'a Settled,
    time: Time,
    recorded_at: Time,
    tags: String,
    call: String,
}

impl<'a> Alike<'a> {
    /// `time` is the admission of the attempt, or the arrival of the call.
    pub(super) fn new(settled: &'a Settled, time: Time, recorded_at: Time) -> Self {
        let (tags, call) = (tags_json(&settled.attempt.subject.tags), settled.attempt.call.to_string());
        Self { settled, time, recorded_at, tags, call }
    }

    /// Adds a row with the columns [`WHO`], [`WHAT`], those that the table has for itself, and [`LOG`].
    pub(super) fn row(
        &self,
        rows: &mut Builder,
        model: &str,
        own: &[Value<'_>],
        place: Place,
    ) -> Result<(), PushError> {
        let attempt = &self.settled.attempt;
        let what = [
            Value::Time(self.time),
            Value::Time(self.settled.settled_at),
            Value::Time(self.recorded_at),
            Value::Text(&self.call),
            Value::Text(attempt.api.name()),
            Value::text(&attempt.provider),
            Value::Null,
            Value::text(model),
            Value::text(&attempt.model_requested),
            Value::Flag(attempt.stream),
            Value::text(&self.settled.service_tier),
            Value::text(&self.settled.region),
            Value::text(&attempt.gateway),
        ];
        rows.row(&[&who(&attempt.subject, &self.tags), &what, own, &log(place)])
    }
}

/// Values of [`WHAT`] for refused calls: they ended when they came.
pub(super) fn what_refused<'a>(refused: &'a Refused, call: &'a str, recorded_at: Time) -> [Value<'a>; 13] {
    [
        Value::Time(refused.at),
        Value::Time(refused.at),
        Value::Time(recorded_at),
        Value::Text(call),
        Value::Text(refused.api.name()),
        Value::text(&refused.provider),
        Value::Null,
        Value::text(&refused.model),
        Value::text(&refused.model_requested),
        Value::Flag(refused.stream),
        Value::Null,
        Value::Null,
        Value::text(&refused.gateway),
    ]
}

/// Values of [`LOG`].
pub(super) fn log(place: Place) -> [Value<'static>; 2] {
    [Value::Int(i64::from(place.lane.0)), Value::count(place.offset.0)]
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prop_assert_eq, proptest};

    use super::tags_json;

    proptest! {
        #[test]
        fn tags_are_the_json_that_a_library_writes(tags in vec(("[a-c\"\\\\\n\u{7f}ü]{0,3}", ".{0,4}"), 0..5)) {
            let object: serde_json::Map<String, serde_json::Value> =
                tags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            let wanted = if tags.is_empty() { String::new() } else { serde_json::Value::Object(object).to_string() };
            prop_assert_eq!(tags_json(&tags), wanted);
        }
    }
}
