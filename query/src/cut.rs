//! One cut for each query: what all its tables are made of, and how complete that is.
//!
//! For every table the files of one version of the lake and the rows of the tail after it, up to one vector of offsets for
//! all tables: a join of two of them never sees half of an entry. A cut keeps what it refers to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use schemas::{
    id::{Lane, Offset},
    policy::Tenants,
    time::Time,
};
use serde_json::{Value, json};

use crate::{
    error::Error,
    imports::Imports,
    lake::DataFile,
    policies::PolicyLog,
    table::TableDef,
    tail::Tail,
    watermark::{Completeness, Waiting, Watermark, Why},
};

/// Where cuts come from.
pub struct Cuts {
    tail: Arc<Tail>,
    store: Arc<dyn ObjectStore>,
    watermark: Arc<Watermark>,
    policies: Arc<PolicyLog>,
    imports: Option<Imports>,
}

/// What one query reads.
#[derive(Debug)]
pub struct Cut {
    /// Every table.
    pub slices: Vec<Slice>,
    /// How complete it is.
    pub as_of: AsOf,
}

/// What one query reads of one table.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The table.
    pub table: &'static TableDef,
    /// The files of its version.
    pub files: Vec<Arc<DataFile>>,
    /// The rows after them.
    pub tail: Vec<RecordBatch>,
    /// By lane, where the cut ends, for lanes in which the files go beyond it.
    pub beyond: Vec<(Lane, Offset)>,
}

/// How complete an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// By lane, the first record of the ledger that the answer does not have.
    pub offsets: Vec<Offset>,
    /// Up to when every call is in it.
    pub completeness: Completeness,
}

impl Cuts {
    /// Cuts through what the tail and its versions of the lake hold.
    pub fn new(
        tail: Arc<Tail>,
        store: Arc<dyn ObjectStore>,
        watermark: Arc<Watermark>,
        policies: Arc<PolicyLog>,
    ) -> Self {
        Self { tail, store, watermark, policies, imports: None }
    }

    /// The same with what was imported into the lake.
    #[must_use]
    pub fn with_imports(self, imports: Imports) -> Self {
        Self { imports: Some(imports), ..self }
    }

    /// Where what was imported is.
    pub(crate) fn imports(&self) -> Option<&Imports> {
        self.imports.as_ref()
    }

    /// Where the files are.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The limits of which tenants have counters of their own ([`Access::limits_of`]).
    pub(crate) fn limits_of(&self, tenants: &Tenants) -> Option<Vec<String>> {
        self.policies.access.limits_of(tenants)
    }

    /// Whether a cut has everything that was in the ledger when this process began.
    pub fn is_caught_up(&self) -> bool {
        self.watermark.is_restored()
    }

    /// How complete a cut would be now.
    pub fn as_of(&self, now: Time) -> AsOf {
        let completeness = self.watermark.at(now, self.policies.access.abandon_after());
        AsOf { offsets: self.tail.high(), completeness }
    }

    /// A cut.
    pub fn cut(&self, now: Time) -> Result<Cut, Error> {
        // Before the pin, so that it promises no more than the pin holds.
        let completeness = self.watermark.at(now, self.policies.access.abandon_after());
        let pin = self.tail.pin();
        let beyond = pin.beyond();
        let slices = pin.tables().iter().filter(|pinned| !pinned.table.hidden).map(|pinned| {
            let mut tail = pinned.tail()?;
            if pinned.table.name == "prices" {
                tail.extend(self.policies.prices());
            }
            Ok(Slice { table: pinned.table, files: pinned.version.files.clone(), tail, beyond: beyond.clone() })
        });
        Ok(Cut {
            slices: slices.collect::<Result<_, Error>>()?,
            as_of: AsOf { offsets: pin.high().to_vec(), completeness },
        })
    }
}

impl AsOf {
    /// Up to when every call is in it, as a caller who may read `tenants` may know it.
    pub(crate) fn through(&self, tenants: &Tenants) -> Option<Time> {
        match tenants {
            Tenants::All => self.completeness.complete_through,
            Tenants::Only(_) => self.completeness.apart_through,
        }
    }

    /// Who holds that back, as the same caller may know it: not who has a call open.
    pub(crate) fn waiting_for<'a>(&'a self, tenants: &Tenants) -> impl Iterator<Item = &'a Waiting> {
        let all = *tenants == Tenants::All;
        self.completeness.waiting_for.iter().filter(move |waiting| all || waiting.why != Why::OpenCall)
    }

    /// As answers show it to a caller who may read `tenants`. Places in the log count the records of every tenant, and the gateways serve
    /// all of them: whoever may not read every tenant sees neither.
    pub fn json(&self, tenants: &Tenants) -> Value {
        let all = *tenants == Tenants::All;
        let waiting = |waiting: &Waiting| match all {
            true => json!({"gateway": waiting.gateway, "since": waiting.since.to_string(), "why": waiting.why}),
            false => json!({"why": waiting.why}),
        };
        let mut as_of = json!({
            "complete_through": self.through(tenants).map(|time| time.to_string()),
            "waiting_for": self.waiting_for(tenants).map(waiting).collect::<Vec<_>>(),
        });
        if all {
            as_of["offsets"] = self.offsets.iter().map(|offset| offset.0).collect();
        }
        as_of
    }
}
