//! What metering writes: each accepted fact once, priced, and every change of the books.
//!
//! The ledger is the one source of every table of the lake, and of replay. Nothing in it is ever edited.

use std::sync::Arc;

use crate::{
    decision::Instance,
    event::{Attempt, Hold, Move, Posting, Refused, Settled, Streamed, Was},
    id::{BookHash, CallId, InstanceId, LimitId, Offset, ProducerId, Seq},
    limit::{Limit, Share},
    money::Pico,
    subject::Subject,
    time::Time,
    tokens::TokenClass,
};

/// One record of the `ledger` topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When metering accepted it; never goes back within a lane.
    pub recorded_at: Time,
    /// What.
    pub fact: Fact,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// An attempt was admitted.
    Admitted(Box<Begun>),
    /// An attempt is running.
    Streamed(Streamed),
    /// An attempt ended and was charged.
    Charged(Box<Charged>),
    /// Calls were refused.
    Refused(Box<Refused>),
    /// An instance as it stands after a batch that changed it; grants, returns and use are in it as totals.
    Balance(Box<Instance>),
    /// The limits in force from here on.
    Limits(LimitsInForce),
    /// The price book in force from here on; its rows stand in the policy under this hash.
    Book(BookInForce),
    /// A gateway was heard: nothing that it admitted before its low watermark is still to come.
    Heard(Heard),
    /// A hard limit was passed: by a bill beyond its bound, or by debt.
    Overrun(Overrun),
    /// Something that an operator has to look at.
    Alarm(Alarm),
    /// An attempt was corrected: what it was charged is taken back, and it is charged anew.
    Corrected(Box<Corrected>),
    /// Counters of this lane were moved by something other than a gateway's own use.
    Adjusted(Adjusted),
    /// A counter reached a share of its amount that its limit names.
    Alerted(Box<Alerted>),
    /// The keys in force from here on.
    Keys(KeysInForce),
    /// A record of the policy topic, and what became of it.
    Changed(Box<Changed>),
}

/// An attempt that was admitted, as the gateway reported it.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// The attempt.
    pub attempt: Attempt,
    /// What it holds.
    pub holds: Vec<Hold>,
    /// In whose journal its end will stand: should that be lost, this tells what it left open. Earlier versions did not write it.
    pub producer: Option<ProducerId>,
}

/// An attempt and what it costs: one charge for each class that is not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Charged {
    /// The attempt as the gateway reported it.
    pub settled: Settled,
    /// Its charges.
    pub charges: Vec<Charge>,
}

/// An attempt that is corrected. The original stays where it is: the sum of all is what is so.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrected {
    /// Who says so.
    pub source: String,
    /// What they call it.
    pub id: String,
    /// What it was.
    pub was: Was,
    /// The charges that are taken back, as they were made.
    pub reversed: Vec<Charge>,
    /// What it is from here on.
    pub charged: Charged,
}

/// Counters that were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// Who says why.
    pub source: String,
    /// What they call it.
    pub id: String,
    /// The call that it is of.
    pub call: CallId,
    /// The attempt at it.
    pub attempt: u16,
    /// What was added to each counter, in its unit; a provision that was cleared is less than nothing.
    pub posted: Vec<Posting>,
    /// What could be added nowhere, because its window is not kept any more.
    pub gone: Vec<Move>,
    /// What belongs to counters that are not kept any more since their windows ended: it is added to what was written of them last.
    pub late: Vec<Late>,
}

/// What a counter is to be moved by that is not kept any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// The limit.
    pub limit: LimitId,
    /// The values of its `*`.
    pub values: Vec<String>,
    /// The first instant of the window.
    pub start: Time,
    /// The first instant after it.
    pub end: Time,
    /// How much, in the limit's unit.
    pub amount: i128,
}

/// What one class of one attempt costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The model that ran, if it is another than the one that answered.
    pub model: Option<String>,
    /// The class.
    pub class: TokenClass,
    /// How many tokens or units.
    pub quantity: u64,
    /// What they cost.
    pub price: Rated,
}

/// A price, or the reason why there is none. What has no price is never free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rated {
    /// By this row of the book.
    Priced {
        /// Pico-dollars for one.
        unit_price: Pico,
        /// `unit_price` times the quantity.
        cost: Pico,
        /// The row of the book.
        price_id: Arc<str>,
        /// Where the row comes from.
        source: Arc<str>,
    },
    /// Not by any.
    Unpriced(Unpriced),
}

/// Why something has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpriced {
    /// The book has no row for the model.
    UnknownModel,
    /// The book knows the model but not this class of it.
    UnknownClass,
    /// The book has rows for it, none of which is valid at that time.
    OutsideValidity,
    /// The answer states a tier that the book has no price for.
    UnknownTier,
    /// The cost is more than one row can hold.
    TooLarge,
    /// Metering does not know the book.
    UnknownBook,
    /// It passed through an API that is not known, whose prices are those that the book has under the provider's own name: it has none.
    UnknownApi,
}

