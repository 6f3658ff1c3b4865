//! Keys and limits in the words of the configuration file, for people and for the admin API. No secret is in it, nor its hash.

use serde_json::{Map, Value, json};

use super::ApiKey;
use crate::{
    limit::{Dimension, Limit, Match, OnExceed, OnUnbounded, Share, Unit},
    money::Pico,
};

/// A key.
pub fn key(key: &ApiKey) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), key.name.as_str().into());
    for (name, value) in [("team", &key.team), ("project", &key.project), ("user", &key.user)] {
        if !value.is_empty() {
            out.insert(name.into(), value.as_str().into());
        }
    }
    if !key.tags.is_empty() {
        out.insert("tags".into(), key.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect());
    }
    if let Some(expires) = key.expires {
        out.insert("expires".into(), expires.to_string().into());
    }
    if !key.models.is_empty() {
        out.insert("models".into(), json!(key.models));
    }
    out.insert("disabled".into(), key.disabled.into());
    if key.corrects {
        out.insert("corrects".into(), true.into());
    }
    if let Some(former) = key.former {
        out.insert("former_until".into(), former.until.to_string().into());
    }
    Value::Object(out)
}

/// A limit; what it does not say is left out.
pub fn limit(limit: &Limit) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.into(), value));
    put("name", limit.name.as_str().into());
    put("scope", limit.scope.iter().map(matcher).collect());
    put("unit", limit.unit.name().into());
    put("amount", amount(limit.unit, limit.amount));
    if limit.unit != Unit::Concurrent {
        put("window", limit.window.name().into());
        put("zone", limit.zone.as_str().into());
    }
    put("mode", limit.mode.name().into());
    match limit.unbounded {
        OnUnbounded::Hold => {}
        OnUnbounded::Refuse => put("unbounded", "refuse".into()),
        OnUnbounded::Admit => put("unbounded", "admit".into()),
    }
    if !limit.values.is_empty() {
        put("values", json!(limit.values));
    }
    if let Some(most) = limit.max_instances {
        put("max_instances", most.into());
    }
    match &limit.on_exceed {
        OnExceed::Refuse => {}
        OnExceed::Finish => put("on_exceed", "finish".into()),
        OnExceed::Downgrade(model) => put("on_exceed", json!({ "downgrade": model })),
    }
    if limit.slices {
        put("stream", "slices".into());
    }
    if !limit.alerts.is_empty() {
        put("alerts", limit.alerts.iter().map(|share| share_text(*share)).collect());
    }
    if limit.backfill {
        put("backfill", true.into());
    }
    Value::Object(out)
}

fn matcher((dimension, wanted): &(Dimension, Match)) -> (String, Value) {
    let value = match wanted {
        Match::Is(value) => value.as_str(),
        Match::Each => "*",
    };
    (dimension.name(), value.into())
}

/// An amount as the file would say it: dollars as text, since they have decimals.
pub fn amount(unit: Unit, amount: i128) -> Value {
    match unit {
        Unit::Usd => Pico(amount).to_string().into(),
        _ => i64::try_from(amount).map_or_else(|_| amount.to_string().into(), Value::from),
    }
}

fn share_text(share: Share) -> Value {
    format!("{}.{:02}", share.0 / 100, share.0 % 100).into()
}
