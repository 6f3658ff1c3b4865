//! What comes from beside: usage that other systems tell of, again and again and to any gateway, and corrections of what was charged.
//!
//! Reading, making and posting them is the product's own code; here is only who tells what, and how often.

use gateway::external::{Envelope, Scene};
use metering::rerate::Rerate;
use schemas::{
    event::{Event, Learned},
    id::{Lane, Offset},
    json::Tree,
    ledger::{Entry, Fact, LimitsInForce},
    subject::Subject,
    time::Time,
    wire,
};

use super::{
    LANES, World,
    call::Wish,
    oracle::Obligation,
    policy::{MODELS, TENANTS, USERS},
};

/// How many tellings are remembered to be repeated.
const REMEMBERED: usize = 12;

/// The most attempts that are corrected at a rest.
const CORRECTED: usize = 12;

/// Usage that somebody tells of.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    id: u64,
    wish: Wish,
    time: Time,
}

impl World {
    /// Another system tells of a call that passed elsewhere, or tells of it again.
    pub(super) fn tell(&mut self, place: usize) {
        let door = &mut self.doors[place];
        let Some(process) = &mut door.process else { return };
        let Some(view) = process.view.load() else { return };
        let now = door.clock.now();
        let telling = if self.outside.one_in(3) && !self.tellings.is_empty() {
            self.tellings[self.outside.index(self.tellings.len())].clone()
        } else {
            let ago = if self.outside.one_in(4) { self.outside.below(90_000) } else { self.outside.below(3) };
            let time = Time::from_micros(now.as_micros() - ago as i64 * 1_000_000);
            self.told += 1;
            let wish = Wish { feature: None, ..Wish::any(&mut self.outside) };
            let telling = Telling { id: self.told, wish, time };
            self.tellings.push(telling.clone());
            let surplus = self.tellings.len().saturating_sub(REMEMBERED);
            self.tellings.drain(..surplus);
            telling
        };
        let body = telling.json();
        let tree = Tree::read(body.as_bytes()).unwrap();
        let event = Envelope::of(tree.root()).and_then(|envelope| envelope.read(&view.policy, now));
        // A gateway whose clock is behind takes it for one of the future.
        let Ok(event) = event else { return };
        let (subject, gateway) = (telling.wish.subject(), door.name.as_str().into());
        let scene = Scene { subject: &subject, book: &view.book, gateway: &gateway };
        let learned = event.learn(scene, &process.limits);
        self.oracle.told(learned.is.attempt.call, telling.wish);
        self.write_learned(place, learned);
    }

    fn write_learned(&mut self, place: usize, learned: Learned) {
        let Some(process) = &mut self.doors[place].process else { return };
        let lanes = learned.lanes(LANES);
        let event = Event::Learned(Box::new(learned));
        lanes.into_iter().for_each(|lane| process.write(lane, &event));
    }

    /// At rest: some of what was charged since the last one is rated by another book, from two places at once; a second time there
    /// is no difference.
    pub(super) fn correct(&mut self) -> bool {
        let number = self.outside.index(2);
        let book = self.books[number].clone();
        let mut corrections = self.rerate(&book).corrections(self.clock.now());
        corrections.truncate(CORRECTED);
        if corrections.is_empty() {
            return true;
        }
        for learned in &corrections {
            self.oracle.corrects(learned, number);
            for place in 0..2 {
                self.write_learned(place, learned.clone());
            }
        }
        if !self.come_to_rest() {
            return false;
        }
        let left = self.rerate(&book).corrections(self.clock.now());
        let again = |learned: &&Learned| {
            let same = |done: &&Learned| done.is.attempt.call == learned.is.attempt.call;
            corrections.iter().filter(same).any(|done| done.is.attempt.attempt == learned.is.attempt.attempt)
        };
        if let Some(learned) = left.iter().find(again) {
            let detail = format!("{} differs from what it was corrected to", learned.id);
            self.oracle.broken(Obligation::ChargesAreExact, detail);
        }
        true
    }

    fn rerate<'b>(&self, book: &'b schemas::price::Book) -> Rerate<'b> {
        let mut rerate = Rerate::new(book, Time::ZERO, Time::MAX);
        let limits = Fact::Limits(LimitsInForce { policy: Offset(0), limits: self.limits.clone() });
        rerate.take(Lane(0), Entry { recorded_at: Time::ZERO, fact: limits });
        for (lane, body) in &self.recent {
            rerate.take(*lane, wire::decode_entry(body).unwrap());
        }
        rerate
    }
}

impl Telling {
    /// The event, the same bytes whenever it is told.
    fn json(&self) -> String {
        let Self { id, wish, time } = self;
        let (provider, model) = (["p1", "p2"][wish.provider], MODELS[wish.model]);
        let (input, output) = (wish.bill.input, wish.bill.output);
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"urn:sim","type":"tollgate.usage.v1","time":"{time}","data":{{
            "provider":"{provider}","model":"{model}","api":"openai.chat","tokens":{{"input":{input},"output":{output}}}}}}}"#
        )
    }
}

impl Wish {
    /// Who asks.
    pub(crate) fn subject(&self) -> Subject {
        let (tenant, user) = (TENANTS[self.tenant].into(), USERS[self.user].into());
        Subject { tenant, user, key: "ci".into(), ..Subject::default() }
    }
}
