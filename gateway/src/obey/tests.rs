//! A gateway that starts obeys the last policy, and none of those before it.

use std::collections::VecDeque;

use bytes::Bytes;
use journal::{Error, Header, Record};
use schemas::{
    fixture,
    id::{Lane, ProducerId, Seq},
    limit::Window,
    policy,
};

use super::*;
use crate::limits::tests::{Paper, me};

/// Policies that come one by one.
struct Policies(VecDeque<Vec<u8>>, u64);

impl Reader for Policies {
    fn poll(&mut self, _: Duration) -> Result<Vec<Record>, Error> {
        let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
        let record = self.0.pop_front().map(|body| {
            self.1 += 1;
            Record { lane: Lane(0), offset: Offset(self.1 - 1), header, body: Bytes::from(body) }
        });
        Ok(record.into_iter().collect())
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(self.1 + self.0.len() as u64)])
    }
}

/// Decisions, the last of which come with the so manieth poll.
struct Decisions(u32);

impl Follower for Decisions {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, Error> {
        self.0 = self.0.saturating_sub(1);
        Ok(Vec::new())
    }

    fn caught_up(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn nobody_is_let_in_before_all_was_read() {
    let book = Book::layered(&[]);
    let of = |amount| fixture::policy(vec![fixture::limit(amount, Window::Day)], book.hash());
    let policies = [1, 2, 3].map(|amount| policy::Record::Policy(Box::new(of(amount))));
    let records = [vec![policy::Record::Book(Box::new(book.clone()))], policies.to_vec()].concat();
    for decisions in [1, 3, 7] {
        let limits = Limits::over(me(), Arc::new(Paper::default()), 1);
        let view = Arc::new(View::default());
        let policies = Policies(records.iter().map(wire::encode_policy).collect(), 0);
        let mut obey = Obey::over(Box::new(Decisions(decisions)), Box::new(policies), limits, Arc::clone(&view));
        let turns = records.len().max(decisions as usize);
        for turn in 1..=turns {
            assert!(view.load().is_none() && !obey.ready().load(Ordering::Relaxed), "before turn {turn} of {turns}");
            obey.turn(Time::ZERO, Instant::now()).unwrap();
        }
        assert!(view.load().is_some() && obey.ready().load(Ordering::Relaxed));
        assert_eq!(view.generation(), 1, "no policy but the last was in force");
    }
}
