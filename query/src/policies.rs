//! What the policy topic says, now and earlier: who may read what, and the limits and price books that entries name.
//!
//! Whoever reads the topic applies each record in order. Limits and books are kept for good: an old entry may name them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use arrow::array::RecordBatch;
use schemas::{
    id::{BookHash, LimitId, Offset},
    limit::Limit,
    policy::{Fold, Record, Step},
    price::Book,
};

use crate::{
    access::Access,
    table::{self, Policies},
};

/// The policy topic as far as it was read.
#[derive(Debug, Default)]
pub struct PolicyLog {
    /// The policy in force, as the query surfaces see it.
    pub access: Arc<Access>,
    fold: Mutex<Fold>,
    named: RwLock<Named>,
}

#[derive(Debug, Default)]
struct Named {
    books: HashMap<BookHash, Book>,
    /// The rows of each book, as the table `prices` stores them.
    prices: Vec<RecordBatch>,
    limits: HashMap<LimitId, Arc<Limit>>,
}

impl PolicyLog {
    /// Takes the next record of the topic, which stands at an offset.
    pub fn apply(&self, offset: Offset, record: Record) {
        let step = self.fold.lock().unwrap_or_else(PoisonError::into_inner).take(offset, record);
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Book(book) => {
                match table::published(&book) {
                    Ok(rows) if !named.books.contains_key(&book.hash()) => named.prices.push(rows),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "a price book is not in the table prices"),
                }
                named.books.insert(book.hash(), *book);
            }
            Step::InForce(policy) => {
                for limit in &policy.limits {
                    named.limits.insert(limit.id(), Arc::new(limit.clone()));
                }
                self.access.apply(&policy);
            }
            Step::Refused(_) => {}
        }
    }

    /// Rows for the table `prices` of every book that was published: past calls may be rated by one that was never in force.
    pub(crate) fn prices(&self) -> Vec<RecordBatch> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).prices.clone()
    }
}

impl Policies for PolicyLog {
    fn book(&self, hash: BookHash) -> Option<Book> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).books.get(&hash).cloned()
    }

    fn limit(&self, id: LimitId) -> Option<Arc<Limit>> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).limits.get(&id).cloned()
    }
}
