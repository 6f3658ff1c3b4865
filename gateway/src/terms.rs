//! What a key is good for: until when, whether at all, and for which models.
//!
//! A key that is good for everything has no terms, and nothing is looked at. Looking allocates nothing.

use std::sync::Arc;

use schemas::{
    error_code::ErrorCode,
    limit::matches,
    policy::{ApiKey, Former},
    time::Time,
};

use crate::{error::Fault, obey::Caller, route::short};

/// What a key is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    disabled: bool,
    expires: Time,
    /// Nothing for every model.
    models: Vec<String>,
}

impl Terms {
    /// Those of a key; nothing if it is good for everything.
    pub(crate) fn of(key: &ApiKey) -> Option<Arc<Self>> {
        Self::until(key, Time::MAX)
    }

    /// Those of the secret that a key had before.
    pub(crate) fn of_former(key: &ApiKey, former: Former) -> Option<Arc<Self>> {
        Self::until(key, former.until)
    }

    fn until(key: &ApiKey, end: Time) -> Option<Arc<Self>> {
        let expires = key.expires.map_or(end, |expires| expires.min(end));
        let terms = Self { disabled: key.disabled, expires, models: key.models.clone() };
        (terms != Self { disabled: false, expires: Time::MAX, models: Vec::new() }).then(|| Arc::new(terms))
    }
}

impl Caller {
    /// Whether its key is good at this instant.
    pub(crate) fn is_good(&self, at: Time) -> Result<(), Fault> {
        let Some(terms) = &self.terms else { return Ok(()) };
        if terms.disabled {
            return Err(Fault::new(ErrorCode::KeyDisabled, "ask who runs this gateway"));
        }
        if at >= terms.expires {
            return Err(Fault::new(ErrorCode::KeyExpired, "use the key that took its place, or ask for one"));
        }
        Ok(())
    }

    /// Whether its key may ask for a model; without one, whether it may ask for whatever there is.
    pub(crate) fn may_use(&self, model: Option<&str>) -> Result<(), Fault> {
        may_use(self.terms.as_deref(), model)
    }
}

/// Whether these terms let somebody ask for a model.
pub(crate) fn may_use(terms: Option<&Terms>, model: Option<&str>) -> Result<(), Fault> {
    let Some(terms) = terms.filter(|terms| !terms.models.is_empty()) else { return Ok(()) };
    match model {
        Some(model) if terms.models.iter().any(|wanted| matches(wanted, model)) => Ok(()),
        Some(model) => {
            let message = format!("`{}` is not among the models of this key; /v1/models lists them", short(model));
            Err(Fault::new(ErrorCode::ModelNotAllowed, message))
        }
        None => Err(Fault::new(ErrorCode::ModelNotAllowed, "this key is for some models, and the call names none")),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{id::Lane, subject::Subject};

    use super::*;

    fn caller(key: &ApiKey) -> Caller {
        Caller { subject: Arc::new(Subject::default()), lane: Lane(0), terms: Terms::of(key), corrects: false }
    }

    #[test]
    fn a_key_is_good_until_it_expires_unless_it_is_disabled() {
        let expires = Time::from_micros(1_000);
        let check = |key: &ApiKey, at: i64| caller(key).is_good(Time::from_micros(at)).map_err(|fault| fault.code);
        let plain = ApiKey::default();
        assert_eq!((Terms::of(&plain), check(&plain, i64::MAX)), (None, Ok(())));
        let ending = ApiKey { expires: Some(expires), ..ApiKey::default() };
        assert_eq!((check(&ending, 999), check(&ending, 1_000)), (Ok(()), Err(ErrorCode::KeyExpired)));
        let off = ApiKey { disabled: true, ..ending };
        assert_eq!(check(&off, 0), Err(ErrorCode::KeyDisabled));
    }

    #[test]
    fn models_are_allowed_by_name_or_beginning() {
        let some = ApiKey { models: vec!["gpt-5".into(), "claude-*".into()], ..ApiKey::default() };
        let check = |model| caller(&some).may_use(model).map_err(|fault| fault.code);
        assert_eq!((check(Some("gpt-5")), check(Some("claude-x"))), (Ok(()), Ok(())));
        for model in [Some("gpt-5-mini"), Some("claude"), Some(""), None] {
            assert_eq!(check(model), Err(ErrorCode::ModelNotAllowed), "{model:?}");
        }
        assert_eq!(caller(&ApiKey::default()).may_use(None).map_err(|fault| fault.code), Ok(()));
    }
}
