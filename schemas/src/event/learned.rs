//! What the books learn beside the life of a call: usage that passed elsewhere, and corrections.
//!
//! Nothing here says how it is known; who tells it is a source, and what it tells has an id there. What a correction takes the place of
//! it repeats, because metering keeps nothing of an attempt.

use super::Settled;
use crate::{
    id::{BookHash, CallId, ClaimId, Lane, LimitId},
    time::Time,
    tokens::Usage,
};

/// What the books learn beside the life of a call: use that another system tells of, or a correction of an attempt.
///
/// It goes to the lane of its tenant, or where any tenant may tell it first to that of its id, which decides whose it is. The tenant's
/// lane takes it once for each source and id, writes its rows and moves the counters that are at home there. What it moves elsewhere that
/// lane passes on ([`Moved`]). Nothing of it can be refused: it has happened.
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
    /// Whether nothing is learned yet: `is` is an attempt whose use will be told by this source and id. Then `moves` are the counters that
    /// it fell under, and what is held of each until then.
    pub awaits: bool,
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
    /// When metering charged it first: a counter that was filled up to then has it. Zero where who corrects it does not say.
    pub charged_at: Time,
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

/// What a lane took moves counters that are at home in another. Metering writes it, in the commit in which the one lane took that, and
/// nobody else: so it stands in the other once, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// The lane that took it.
    pub from: Lane,
    /// Numbers what that lane passed to this one, from 1.
    pub number: u64,
    /// Who says it.
    pub source: String,
    /// What its source calls it.
    pub id: String,
    /// The call that it is of.
    pub call: CallId,
    /// The attempt at it.
    pub attempt: u16,
    /// What it moves here.
    pub moves: Vec<Move>,
    /// What is to be learned here, if the lane that it was told to is not its tenant's.
    pub learned: Option<Box<Learned>>,
}

/// What the sources begin with of use that is told by the id of a response: whoever reads one tells of it, and which lane decides is said by
/// the id.
pub const RESPONSES: &str = "urn:tollgate:response:";

/// The source of corrections which say that nothing was used beyond what is known.
pub const RELEASE: &str = "tollgate:release";

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

    /// The lane that it goes to: its tenant's. What is told by the id of a response goes to that id's, since any tenant may read it.
    pub fn lane(&self, lanes: u16) -> Lane {
        if self.is_told_by_id() && !self.awaits { self.lane_of_id(lanes) } else { self.own_lane(lanes) }
    }

    /// The lane of its tenant.
    pub fn own_lane(&self, lanes: u16) -> Lane {
        Lane::of(self.is.attempt.subject.tenant.as_bytes(), lanes)
    }

    /// The lane of its source and id, whoever tells it.
    pub fn lane_of_id(&self, lanes: u16) -> Lane {
        Lane::of(&self.claim_of_id().0, lanes)
    }

    /// Whether it is told by the id of a response.
    pub fn is_told_by_id(&self) -> bool {
        self.source.starts_with(RESPONSES)
    }

    /// What is claimed of its source and id where any tenant may tell it.
    pub fn claim_of_id(&self) -> ClaimId {
        ClaimId::of(["", "response", &self.source, &self.id])
    }
}
