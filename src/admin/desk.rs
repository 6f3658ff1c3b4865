//! The policy topic as the admin API uses it: read to its end before every answer, appended to, and read back.
//!
//! All of it blocks. One request at a time uses it; the others wait, which takes as long as one append.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use journal::{Reader, Road};
use schemas::{
    id::{Offset, ProducerId},
    ledger::Changed,
    policy::{Change, Fold, Once, Policy, Record, Refusal, Step, What, told},
    time::now,
    topics::Topic,
    wire,
};

use super::http::Fault;

/// How long one look at the topic may take.
const LOOK: Duration = Duration::from_millis(50);

/// How long the log may give nothing before it counts as away.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most changes that are listed; the table `policy_changes` has all of them.
const MOST: usize = 1_000;

/// The policy in force and its version.
#[derive(Clone)]
pub(super) struct Now {
    pub(super) policy: Arc<Policy>,
    pub(super) version: u64,
    /// Whether the change was made by the same request before.
    pub(super) was_made: bool,
}

pub(super) struct Desk {
    road: Arc<dyn Road>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    reader: Option<Box<dyn Reader>>,
    next: Offset,
    fold: Fold,
    changes: VecDeque<Changed>,
}

/// What became of a change.
type Made = Result<(), Refusal>;

impl Desk {
    pub(super) fn new(road: Arc<dyn Road>) -> Self {
        Self { road, read: Mutex::default() }
    }

    /// The policy in force, as far as it is published now.
    pub(super) fn now(&self) -> Result<Now, Fault> {
        let mut read = self.lock();
        read.catch_up(&*self.road)?;
        read.now()
    }

    /// The last changes, the latest first.
    pub(super) fn changes(&self) -> Result<(u64, Vec<Changed>), Fault> {
        let mut read = self.lock();
        read.catch_up(&*self.road)?;
        Ok((read.fold.version(), read.changes.iter().rev().cloned().collect()))
    }

    /// Makes of the policy in force a change, appends it, and says what is in force with it, or why it is not made.
    pub(super) fn change(
        &self,
        by: &str,
        (expects, once): (Option<u64>, Option<Once>),
        make: impl FnOnce(&Policy) -> Result<What, Fault>,
    ) -> Result<Now, Fault> {
        let mut read = self.lock();
        read.catch_up(&*self.road)?;
        if let Err(why) = read.fold.was_made(once.as_ref()) {
            return read.refused(why);
        }
        let what = make(&read.now()?.policy)?;
        let id = ProducerId::fresh().to_string();
        let change = Change { id: id.clone(), at: now(), by: by.to_owned(), expects, once, what };
        if let Err(why) = read.fold.spares(&change) {
            return read.refused(why);
        }
        let body = wire::encode_policy(&Record::Change(Box::new(change)));
        self.road.publish(&[body.into()]).map_err(|error| Fault::log(&error))?;
        match read.until_made(&*self.road, &id)? {
            Ok(()) => read.now(),
            Err(why) => read.refused(why),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn now(&self) -> Result<Now, Fault> {
        let policy = self.fold.in_force().cloned().ok_or_else(|| Fault::refused(Refusal::NoPolicy))?;
        Ok(Now { policy, version: self.fold.version(), was_made: false })
    }

    /// What is in force if a change was only asked for again; else why it is not made.
    fn refused(&self, why: Refusal) -> Result<Now, Fault> {
        match why {
            Refusal::MadeBefore => Ok(Now { was_made: true, ..self.now()? }),
            why => Err(Fault::refused(why)),
        }
    }

    fn catch_up(&mut self, road: &dyn Road) -> Result<(), Fault> {
        let end = self.reader(road)?.ends().map_err(|error| Fault::log(&error))?.first().copied().unwrap_or_default();
        let since = Instant::now();
        while self.next < end {
            self.poll(road, since, "")?;
        }
        Ok(())
    }

    /// Reads on to the change of this id.
    fn until_made(&mut self, road: &dyn Road, id: &str) -> Result<Made, Fault> {
        let since = Instant::now();
        loop {
            if let Some(made) = self.poll(road, since, id)? {
                return Ok(made);
            }
        }
    }

    /// Takes in what there is; gives what became of the change of this id, if it is among that.
    fn poll(&mut self, road: &dyn Road, since: Instant, id: &str) -> Result<Option<Made>, Fault> {
        if since.elapsed() > PATIENCE {
            return Err(Fault::away("the log gives nothing; read the policy again to see whether the change was made"));
        }
        let mut found = None;
        for record in self.reader(road)?.poll(LOOK).map_err(|error| Fault::log(&error))? {
            self.next = Offset(record.offset.0 + 1);
            match wire::decode_policy(&record.body) {
                Ok(known) => {
                    let is_it = matches!(&known, Record::Change(change) if change.id == id);
                    let made = self.take(record.offset, known);
                    found = if is_it { Some(made) } else { found };
                }
                Err(error) => tracing::error!(offset = record.offset.0, %error, "a policy record cannot be read"),
            }
        }
        Ok(found)
    }

    fn take(&mut self, offset: Offset, record: Record) -> Made {
        let (step, told) = told::take(&mut self.fold, offset, record);
        if let Some(told) = told {
            if self.changes.len() == MOST {
                self.changes.pop_front();
            }
            self.changes.push_back(told);
        }
        match step {
            Step::Refused(why) => Err(why),
            Step::Book(_) | Step::InForce(_) => Ok(()),
        }
    }

    fn reader(&mut self, road: &dyn Road) -> Result<&mut Box<dyn Reader>, Fault> {
        if self.reader.is_none() {
            let reader = road.reader(Topic::Policy, &[self.next]).map_err(|error| Fault::log(&error))?;
            self.reader = Some(reader);
        }
        self.reader.as_mut().ok_or_else(|| Fault::away("the log cannot be read"))
    }
}
