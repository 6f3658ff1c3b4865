//! A call and the provider behind it: what it asks, what it is bounded by, what it is billed in the end, and how it ends.
//!
//! The bill is decided when the call is made and told to the oracle alone; the gateway learns of it what the provider reports.

use std::{sync::Arc, time::Duration};

use gateway::{
    limits::Permit,
    meter::{Finish, Measured, visible::Visible},
    settlement::{Account, End},
};
use schemas::{
    bound::{AtMost, Bound, OutputCap},
    event::{Api, Attempt},
    id::{BookHash, CallId, Lane},
    money::Pico,
    price::Book,
    subject::Subject,
    time::Time,
    tokens::{Completeness, Doubt, Part, Usage, Vector},
};

use super::{
    dice::Dice,
    policy::{FEATURES, MODELS, TENANTS, USERS, price},
};

/// A call that is open at a gateway.
pub(crate) struct Call {
    pub(crate) facts: Attempt,
    pub(crate) bound: Bound,
    pub(crate) wish: Wish,
    /// The book it was admitted under, and its number.
    pub(crate) book: Book,
    pub(crate) priced: usize,
    pub(crate) stage: Stage,
    pub(crate) permit: Option<Permit>,
    pub(crate) bill: Bill,
    /// What the provider has reported so far.
    pub(crate) reported: Bill,
    /// A place in the journal that is not after its first record.
    pub(crate) position: u64,
    /// When it gives up waiting for a lease.
    pub(crate) patience: std::time::Instant,
    /// Whether what it holds more is on its way to the journal.
    pub(crate) growing: bool,
    /// Whether it holds more than it was admitted with.
    pub(crate) has_grown: bool,
    /// When it has to be over.
    pub(crate) deadline: std::time::Instant,
    /// What the attempt before it came to, if it follows one, until its own admission is written.
    pub(crate) before: Option<Box<Before>>,
    /// When the first attempt was admitted.
    pub(crate) since: Time,
}

/// An attempt that failed and of which it is not decided whether its call goes on.
pub(crate) struct Before {
    pub(crate) lane: Lane,
    pub(crate) position: u64,
    pub(crate) account: Account,
    pub(crate) permit: Permit,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for a lease.
    Waiting,
    /// Its admission is on the way to the journal.
    Admitted,
    /// The provider works on it.
    Sent,
}

/// Tokens, as a provider bills or reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) tenant: usize,
    pub(crate) user: usize,
    pub(crate) provider: usize,
    pub(crate) model: usize,
    /// What its client says in a tag, if it says so.
    pub(crate) feature: Option<usize>,
    pub(crate) bound: Bill,
    pub(crate) bill: Bill,
    /// Whether nobody sees its output before it is billed.
    pub(crate) hidden: bool,
}

/// What can be known of what an attempt used when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// All of it.
    Whole(Bill),
    /// What the provider had reported by then.
    AtLeast(Bill),
    /// Nothing.
    Unknown,
}

impl Ending {
    /// What is known of it.
    pub(crate) const fn known(self) -> Option<Bill> {
        match self {
            Self::Whole(bill) | Self::AtLeast(bill) => Some(bill),
            Self::Unknown => None,
        }
    }
}

impl Bill {
    pub(crate) const fn vector(self) -> Vector {
        Vector {
            uncached_input: self.input,
            output: self.output,
            cache_read: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
            audio_input: 0,
            audio_output: 0,
            web_searches: 0,
            reasoning: 0,
            search_units: 0,
            guardrails: 0,
            tool_calls: 0,
            image_input: 0,
            image_output: 0,
            cache_read_audio: 0,
            code_sessions: 0,
        }
    }
}

impl Wish {
    /// Any call: some small, some large, now and then one that is billed beyond its bound.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let largest = if dice.one_in(8) { 1_200 } else { 120 };
        let bound = Bill { input: 1 + dice.below(largest), output: dice.below(largest) };
        let bill = Bill { input: dice.below(bound.input + 1), output: dice.below(bound.output + 1) };
        let whole = dice.one_in(3);
        let beyond = dice.one_in(1_500);
        Self {
            tenant: dice.index(TENANTS.len()),
            user: dice.index(USERS.len()),
            provider: dice.index(2),
            model: usize::from(dice.one_in(6)),
            feature: Some(dice.index(FEATURES.len())),
            bound,
            hidden: dice.one_in(4),
            bill: if beyond {
                Bill { input: 100 * bound.input, output: bill.output }
            } else if whole {
                bound
            } else {
                bill
            },
        }
    }

    pub(crate) fn facts(&self, dice: &mut Dice, number: u16, gateway: &str, book: BookHash, at: Time) -> Attempt {
        let provider = ["p1", "p2"][self.provider].to_owned();
        Attempt {
            call: CallId::from_bytes(dice.bytes()),
            attempt: number,
            admitted_at: at,
            subject: Arc::new(Subject {
                tenant: TENANTS[self.tenant].into(),
                user: USERS[self.user].into(),
                key: "ci".into(),
                tags: self
                    .feature
                    .map(|feature| ("feature".to_owned(), FEATURES[feature].to_owned()))
                    .into_iter()
                    .collect(),
                ..Subject::default()
            }),
            api: Api::OpenAiChat,
            provider,
            model: MODELS[self.model].into(),
            model_requested: MODELS[self.model].into(),
            stream: true,
            book,
            gateway: gateway.into(),
        }
    }

    /// The bound as the gateway would compute it under a book.
    pub(crate) fn at_most(&self, book: usize, bound: Bill) -> Bound {
        let cost = price(book, self.model) * (i128::from(bound.input) + 2 * i128::from(bound.output));
        Bound::AtMost(AtMost {
            input: bound.input,
            output: bound.output,
            requests: 1,
            tool_calls: 0,
            cost: Ok(Pico(cost)),
            output_price: Pico(2 * price(book, self.model)),
            output_cap: OutputCap::Stated(bound.output),
        })
    }
}

