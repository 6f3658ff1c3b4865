//! What comes from beside: usage that other systems tell of, again and again and to any gateway, and corrections of what was charged or
//! not known.
//!
//! Reading, making and posting them is the product's own code; here is only who tells what, and how often.

use gateway::external::{Amended, Corrector, Envelope, Scene};
use metering::rerate::{Prices, Rerate};
use schemas::{
    event::{Event, Learned},
    id::{Lane, Offset},
    json::Tree,
    ledger::{Entry, Fact, LimitsInForce},
    standing::{Standing, Standings, key},
    subject::Subject,
    time::Time,
    wire,
};

use super::{
    LANES, World,
    call::{Bill, Wish},
    oracle::Obligation,
    policy::{MODELS, TENANTS, USERS},
};

/// How many tellings are remembered to be repeated.
const REMEMBERED: usize = 12;

/// The most attempts that are amended at a rest.
const AMENDED: usize = 6;

/// The most attempts that are corrected at a rest.
const CORRECTED: usize = 12;

/// What has to happen in some worlds.
pub(crate) const RIVALS: &str = "two gateways take different amendments of one attempt";

/// Steps of a race between two gateways.
const RACE: usize = 16;

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
        self.oracle.told(learned.is.attempt.call, telling.wish, process.named());
        self.write_learned(place, learned);
    }

    fn write_learned(&mut self, place: usize, learned: Learned) {
        let Some(process) = &mut self.doors[place].process else { return };
        process.write(0, learned.lane(LANES), &Event::Learned(Box::new(learned)));
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

    /// At rest: of some attempts of which something is held it turns out what they were billed, and that is told at two gateways at once:
    /// by a key that may say so, or by one that gives no room.
    pub(super) fn amend(&mut self) -> bool {
        let entries: Vec<Entry> = self.recent.iter().map(|(_, body)| wire::decode_entry(body).unwrap()).collect();
        let held = entries.iter().filter_map(|entry| match &entry.fact {
            Fact::Charged(charged) => Some(&charged.settled),
            _ => None,
        });
        let held = held.filter(|settled| settled.posted.iter().any(|posting| posting.provision > 0));
        let keys: Vec<_> = held.map(key).filter(|key| self.oracle.billed(*key).is_some()).take(AMENDED).collect();
        let mut standings = Standings::of(keys.iter().copied());
        entries.iter().for_each(|entry| standings.take(entry));
        for key in keys {
            let (Some(Some(standing)), Some(bill)) = (standings.all.get(&key), self.oracle.billed(key)) else {
                continue;
            };
            let corrects = self.outside.one_in(2);
            let Some(learned) = self.amendment(standing, bill, corrects) else { continue };
            self.oracle.amends(&learned, bill, corrects);
            // Somebody else has another bill of it, and tells that at another gateway, which does not know of the first.
            let other = Bill { output: bill.output + 1 + self.outside.below(5), ..bill };
            let rival = if self.outside.one_in(3) { self.amendment(standing, other, !corrects) } else { None };
            if let Some(rival) = &rival {
                self.oracle.amends(rival, other, !corrects);
                self.oracle.rivals(&learned.id, &rival.id);
                self.happens(RIVALS);
            }
            self.write_learned(0, learned.clone());
            self.write_learned(1, rival.unwrap_or(learned));
        }
        self.race();
        self.come_to_rest()
    }

    /// What a source says of an attempt that stands so.
    fn amendment(&mut self, standing: &Standing, bill: Bill, corrects: bool) -> Option<Learned> {
        let settled = &standing.charged.settled;
        let was = standing.usage().total().unwrap_or_default();
        self.told += 1;
        let ((call, attempt), id, now) = (key(settled), self.told, self.clock.now());
        let body = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"urn:bill","type":"tollgate.usage.amended.v1","time":"{now}","data":{{
            "call_id":"{call}","attempt":{attempt},"was":{{"input":{},"output":{}}},"tokens":{{"input":{},"output":{}}}}}}}"#,
            was.uncached_input, was.output, bill.input, bill.output
        );
        let tree = Tree::read(body.as_bytes()).unwrap();
        let process = self.doors[0].process.as_ref()?;
        let view = process.view.load()?;
        // What is stated is never less than what was reported.
        let event = Envelope::of(tree.root()).and_then(|envelope| envelope.read(&view.policy, now)).ok()?;
        let books = gateway::obey::Books::default();
        self.books.iter().for_each(|book| books.insert(std::sync::Arc::new(book.clone())));
        let corrector = Corrector { subject: &settled.attempt.subject, of_all: corrects, corrects, books: &books };
        match event.amend(corrector, Some(standing), None, &process.limits) {
            Ok(Amended::Now(learned)) => Some(*learned),
            refused => {
                let detail = format!("{call} is not amended: {refused:?}");
                self.oracle.broken(Obligation::AmendmentsAreExact, detail);
                None
            }
        }
    }

    /// What two gateways have written goes its way a little at a time, in any order of lanes and gateways.
    fn race(&mut self) {
        for place in 0..2 {
            self.flush_all(place);
            self.doors[place].platter.lock().unwrap().sync();
            self.ship(place);
        }
        for _ in 0..RACE {
            let (place, lane, some) =
                (self.outside.index(2), self.outside.index(usize::from(LANES)), 1 + self.outside.index(4));
            if let Some(process) = &mut self.doors[place].process {
                process.deliver(&self.road, lane, some);
            }
            let member = self.outside.index(self.members.len());
            self.turn(member);
        }
    }

    fn rerate(&self, book: &schemas::price::Book) -> Rerate {
        let mut rerate = Rerate::new(Prices::only(book.clone()), Time::ZERO, Time::MAX);
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
