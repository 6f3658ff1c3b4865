//! Who made a response: it is read, cancelled and deleted where it was made, and its id names nobody.
//!
//! This process remembers the last that it had made. What it does not know, another gateway's or an earlier process's, is looked for where
//! it always was.

use std::sync::{Arc, Mutex, PoisonError};

use crate::latest::Latest;

/// The most that are remembered: some megabyte of ids.
const MOST: usize = 10_000;

/// Providers, by the ids of what they made.
#[derive(Debug)]
pub(crate) struct Makers(Mutex<Latest<Arc<str>, String>>);

impl Default for Makers {
    fn default() -> Self {
        Self(Mutex::new(Latest::new(MOST)))
    }
}

impl Makers {
    /// A provider made a response.
    pub(crate) fn note(&self, id: &str, provider: &str) {
        if !id.is_empty() {
            let (id, provider) = (id.into(), provider.to_owned());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).note(id, provider);
        }
    }

    /// Who made the response that a path at a provider is about.
    pub(crate) fn of(&self, path: &str) -> Option<String> {
        let id = path.strip_prefix("/responses/")?.split('/').next()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_about_a_response_that_somebody_made() {
        let makers = Makers::default();
        makers.note("resp_5", "one");
        makers.note("resp_5", "two");
        makers.note("", "one");
        assert_eq!(makers.of("/responses/resp_5/cancel").as_deref(), Some("two"));
        assert_eq!((makers.of("/responses/resp_1"), makers.of("/responses/"), makers.of("/chat")), (None, None, None));
    }
}
