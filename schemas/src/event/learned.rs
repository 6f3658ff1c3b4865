//! What the books learn beside the life of a call: usage that passed elsewhere, and corrections.
//!
//! Nothing here says how it is known; who tells it is a source, and what it tells has an id there. What a correction takes the place of
//! it repeats, because metering keeps nothing of an attempt.

use super::Settled;
use crate::{
    id::{BookHash, ClaimId, Lane, LimitId},
    time::Time,
    tokens::Usage,
};

/// What the books learn beside the life of a call: use that another system tells of, or a correction of an attempt.
///
/// The same event goes to the lane of its tenant, which writes its rows, and to the home lane of every counter that it moves. Each
/// of them takes its own part, once for each source and id. Nothing of it can be refused: it has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Who says it.
    pub source: String,
    /// What its source calls it.
    pub id: String,
    /// When it was said, by its source. It is taken only as long as its claim would be remembered.
    pub at: Time,
    /// A hash of what was said: another under the same source and id is a conflict, and the first stands.
    pub content: u64,
    /// What it takes the place of; nothing if it is new.
    pub was: Option<Was>,
    /// What is so: an attempt that is new, which posts nothing, or one as it is from here on, with what it has posted to counters in
    /// all. It has no counters.
    pub is: Settled,
    /// What it moves of counters.
    pub moves: Vec<Move>,
}

/// What an attempt was until it was corrected.
#[derive(Clone, Debug, PartialEq)]
pub struct Was {
    /// Why it is corrected.
    pub why: Why,
    /// What it had used.
    pub usage: Usage,
    /// The price book that it was charged by.
    pub book: BookHash,
    /// How often it was corrected before: no two corrections take the place of the same.
    pub number: u32,
}

/// Why an attempt is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The operator rates it by another book.
    Rerated,
    /// Somebody knows its usage better.
    Amended,
    /// An operator says that it used nothing beyond what is known.
    Released,
}

impl Why {
    /// Every reason, in wire order.
    pub const ALL: [Self; 3] = [Self::Rerated, Self::Amended, Self::Released];
}

/// What is added to one counter by something other than a gateway's own use; less than nothing takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The lane that the counter is at home in.
    pub home: Lane,
    /// The limit.
    pub limit: LimitId,
    /// The values of its `*`.
    pub values: Vec<String>,
    /// An instant of the window.
    pub window: Time,
    /// How much, in the limit's unit.
    pub amount: i128,
    /// What is no provision of the attempt any more.
    pub clears: i128,
}

impl Learned {
    /// What is claimed with it: that its source has said this, and, of a correction, that no other takes the place of what it does. A
    /// tenant's systems share no ids with other tenants, and none with the operator.
    pub fn claims(&self) -> impl Iterator<Item = ClaimId> {
        let attempt = &self.is.attempt;
        let tenant = attempt.subject.tenant.as_str();
        let place = self.was.as_ref().map(|was| {
            let place = format!("{}/{}/{}", attempt.call, attempt.attempt, was.number);
            ClaimId::of([tenant, "correction", "", &place])
        });
        let told = self.was.as_ref().is_none_or(|was| was.why == Why::Amended);
        let said = told.then(|| ClaimId::of([tenant, "tenant", &self.source, &self.id]));
        said.into_iter().chain(place)
    }

    /// The lanes that it goes to, the tenant's first.
    pub fn lanes(&self, lanes: u16) -> Vec<Lane> {
        let own = Lane::of(self.is.attempt.subject.tenant.as_bytes(), lanes);
        let mut all: Vec<Lane> = self.moves.iter().map(|moved| moved.home).filter(|home| *home != own).collect();
        all.sort_unstable();
        all.dedup();
        all.insert(0, own);
        all
    }
}
