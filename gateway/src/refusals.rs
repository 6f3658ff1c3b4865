//! Refusals, counted: one record for each instance, caller, model and second, however many calls it turned away.
//!
//! A client that keeps calling against an exhausted limit must not fill the journal, whatever tags and models it thinks of. So of one instance
//! and key there are so many records in a second, and the calls beyond stand in one that names only the key and no model. All of them are
//! bounded too: beyond that the call is refused all the same and only the metrics count it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use schemas::{
    error_code::ErrorCode,
    event::{Api, Refused},
    id::InstanceId,
    money::Pico,
    subject::Subject,
};

/// The most records of one second at one worker.
const MOST: usize = 10_000;

/// How many of them name callers and models of one instance and key.
const EACH: usize = 32;

/// Why calls with a key were refused.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    instance: InstanceId,
    tenant: String,
    key: String,
    code: ErrorCode,
    observed: bool,
}

/// What is so of every call of a record.
#[derive(PartialEq, Eq, Hash)]
struct Alike {
    subject: Arc<Subject>,
    api: Api,
    provider: String,
    model: String,
    model_requested: String,
    stream: bool,
}

/// The refusals of the current second.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Second>);

#[derive(Default)]
struct Second {
    kinds: HashMap<Kind, HashMap<Alike, Refused>>,
    records: usize,
}

impl Refusals {
    /// Counts a refusal; `made` gives its record, should it be the first of its kind.
    pub(crate) fn count(&self, instance: InstanceId, made: Refused) {
        let kind = Kind {
            instance,
            tenant: made.subject.tenant.clone(),
            key: made.subject.key.clone(),
            code: made.code,
            observed: made.observed,
        };
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Second { kinds, records } = &mut *second;
        let is_full = *records >= MOST;
        if is_full && !kinds.contains_key(&kind) {
            return;
        }
        let known = kinds.entry(kind).or_default();
        let alike = Alike::of(&made);
        let is_beyond = known.len() >= EACH && !known.contains_key(&alike);
        let (alike, made) = if is_beyond { of_many(made) } else { (alike, made) };
        match known.entry(alike) {
            Entry::Occupied(mut record) => add(record.get_mut(), &made),
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => {
                *records += 1;
                free.insert(made);
            }
        }
    }

    /// Takes what was counted.
    pub(crate) fn take(&self) -> Vec<Refused> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *second).kinds.into_values().flat_map(HashMap::into_values).collect()
    }
}

impl Alike {
    fn of(made: &Refused) -> Self {
        Self {
            subject: Arc::clone(&made.subject),
            api: made.api,
            provider: made.provider.clone(),
            model: made.model.clone(),
            model_requested: made.model_requested.clone(),
            stream: made.stream,
        }
    }
}

/// The same as a record of calls of several callers and models.
fn of_many(made: Refused) -> (Alike, Refused) {
    let (tenant, key) = (made.subject.tenant.clone(), made.subject.key.clone());
    let made = Refused {
        subject: Arc::new(Subject { tenant, key, ..Subject::default() }),
        provider: String::new(),
        model: String::new(),
        model_requested: String::new(),
        ..made
    };
    (Alike::of(&made), made)
}

/// One record for the calls of both. What they could have cost is known if it is of every one.
fn add(record: &mut Refused, more: &Refused) {
    record.count += more.count;
    let costs = record.estimated_cost.zip(more.estimated_cost);
    record.estimated_cost = costs.and_then(|(sum, cost)| sum.0.checked_add(cost.0)).map(Pico);
}

#[cfg(test)]
mod tests {
    use schemas::{fixture, id::CallId, limit::Unit, time::Time};

    use super::*;

    fn refused(user: &str, model: &str, cost: Option<i128>) -> Refused {
        let attempt = fixture::attempt(CallId::from_bytes([7; 16]), Time::ZERO);
        let subject = Subject { key: "sso".into(), user: user.into(), ..Subject::clone(&attempt.subject) };
        Refused {
            at: Time::ZERO,
            call: attempt.call,
            subject: Arc::new(subject),
            api: attempt.api,
            provider: attempt.provider,
            model: model.into(),
            model_requested: model.into(),
            stream: false,
            count: 1,
            code: ErrorCode::HardLimitReached,
            observed: false,
            limit: "l".into(),
            unit: Unit::Usd,
            amount: 100,
            settled: 100,
            held: 0,
            estimated_cost: cost.map(Pico),
            balance_age_ms: 0,
            gateway: attempt.gateway,
        }
    }

    /// User, model, count and cost of what was counted.
    fn taken(refusals: &Refusals) -> Vec<(String, String, u64, Option<i128>)> {
        let row = |refused: Refused| {
            let cost = refused.estimated_cost.map(|cost| cost.0);
            (refused.subject.user.clone(), refused.model, refused.count, cost)
        };
        let mut rows: Vec<_> = refusals.take().into_iter().map(row).collect();
        rows.sort();
        rows
    }

    fn row(user: &str, model: &str, count: u64, cost: Option<i128>) -> (String, String, u64, Option<i128>) {
        (user.into(), model.into(), count, cost)
    }

    #[test]
    fn a_record_is_of_one_caller_and_model_and_of_all_that_its_calls_could_have_cost() {
        let (refusals, one) = (Refusals::default(), InstanceId([1; 16]));
        for (user, model, cost) in [
            ("ada", "m", Some(5)),
            ("ada", "m", Some(7)),
            ("bob", "m", Some(1)),
            ("ada", "n", Some(4)),
            ("ada", "n", None),
            ("ada", "n", Some(4)),
        ] {
            refusals.count(one, refused(user, model, cost));
        }
        refusals.count(InstanceId([2; 16]), refused("bob", "m", Some(2)));
        let wanted = [
            row("ada", "m", 2, Some(12)),
            row("ada", "n", 3, None),
            row("bob", "m", 1, Some(1)),
            row("bob", "m", 1, Some(2)),
        ];
        assert_eq!(taken(&refusals), wanted);
        assert!(taken(&refusals).is_empty());
    }

    #[test]
    fn who_thinks_of_many_models_has_so_many_records_and_one_of_the_rest() {
        let (refusals, instance) = (Refusals::default(), InstanceId([1; 16]));
        for number in 0..EACH + 8 {
            refusals.count(instance, refused("ada", &format!("m{number}"), Some(3)));
        }
        refusals.count(instance, refused("ada", "m0", Some(3)));
        let rows = taken(&refusals);
        assert_eq!((rows.len(), &rows[0]), (EACH + 1, &row("", "", 8, Some(24))));
        assert!(rows.contains(&row("ada", "m0", 2, Some(6))));
        // What one key does leaves room for the others, up to a bound over all.
        for number in 0..MOST + 8 {
            let other = Subject { key: format!("k{number}"), ..Subject::default() };
            refusals.count(instance, Refused { subject: Arc::new(other), ..refused("", "m", None) });
        }
        assert_eq!(refusals.take().len(), MOST);
    }
}
