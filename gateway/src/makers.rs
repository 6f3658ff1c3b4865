//! Who made a response: it is read, cancelled and deleted where it was made, and its id names nobody.
//!
//! This process remembers the last that it had made. What it does not know, another gateway's or an earlier process's, is looked for where
//! it always was.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// The most that are remembered: some megabyte of ids.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Makers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, String>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl Makers {
    /// A provider made a response.
    pub(crate) fn note(&self, id: &str, provider: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if id.is_empty() || known.by_id.insert(id.to_owned(), provider.to_owned()).is_some() {
            return;
        }
        known.order.push_back(id.to_owned());
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.by_id.remove(&oldest);
        }
    }

    /// Who made the response that a path at a provider is about.
    pub(crate) fn of(&self, path: &str) -> Option<String> {
        let id = path.strip_prefix("/responses/")?.split('/').next()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered() {
        let makers = Makers::default();
        for number in 0..=MOST {
            makers.note(&format!("resp_{number}"), "one");
        }
        makers.note("resp_5", "two");
        makers.note("", "one");
        assert_eq!(makers.of("/responses/resp_0"), None);
        assert_eq!(makers.of("/responses/resp_1").as_deref(), Some("one"));
        assert_eq!(makers.of("/responses/resp_5/cancel").as_deref(), Some("two"));
        assert_eq!(makers.0.lock().unwrap().by_id.len(), MOST);
    }
}