impl Unpriced {
    /// Every reason, in wire order.
    pub const ALL: [Self; 7] = [
        Self::UnknownModel,
        Self::UnknownClass,
        Self::OutsideValidity,
        Self::UnknownTier,
        Self::TooLarge,
        Self::UnknownBook,
        Self::UnknownApi,
    ];

    /// The text in the `unpriced_reason` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownModel => "unknown_model",
            Self::UnknownClass => "unknown_class",
            Self::OutsideValidity => "outside_validity",
            Self::UnknownTier => "unknown_tier",
            Self::TooLarge => "too_large",
            Self::UnknownBook => "unknown_book",
            Self::UnknownApi => "unknown_api",
        }
    }
}

/// The whole list of limits, whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsInForce {
    /// The policy record that brought them.
    pub policy: Offset,
    /// All of them.
    pub limits: Vec<Limit>,
}

/// The whole list of keys, whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysInForce {
    /// The policy record that brought them.
    pub policy: Offset,
    /// All of them.
    pub keys: Vec<KeyInForce>,
}

/// A key, without anything that its secret could be known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInForce {
    /// Whose it is, and what it is called.
    pub subject: Arc<Subject>,
    /// The first instant at which it is not good any more.
    pub expires: Option<Time>,
    /// Whether it is out of use.
    pub disabled: bool,
    /// The models that it may ask for; nothing for every model.
    pub models: Vec<String>,
    /// Until when the secret that it had before is good as well.
    pub former_until: Option<Time>,
    /// Whether what it says of attempts of its tenant is the whole.
    pub corrects: bool,
}

/// What a record of the policy topic changed, or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The record.
    pub policy: Offset,
    /// When it was asked for; of a file that is not known.
    pub at: Option<Time>,
    /// Who asked for it; empty for a file.
    pub by: String,
    /// What kind of change it is, such as `key.create`; `file` for a file.
    pub kind: String,
    /// The tenant that it names; empty if it names none.
    pub tenant: String,
    /// What was changed is called so; empty for a file.
    pub name: String,
    /// All that it says, without secrets: JSON.
    pub detail: String,
    /// Why it was not made; empty if it was.
    pub refused: String,
}

/// Which price book is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookInForce {
    /// The policy record that brought it.
    pub policy: Offset,
    /// Its hash.
    pub book: BookHash,
}

/// A gateway was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its producer.
    pub producer: ProducerId,
    /// Its name.
    pub gateway: String,
    /// When it said so, by its clock.
    pub at: Time,
    /// Every call that it admitted before this is in the ledger.
    pub low_watermark: Time,
    /// Whether its producer is closed: its successor took over.
    pub closed: bool,
}

/// A hard limit was passed; said once for each window and amount, and again each time that it was passed by twice as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The instance.
    pub instance: InstanceId,
    /// The window.
    pub window: Time,
    /// Its amount.
    pub amount: i128,
    /// What was settled of it.
    pub settled: i128,
    /// Its limit; nothing in what was written before this was said.
    pub limit: Option<LimitId>,
    /// The values of the limit's `*`.
    pub values: Vec<String>,
    /// The window's end.
    pub until: Time,
    /// What was held of it beside.
    pub held: i128,
}

impl Overrun {
    /// What was settled as a share of the amount, in hundredths: more than all of it, however little more.
    pub fn percent(&self) -> u64 {
        let hundredths = self.settled.max(0).saturating_mul(100).checked_add(self.amount - 1);
        let share = hundredths.and_then(|hundredths| hundredths.checked_div(self.amount));
        u64::try_from(share.unwrap_or(i128::MAX)).unwrap_or(u64::MAX).clamp(101, u64::from(u32::MAX))
    }
}

/// A counter reached a share of its amount that its limit names; said once for each window, share and amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerted {
    /// The instance.
    pub instance: InstanceId,
    /// Its limit.
    pub limit: LimitId,
    /// The values of the limit's `*`.
    pub values: Vec<String>,
    /// The start of the window.
    pub window: Time,
    /// Its end.
    pub until: Time,
    /// The share.
    pub share: Share,
    /// The amount.
    pub amount: i128,
    /// What was settled of it.
    pub settled: i128,
    /// What was held of it.
    pub held: i128,
}

/// Something that an operator has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Whose event it was.
    pub producer: ProducerId,
    /// Which.
    pub seq: Seq,
    /// What is wrong with it.
    pub kind: AlarmKind,
    /// In words.
    pub detail: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// Its body could not be read; its place is taken, so nothing after it waits.
    Poisoned,
    /// Its sequence was taken by an event with other bytes.
    Conflict,
    /// Its journal was copied or restored: metering had seen more of it than its successor.
    Forked,
    /// It was said so long ago that nobody remembers whether it was learned before; it is set aside.
    Stale,
    /// Of what another lane passed to this one some never came: it moved counters there, and not here.
    Lost,
}

impl AlarmKind {
    /// Every kind, in wire order.
    pub const ALL: [Self; 5] = [Self::Poisoned, Self::Conflict, Self::Forked, Self::Stale, Self::Lost];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poisoned => "poisoned",
            Self::Conflict => "conflict",
            Self::Forked => "forked",
            Self::Stale => "stale",
            Self::Lost => "lost",
        }
    }
}