/// How long a call waits for a lease, as the gateway does.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2_000);

/// How a call that was sent ends. A provider that has `reported` usage has taken the call and bills for it: it can break off, but no more
/// turn it down.
pub(crate) fn ending(dice: &mut Dice, reported: bool) -> End {
    const ENDS: [(End, u64); 9] = [
        (End::Complete, 60),
        (End::ClientGoneDrained, 6),
        (End::ClientGone, 8),
        (End::Truncated, 5),
        (End::TimedOut, 4),
        (End::NoAnswer, 4),
        (End::Refused, 6),
        (End::NotSent, 3),
        (End::Cut, 3),
    ];
    match ENDS[dice.weighted(&ENDS.map(|(_, weight)| weight))].0 {
        End::Refused | End::NotSent if reported => End::Truncated,
        end => end,
    }
}

impl Call {
    /// What can be known of it if it ends so, where a refusal has this status.
    pub(crate) fn known(&self, end: End, status: u16) -> Ending {
        match end {
            End::Complete | End::ClientGoneDrained => Ending::Whole(self.bill),
            End::NotSent | End::ClientGoneBefore => Ending::Whole(Bill::default()),
            // It was turned down before anybody worked on it.
            End::Refused if status == 400 => Ending::Whole(Bill::default()),
            End::Refused | End::NoAnswer => Ending::Unknown,
            _ if self.reported == Bill::default() => Ending::Unknown,
            End::ClientGone | End::TimedOut | End::Truncated | End::Cut => Ending::AtLeast(self.reported),
        }
    }

    /// What the meter has read when it ends.
    pub(crate) fn measured(&self, end: End) -> Option<Measured> {
        let usage = match end {
            End::Complete | End::ClientGoneDrained => Usage::exact(self.bill.vector()),
            End::NoAnswer | End::NotSent | End::Refused | End::ClientGoneBefore => return None,
            _ if self.reported == Bill::default() => return None,
            End::ClientGone => self.lower(Doubt::ClientLeft),
            End::TimedOut => self.lower(Doubt::TimedOut),
            End::Truncated | End::Cut => self.lower(Doubt::Truncated),
        };
        Some(Measured {
            usage,
            raw_usage: String::new(),
            model_answered: String::new(),
            response_id: String::new(),
            service_tier: String::new(),
            region: String::new(),
            provider_cost: None,
            finish: Finish::Complete,
            visible: Visible::default(),
            background: None,
            is_response: false,
        })
    }

    fn lower(&self, why: Doubt) -> Usage {
        Usage { parts: self.parts(), completeness: Completeness::LowerBound(why) }
    }

    /// What was reported, as the gateway writes it down.
    pub(crate) fn parts(&self) -> Vec<Part> {
        if self.reported == Bill::default() {
            return Vec::new();
        }
        vec![Part { model: None, vector: self.reported.vector() }]
    }

    /// It is made with the cheap model instead, and is still that call.
    pub(crate) fn downgrade(&mut self) {
        self.wish.model = 0;
        self.bound = self.wish.at_most(self.priced, self.wish.bound);
        self.facts.model = MODELS[0].into();
    }

    /// Whether all its output may be relayed.
    pub(crate) fn has_room(&self) -> bool {
        let sliced = self.permit.as_ref().and_then(|permit| permit.sliced.as_ref());
        sliced.is_none_or(|sliced| self.bill.output <= sliced.room)
    }

    /// The provider reports a little more.
    pub(crate) fn report(&mut self, dice: &mut Dice) {
        self.reported.input = self.bill.input;
        let more = dice.below(self.bill.output - self.reported.output + 1);
        self.reported.output += if self.wish.hidden { 0 } else { more };
    }
}
