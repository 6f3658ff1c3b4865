//! What is known of the last so many: who came first goes first.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// The last of them, by their names.
#[derive(Debug)]
pub(crate) struct Latest<K, V> {
    most: usize,
    known: HashMap<K, V>,
    /// The oldest first.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Latest<K, V> {
    /// None yet, and never more than so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: HashMap::new(), order: VecDeque::new() }
    }

    /// Takes note of one. Of one that is known already what was noted last counts, and its place stays.
    pub(crate) fn note(&mut self, name: K, what: V) {
        if self.known.insert(name.clone(), what).is_some() {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// What is known of one.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.known.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_known() {
        let mut latest = Latest::new(3);
        for name in ["a", "b", "a", "c", "d"] {
            latest.note(name, name.len());
            latest.note("b", 7);
        }
        assert_eq!(["a", "b", "c", "d"].map(|name| latest.get(name).copied()), [None, Some(7), Some(1), Some(1)]);
        assert_eq!((latest.known.len(), latest.order.len()), (3, 3));
    }
}
