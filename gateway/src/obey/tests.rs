//! A gateway that starts obeys the last policy, and none of those before it.

use std::collections::VecDeque;

use bytes::Bytes;
use journal::{Error, Header, Record};
use schemas::{
    decision::WindowState,
    fixture,
    id::{InstanceId, Lane, ProducerId, Seq},
    limit::{Limit, Window},
    policy::{self, ApiKey, Digest, Former, Tenant, Tenants},
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

#[test]
fn a_secret_that_two_have_is_good_for_neither() {
    let book = Arc::new(Book::layered(&[]));
    let key = |name: &str, secret: u8, former: Option<u8>| ApiKey {
        name: name.into(),
        sha256: Digest([secret; 32]),
        former: former.map(|secret| Former {
            sha256: Digest([secret; 32]),
            until: Time::from_micros(if secret == 7 { 0 } else { 4_000_000_000_000_000 }),
        }),
        ..ApiKey::default()
    };
    let tenant = |name: &str, keys| Tenant { name: name.into(), keys };
    let proxy = Proxy { name: "edge".into(), token_sha256: Digest([4; 32]), tenants: Tenants::All };
    let policy = Policy {
        tenants: vec![
            tenant(
                "acme",
                vec![
                    key("a", 1, None),
                    key("b", 2, Some(3)),
                    key("c", 4, None),
                    key("d", 6, Some(6)),
                    key("e", 8, Some(7)),
                ],
            ),
            tenant("birch", vec![key("a", 1, None), key("b", 5, Some(2)), key("f", 7, None)]),
        ],
        proxies: vec![proxy],
        ..fixture::policy(Vec::new(), book.hash())
    };
    let view = PolicyView::new(policy, book, 1);
    let good =
        |secret: u8| view.keys.get(&[secret; 32]).map(|caller| (caller.subject.key.as_str(), caller.terms.is_some()));
    // A secret that a key had before is its own, and good as that which it has if it is both.
    // One whose time is over is whose it is now.
    let wanted = [None, None, Some(("b", true)), None, Some(("b", false)), Some(("d", false)), Some(("f", false))];
    assert_eq!([1, 2, 3, 4, 5, 6, 7].map(good), wanted);
    assert!(view.proxies.is_empty());
}

#[test]
fn a_gateway_that_starts_can_name_the_counters_of_limits_that_were_taken_out_before() {
    let book = Book::layered(&[]);
    let gone = fixture::limit(1, Window::Day);
    let [one, other] = ["one", "other"].map(|name| Limit { name: name.into(), ..gone.clone() });
    let of = |limits| policy::Record::Policy(Box::new(fixture::policy(limits, book.hash())));
    let first = vec![one.clone(), gone.clone(), other.clone()];
    let records = [policy::Record::Book(Box::new(book.clone())), of(first), of(vec![one, other])];
    let limits = Limits::over(me(), Arc::new(Paper::default()), 1);
    let id = InstanceId::of::<&str>(gone.id(), &[], Some(Time::ZERO));
    let (limit, windows) = (gone.id(), vec![WindowState::new(Time::ZERO, Time::MAX)]);
    let counter = Instance { id, limit, values: Vec::new(), amount: 1, windows, holders: Vec::new(), recall: 0 };
    limits.lock().view(id, Some(Arc::new(counter)));
    let (view, turns) = (Arc::new(View::default()), records.len());
    let policies = Policies(records.iter().map(wire::encode_policy).collect(), 0);
    let mut obey = Obey::over(Box::new(Decisions(1)), Box::new(policies), Arc::clone(&limits), Arc::clone(&view));
    for _ in 0..turns {
        obey.turn(Time::ZERO, Instant::now()).unwrap();
    }
    assert!(view.load().is_some());
    assert_eq!(limits.lock().named("acme", id).map(|named| named.limit), Some(gone.id()));
}
