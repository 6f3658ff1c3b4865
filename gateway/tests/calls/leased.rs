//! Limits that lease all of their amount to one gateway for as long as a test lasts, with no metering behind them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    limits::Limits,
    obey::{Obey, View},
};
use journal::{Change, Error, Follower, Header, Journal, Reader, Record};
use schemas::{
    decision::{Holder, Instance, Key, State, WindowState},
    fixture,
    id::{InstanceId, Lane, Offset, ProducerId, Seq},
    limit::{Limit, Schedule},
    policy,
    price::Book,
    time::{Time, now},
    wire,
};

struct Decisions(Vec<Change>);

impl Follower for Decisions {
    fn poll(&mut self, _: Duration) -> Result<Vec<Change>, Error> {
        Ok(std::mem::take(&mut self.0))
    }

    fn caught_up(&self) -> bool {
        true
    }
}

struct Policies(Mutex<Vec<Vec<u8>>>);

impl Reader for Policies {
    fn poll(&mut self, _: Duration) -> Result<Vec<Record>, Error> {
        let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
        let record = |(offset, body)| Record { lane: Lane(0), offset: Offset(offset), header, body: Bytes::from(body) };
        Ok((0..).zip(std::mem::take(&mut *self.0.lock().unwrap())).map(record).collect())
    }

    fn ends(&mut self) -> Result<Vec<Offset>, Error> {
        Ok(vec![Offset(2)])
    }
}

/// The limits of the gateway that writes this journal; none of them has a `*`.
pub(crate) fn all(limits: &[Limit], journal: &Arc<Journal>, lanes: u16) -> Arc<Limits> {
    let leased = Limits::new(Arc::clone(journal), lanes);
    if limits.is_empty() {
        return leased;
    }
    let (book, at) = (Book::layered(&[]), now());
    let in_force = fixture::policy(limits.to_vec(), book.hash());
    let records = [policy::Record::Book(Box::new(book)), policy::Record::Policy(Box::new(in_force))];
    let start = Time::from_micros(at.as_micros() - 3_600_000_000);
    let end = at.after(Duration::from_secs(86_400));
    let changes = limits.iter().flat_map(|limit| {
        let id = limit.id();
        let instance = Instance {
            id: InstanceId::of::<&str>(id, &[], (!limit.window.stands()).then_some(start)),
            limit: id,
            values: Vec::new(),
            amount: limit.amount,
            windows: vec![WindowState::new(start, end)],
            holders: vec![Holder { granted: limit.amount, ..Holder::new(journal.producer()) }],
            recall: 0,
        };
        let lane = limit.home::<&str>(&[], lanes);
        let schedule = State::Schedule(Schedule { limit: id, boundaries: vec![start, end] });
        let states =
            [(Key::Schedule(lane, id), schedule), (Key::Instance(instance.id), State::Instance(Box::new(instance)))];
        states.map(|(key, state)| Change {
            lane,
            key: wire::encode_key(&key).into(),
            state: Some(wire::encode_state(&state).into()),
        })
    });
    let follower = Box::new(Decisions(changes.collect()));
    let policies = Box::new(Policies(Mutex::new(records.iter().map(wire::encode_policy).collect())));
    let mut obey = Obey::over(follower, policies, Arc::clone(&leased), Arc::new(View::default()));
    obey.turn(at, Instant::now()).unwrap();
    leased
}
