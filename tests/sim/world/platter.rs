//! A gateway's journal in memory: what an operating system and a disk do to it.
//!
//! An append is in the page cache: the death of the process keeps it. An fsync moves the mark up to which a power loss keeps it;
//! behind the mark it is torn at any byte. It gives sequences, names its predecessor and trims exactly as the journal says
//! it does: whole segments, confirmed, and not needed for what is open.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gateway::limits::Outlet;
use journal::{Draft, Error, Header, Predecessor, Record};
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    wire,
};

use super::dice::Dice;

/// Records in a segment, the grain of trimming.
const SEGMENT: u64 = 16;

/// The journal's files. A clone is a copy of the directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    first: u64,
    records: VecDeque<(u64, Record)>,
    synced: u64,
    batch: u64,
    /// What the process began with.
    opened: u64,
    /// Who wrote, and how far, as of the first record kept.
    before: Option<Predecessor>,
    /// Who wrote last in that of which its files are a copy, and known as one.
    copy_of: Option<ProducerId>,
    /// The process that has it open.
    me: Option<ProducerId>,
    seqs: BTreeMap<Lane, u64>,
    confirmed: HashMap<(ProducerId, Lane), u64>,
    keep_from: u64,
    /// Everybody who wrote what was kept when it was opened.
    ancestors: BTreeSet<ProducerId>,
    pub(crate) fsync_always: bool,
    /// The disk takes nothing at the moment.
    pub(crate) full: bool,
}

impl Platter {
    /// A new process opens it.
    pub(crate) fn open(&mut self, me: ProducerId) -> (Option<Predecessor>, Vec<Record>) {
        self.me = Some(me);
        self.seqs.clear();
        self.confirmed.clear();
        self.keep_from = self.first;
        self.opened = self.batch + 1;
        self.ancestors = self.records.iter().map(|(_, record)| record.header.producer).collect();
        (self.heads(), self.records.iter().map(|(_, record)| record.clone()).collect())
    }

    /// A copy of the directory, taken of a live process or not, is what a dead one would leave.
    pub(crate) fn revive(&mut self) {
        self.sync();
        self.full = false;
    }

    /// A copy of its files, each of them another than that which it was made of.
    pub(crate) fn files(&self) -> Self {
        Self { copy_of: self.heads().map(|heads| heads.producer), ..self.clone() }
    }

    pub(crate) fn heads(&self) -> Option<Predecessor> {
        let heads = self.records.iter().fold(self.before.clone(), |heads, (_, record)| Some(after(heads, record)));
        heads.map(|heads| Predecessor { is_copied: self.copy_of == Some(heads.producer), ..heads })
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.end();
    }

    /// The power fails: of what is not on the platter everything from some byte on is gone. The journal reads batches that are whole;
    /// the world takes it to be cut behind any record as well, since nothing may depend on what happened to go together. What a
    /// producer begins with has to be together: each lane hears of its predecessor, or none does. Gives what is lost.
    pub(crate) fn tear(&mut self, dice: &mut Dice) -> Vec<Record> {
        let kept = (self.synced.max(self.first) - self.first) as usize;
        let bytes = |(_, record): &(u64, Record)| record.body.len() as u64 + 1;
        let mut left = dice.below(self.records.iter().skip(kept).map(bytes).sum::<u64>() + 1);
        let whole = dice.one_in(2);
        let mut end = kept;
        while let Some(bytes) = self.records.get(end).map(bytes).filter(|bytes| *bytes <= left) {
            left -= bytes;
            end += 1;
        }
        let batch = |at: usize| self.records.get(at).map(|(batch, _)| *batch);
        let is_first = |at: usize| self.records.get(at).is_some_and(|(batch, _)| *batch == self.opened);
        while (whole || is_first(end)) && end > kept && batch(end).is_some() && batch(end) == batch(end - 1) {
            end -= 1;
        }
        let mut lost: Vec<Record> = self.records.drain(end..).map(|(_, record)| record).collect();
        lost.reverse();
        self.synced = self.end();
        lost
    }

    /// Every record from a place on that may leave the machine.
    pub(crate) fn readable(&self, from: u64, unsynced_too: bool) -> impl Iterator<Item = &Record> {
        let end = if unsynced_too { self.end() } else { self.synced };
        let skip = from.saturating_sub(self.first);
        let count = end.saturating_sub(self.first).saturating_sub(skip);
        self.records.iter().skip(skip as usize).take(count as usize).map(|(_, record)| record)
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn keep_from(&mut self, position: u64) {
        self.keep_from = self.keep_from.max(position);
        self.trim();
    }

    pub(crate) fn confirmed(&self, producer: ProducerId, lane: Lane) -> Seq {
        Seq(self.confirmed.get(&(producer, lane)).copied().unwrap_or(0))
    }

    /// How many records metering has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.records.iter().filter(|(_, record)| !self.is_confirmed(record)).count()
    }

    fn is_confirmed(&self, record: &Record) -> bool {
        self.confirmed(record.header.producer, record.lane) >= record.header.seq
    }

    fn trim(&mut self) {
        loop {
            let end = self.first + SEGMENT;
            let segment = || self.records.iter().take(SEGMENT as usize);
            if end > self.keep_from.min(self.synced) || !segment().all(|(_, record)| self.is_confirmed(record)) {
                return;
            }
            for (_, record) in self.records.drain(..SEGMENT as usize) {
                self.before = Some(after(self.before.take(), &record));
            }
            self.first = end;
        }
    }

    fn append(&mut self, drafts: &[Draft<'_>]) -> Result<(), Error> {
        let Some(producer) = self.me.filter(|_| !self.full) else { return Err(Error::Closed) };
        self.batch += 1;
        for draft in drafts {
            let seq = self.seqs.entry(draft.lane).or_default();
            *seq += 1;
            let header = Header { producer, seq: Seq(*seq), hash: wire::hash(draft.body) };
            let (offset, body) = (Offset(self.first + self.records.len() as u64), Bytes::copy_from_slice(draft.body));
            self.records.push_back((self.batch, Record { lane: draft.lane, offset, header, body }));
        }
        if self.fsync_always {
            self.sync();
        }
        Ok(())
    }
}

fn after(heads: Option<Predecessor>, record: &Record) -> Predecessor {
    let producer = record.header.producer;
    let mut heads = heads.filter(|heads| heads.producer == producer).unwrap_or_else(|| Predecessor {
        producer,
        last: BTreeMap::new(),
        is_copied: false,
    });
    heads.last.insert(record.lane, record.header.seq);
    heads
}

/// A process's hand on its journal. After its death it writes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    pub(crate) platter: Arc<Mutex<Platter>>,
    pub(crate) me: ProducerId,
}

impl Outlet for Pen {
    fn append(&self, drafts: &[Draft<'_>]) -> Result<(), Error> {
        self.platter.lock().unwrap().append(drafts)
    }

    fn confirm(&self, producer: ProducerId, lane: Lane, seq: Seq) {
        let mut platter = self.platter.lock().unwrap();
        if producer == self.me || platter.ancestors.contains(&producer) {
            let known = platter.confirmed.entry((producer, lane)).or_default();
            *known = (*known).max(seq.0);
            platter.trim();
        }
    }
}
