//! Limits that are leased to one gateway with all of their amount, for a day, with no metering behind them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    limits::Limits,
    obey::{Obey, View},
};
use journal::{Change, Error, Follower, Header, Reader, Record};
use schemas::{
    decision::{Holder, Instance, Key, State, WindowState},
    fixture,
    id::{InstanceId, Lane, Offset, ProducerId, Seq},
    limit::{Limit, Match, Schedule},
    policy,
    price::Book,
    time::Time,
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

/// Leases all of these to a gateway, whose limits they become. Those with a `*` have one counter, that of the tenant `acme`.
pub(crate) fn all(limits: &[Limit], to: &Arc<Limits>, (gateway, lanes): (ProducerId, u16), at: Time) {
    let book = Book::layered(&[]);
    let in_force = fixture::policy(limits.to_vec(), book.hash());
    let records = [policy::Record::Book(Box::new(book)), policy::Record::Policy(Box::new(in_force))];
    let (start, end) = (Time::from_micros(at.as_micros() - 3_600_000_000), at.after(Duration::from_secs(86_400)));
    let changes = limits.iter().flat_map(|limit| {
        let id = limit.id();
        let each = limit.scope.iter().any(|(_, matcher)| *matcher == Match::Each);
        let values = if each { vec!["acme".to_owned()] } else { Vec::new() };
        let lane = limit.home(&values, lanes);
        let instance = Instance {
            id: InstanceId::of(id, &values, (!limit.window.stands()).then_some(start)),
            limit: id,
            values,
            amount: limit.amount,
            windows: vec![WindowState::new(start, end)],
            holders: vec![Holder { granted: limit.amount, ..Holder::new(gateway) }],
            recall: 0,
        };
        let schedule = State::Schedule(Schedule { limit: id, boundaries: vec![start, end] });
        let states =
            [(Key::Schedule(lane, id), schedule), (Key::Instance(instance.id), State::Instance(Box::new(instance)))];
        states.map(|(key, state)| Change {
            lane,
            key: wire::encode_key(&key).into(),
            state: Some(wire::encode_state(&state).into()),
        })
    });
    let heard = (0..lanes).map(Lane).map(|lane| Change {
        lane,
        key: wire::encode_key(&Key::Lane(lane)).into(),
        state: Some(wire::encode_state(&State::Lane(fixture::heard(gateway, at))).into()),
    });
    let follower = Box::new(Decisions(changes.chain(heard).collect()));
    let policies = Box::new(Policies(Mutex::new(records.iter().map(wire::encode_policy).collect())));
    let mut obey = Obey::over(follower, policies, Arc::clone(to), Arc::new(View::default()));
    obey.turn(at, Instant::now()).unwrap();
}
