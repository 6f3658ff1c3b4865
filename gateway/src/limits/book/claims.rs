//! What metering has learned once and takes no second time, as far as it is remembered here: those it learned last; and what this
//! gateway has written down and metering has not taken yet.
//!
//! Metering's own memory is the one that counts. This one lets a gateway say at once that an id is used or an attempt amended, where it
//! knows, and keeps two that contradict each other from both being taken here. What another gateway takes in the same moment it does
//! not know: metering decides between those.

use std::collections::{BTreeMap, HashMap, VecDeque};

use schemas::{event::Learned, id::ClaimId};

/// The most that are remembered: some 80 bytes each, 16 MB.
const MOST: usize = 200_000;

/// The most that wait for metering's word: some 200 bytes each, 20 MB. Of more than that metering decides alone.
const WAITING: usize = 100_000;

/// The claims heard last, and those that wait to be heard.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    content: HashMap<ClaimId, u64>,
    order: VecDeque<ClaimId>,
    waiting: HashMap<ClaimId, Number>,
    told: BTreeMap<Number, Told>,
    last: Number,
}

/// Numbers what was told, in order.
pub(crate) type Number = u64;

/// What is told, by what it claims: first its source and id, then its place. Made before the books are locked, since it hashes.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    claims: Vec<ClaimId>,
    content: u64,
}

impl From<&Learned> for Told {
    fn from(learned: &Learned) -> Self {
        Self { claims: learned.claims().collect(), content: learned.content }
    }
}

/// What metering will not take, because something else stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contradicts {
    /// What was told by the same source and id.
    ItsId,
    /// Another correction that takes the place of the same.
    ItsPlace,
}

impl Claims {
    /// Metering has learned this; with nothing it has forgotten it.
    pub(crate) fn hear(&mut self, id: ClaimId, content: Option<u64>) {
        let Some(content) = content else {
            self.content.remove(&id);
            return;
        };
        // Whether it is what was told here or something else that came before: there is nothing more to wait for.
        if let Some(number) = self.waiting.get(&id) {
            self.take_back(*number);
        }
        if self.content.insert(id, content).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            if let Some(first) = self.order.pop_front() {
                self.content.remove(&first);
            }
        }
    }

    /// Whether metering has learned just this.
    pub(crate) fn has(&self, told: &Told) -> bool {
        told.claims.first().is_some_and(|said| self.content.get(said) == Some(&told.content))
    }

    /// What stands against it here.
    pub(crate) fn contradicts(&self, told: &Told) -> Option<Contradicts> {
        let waiting = |claim: &ClaimId| Some(self.told.get(self.waiting.get(claim)?)?.content);
        let content = |claim: &ClaimId| self.content.get(claim).copied().or_else(|| waiting(claim));
        let (said, places) = told.claims.split_first()?;
        match content(said) {
            Some(same) if same == told.content => None,
            Some(_) => Some(Contradicts::ItsId),
            None => places.iter().any(|place| content(place).is_some()).then_some(Contradicts::ItsPlace),
        }
    }

    /// It is written down now: until metering's word is heard nothing else is told here by its id, or in its place.
    pub(crate) fn tell(&mut self, told: Told) -> Option<Number> {
        let is_told = |claim| self.content.contains_key(claim) || self.waiting.contains_key(claim);
        if told.claims.iter().any(is_told) {
            return None;
        }
        self.last += 1;
        self.waiting.extend(told.claims.iter().map(|claim| (*claim, self.last)));
        self.told.insert(self.last, told);
        if self.told.len() > WAITING
            && let Some(first) = self.told.keys().next().copied()
        {
            self.take_back(first);
        }
        Some(self.last)
    }

    /// It was not written down, or metering has spoken.
    pub(crate) fn take_back(&mut self, number: Number) {
        let claims = self.told.remove(&number).map(|told| told.claims).unwrap_or_default();
        for claim in claims {
            self.waiting.remove(&claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{
        event::{Outcome, Settled, Was, Why},
        fixture,
        id::{BookHash, CallId},
        time::Time,
        tokens::Usage,
    };

    use super::*;

    /// Something that is told by this id: a correction of one and the same attempt.
    fn learned(id: usize, content: u64) -> Told {
        Told::from(&correction(id, content))
    }

    fn correction(id: usize, content: u64) -> Learned {
        let attempt = fixture::attempt(CallId::from_bytes([1; 16]), Time::ZERO);
        let is = Settled::bare(attempt, Time::ZERO, Outcome::Complete, Usage::none());
        let was =
            Was { why: Why::Amended, usage: Usage::none(), book: BookHash::NONE, number: 0, charged_at: Time::ZERO };
        let (source, id) = ("s".into(), id.to_string());
        Learned { source, id, at: Time::ZERO, content, was: Some(was), is, moves: Vec::new(), awaits: false }
    }

    /// The same of nothing that was before.
    fn new(id: usize, content: u64) -> Told {
        Told::from(&Learned { was: None, ..correction(id, content) })
    }

    fn said(told: &Told) -> ClaimId {
        told.claims[0]
    }

    #[test]
    fn those_heard_last_are_remembered_until_metering_forgets_them() {
        let mut claims = Claims::default();
        (0..=MOST).for_each(|number| claims.hear(said(&new(number, 7)), Some(7)));
        let known = |claims: &Claims, id| claims.has(&new(id, 7));
        assert_eq!((known(&claims, 0), known(&claims, 1), known(&claims, MOST)), (false, true, true));
        claims.hear(said(&new(1, 7)), None);
        assert!(!known(&claims, 1));
    }

    #[test]
    fn of_two_that_contradict_each_other_the_second_is_told_so_before_metering_speaks_and_after() {
        let mut claims = Claims::default();
        let (first, otherwise, beside, alike) = (learned(1, 7), learned(1, 8), learned(2, 8), learned(2, 7));
        assert!(claims.tell(first.clone()).is_some());
        let check = |claims: &Claims| {
            let all = [&first, &otherwise, &beside, &alike].map(|learned| claims.contradicts(learned));
            let place = Some(Contradicts::ItsPlace);
            assert_eq!(all, [None, Some(Contradicts::ItsId), place, place]);
        };
        check(&claims);
        assert_eq!((claims.tell(first.clone()), claims.has(&first)), (None, false));
        first.claims.iter().for_each(|claim| claims.hear(*claim, Some(7)));
        check(&claims);
        assert!(claims.has(&first) && claims.told.is_empty() && claims.waiting.is_empty());
    }

    #[test]
    fn what_was_not_written_or_lost_against_another_gateway_s_stands_in_nobody_s_way() {
        for lost in [false, true] {
            let mut claims = Claims::default();
            let number = claims.tell(learned(1, 7)).unwrap();
            if lost {
                let winner = learned(2, 8);
                winner.claims.iter().for_each(|claim| claims.hear(*claim, Some(8)));
                assert_eq!(claims.contradicts(&learned(1, 7)), Some(Contradicts::ItsPlace));
            } else {
                claims.take_back(number);
                assert_eq!(claims.contradicts(&learned(2, 8)), None);
            }
            assert_eq!(claims.contradicts(&new(1, 9)), None, "its id is free");
        }
    }

    #[test]
    fn so_many_wait() {
        let mut claims = Claims::default();
        for number in 0..=WAITING {
            assert!(claims.tell(new(number, 7)).is_some());
        }
        assert_eq!((claims.contradicts(&new(0, 8)), claims.told.len()), (None, WAITING));
        assert_eq!(claims.contradicts(&new(1, 8)), Some(Contradicts::ItsId));
    }
}
