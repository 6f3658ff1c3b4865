//! What the ledger tells of a record of the policy topic: who changed what, and what became of it. No secret is in it.

use serde_json::{Value, json};

use super::{Change, Expiry, Fold, Policy, Record, Step, What, diff::diff, shown};
use crate::{id::Offset, ledger::Changed, limit::Limit};

/// The most differences that are told of a file.
const MOST: usize = 100;

/// Takes the record at an offset in; gives what came of it, and what is to be told of that: nothing of price books.
pub fn take(fold: &mut Fold, offset: Offset, record: Record) -> (Step, Option<Changed>) {
    let before = fold.in_force().cloned();
    let change = match &record {
        Record::Change(change) => Some(change_of(offset, before.as_deref(), change)),
        Record::Book(_) | Record::Policy(_) => None,
    };
    let step = fold.take(offset, record);
    let told = match (change, &step) {
        (None, Step::InForce(after)) => Some(file(offset, before.as_deref(), after)),
        (Some(change), Step::Refused(why)) => Some(Changed { refused: why.to_string(), ..change }),
        (change, _) => change,
    };
    (step, told)
}

/// What a file changed of the policy in force, in which what lies over it is as it was.
fn file(offset: Offset, before: Option<&Policy>, after: &Policy) -> Changed {
    let differ = diff(before, after);
    let mut said: Vec<Value> = differ.iter().take(MOST).map(|one| one.to_string().into()).collect();
    if differ.len() > MOST {
        said.push(format!("and {} more", differ.len() - MOST).into());
    }
    Changed {
        policy: offset,
        at: None,
        by: String::new(),
        kind: "file".into(),
        tenant: String::new(),
        name: String::new(),
        detail: Value::from(said).to_string(),
        refused: String::new(),
    }
}

fn change_of(offset: Offset, before: Option<&Policy>, change: &Change) -> Changed {
    let what = &change.what;
    Changed {
        policy: offset,
        at: Some(change.at),
        by: change.by.clone(),
        kind: what.kind().into(),
        tenant: tenant(what, before).to_owned(),
        name: what.name().into(),
        detail: detail(what).to_string(),
        refused: String::new(),
    }
}

/// Whose it is: what the change names, or the scope of the limit that it makes or finds.
fn tenant<'a>(what: &'a What, before: Option<&'a Policy>) -> &'a str {
    let limit = match what {
        What::CreateLimit { limit } => Some(limit),
        What::ChangeLimit { limit, id, .. } | What::DeleteLimit { limit, id } => {
            before.and_then(|policy| policy.limits.iter().find(|known| known.name == *limit && known.id() == *id))
        }
        _ => return what.tenant(),
    };
    limit.and_then(Limit::tenant).unwrap_or_default()
}

fn detail(what: &What) -> Value {
    match what {
        What::CreateKey { key, budgets, .. } => {
            let mut value = shown::key(key);
            if let Some(members) = value.as_object_mut().filter(|_| !budgets.is_empty()) {
                members.insert("budget".into(), budgets.iter().map(shown::limit).collect());
            }
            value
        }
        What::ChangeKey { team, models, expires, .. } => {
            let mut members = serde_json::Map::new();
            members.extend(team.as_ref().map(|team| ("team".to_owned(), json!(team))));
            members.extend(models.as_ref().map(|models| ("models".to_owned(), json!(models))));
            members.extend(expires.map(|expires| {
                let until = if let Expiry::At(at) = expires { json!(at.to_string()) } else { Value::Null };
                ("expires".to_owned(), until)
            }));
            Value::Object(members)
        }
        What::RotateKey { former_until, .. } => json!({ "former_until": former_until.map(|until| until.to_string()) }),
        What::CreateLimit { limit } => shown::limit(limit),
        What::ChangeLimit { amount, mode, alerts, .. } => json!({
            "amount": amount.map(|amount| amount.to_string()),
            "mode": mode.map(|mode| mode.name()),
            "alerts": alerts.as_ref().map(|alerts| alerts.iter().map(|share| share.0).collect::<Vec<_>>()),
        }),
        _ => json!({}),
    }
}
