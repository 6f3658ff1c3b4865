//! The lake in memory: two writers over one store, and a query that keeps its pin.
//!
//! Rows, the tail, the pins and the rule of the commit are the lake's own code, and so is where a writer begins: it knows nothing
//! but the versions that it finds. The store keeps what a table in object storage keeps: a commit is taken only on the newest
//! version, and whether its answer arrives is up to the dice. Two writers take turns in being late, so each is a zombie now and
//! then; and each dies now and then, between two tables, before a commit, or after one and before it has heard of it. The ledger
//! lets go of what every table has and both have read.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Decimal128Type, Int32Type, Int64Type},
};
use query::{
    lake::{
        Version,
        shelving::{Shelving, Step},
    },
    table::{self, LOG_OFFSET, LOG_PARTITION, Place, Policies, TableDef},
    tail::{Bounds, Pin, Placed, Tail},
};
use schemas::{
    id::{BookHash, Lane, LimitId, Offset},
    limit::Limit,
    price::Book,
};

use super::{
    dice::Dice,
    oracle::{Obligation, Oracle},
    plant::Plant,
    policy,
    road::Road,
};

/// How often a commit is tried.
const ATTEMPTS: usize = 20;

/// As many entries as there are.
const ALL: usize = usize::MAX / 2;

/// The lake, its writers and a query.
pub(crate) struct Shelf {
    lanes: u16,
    stores: Vec<Store>,
    /// One that died is nothing, until it starts again.
    writers: Vec<Option<Writer>>,
    /// How often one died with a commit under way.
    pub(crate) died: u64,
    policies: Known,
    query: Option<Query>,
    plant: Option<Plant>,
}

/// A table in object storage.
struct Store {
    number: u64,
    positions: Vec<Offset>,
    /// Rows, with the version that added them.
    rows: Vec<(u64, RecordBatch)>,
}

struct Writer {
    tail: Tail,
    /// By table, the version that the next commit is made on, and its positions.
    heads: Vec<(u64, Vec<Offset>)>,
}

/// What a commit came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is made, or will be.
    Goes,
    /// Its writer died.
    Dies,
}

/// A query that runs for a while.
struct Query {
    pin: Pin,
    writer: usize,
}

/// What the policy says.
struct Known {
    books: HashMap<BookHash, Book>,
    limits: HashMap<LimitId, Arc<Limit>>,
}

impl Policies for Known {
    fn book(&self, hash: BookHash) -> Option<Book> {
        self.books.get(&hash).cloned()
    }

    fn limit(&self, id: LimitId) -> Option<Arc<Limit>> {
        self.limits.get(&id).cloned()
    }
}

impl Shelf {
    pub(crate) fn new(lanes: u16, limits: &[Limit], plant: Option<Plant>) -> Self {
        let positions = vec![Offset(0); usize::from(lanes)];
        let stores = table::ALL.iter().map(|_| Store { number: 0, positions: positions.clone(), rows: Vec::new() });
        let books = [policy::book(0), policy::book(1)].map(|book| (book.hash(), book)).into();
        let limits = limits.iter().map(|limit| (limit.id(), Arc::new(limit.clone()))).collect();
        let stores: Vec<Store> = stores.collect();
        let policies = Known { books, limits };
        let mut shelf = Self { lanes, stores, writers: vec![None, None], died: 0, policies, query: None, plant };
        (0..shelf.writers.len()).for_each(|place| shelf.start(place));
        shelf
    }

    /// A writer starts: what it knows are the newest versions, and it reads the ledger from the least position of any table.
    fn start(&mut self, place: usize) {
        if self.writers[place].is_some() {
            return;
        }
        let versions = self.stores.iter().map(|store| Arc::new(version(store.number, &store.positions)));
        let tail = Tail::new(versions.collect(), self.lanes, Bounds { rows: 1_000_000, bytes: 1 << 30 });
        let heads = self.stores.iter().map(|store| (store.number, store.positions.clone())).collect();
        self.writers[place] = Some(Writer { tail, heads });
    }

    /// A writer dies, and with it what it read and the query that ran there.
    fn die(&mut self, place: usize) {
        self.writers[place] = None;
        self.query = self.query.take().filter(|query| query.writer != place);
    }

    /// A writer reads on, commits, dies or starts again; or a query begins or ends.
    pub(crate) fn step(&mut self, road: &Road, dice: &mut Dice, oracle: &mut Oracle) {
        let place = dice.index(self.writers.len());
        let what = dice.weighted(&[60, 30, 10, 10, 2]);
        let (most, table) = (dice.index(60), dice.index(table::ALL.len()));
        let Some(writer) = &self.writers[place] else {
            if dice.one_in(8) {
                self.start(place);
            }
            return;
        };
        match what {
            0 => self.read(road, place, most),
            1 => {
                if self.shelve(place, table, Some(dice)) == Fate::Dies {
                    self.died += 1;
                    self.die(place);
                }
            }
            2 => self.query = Some(Query { pin: writer.tail.pin(), writer: place }),
            3 => self.answer(oracle),
            _ => self.die(place),
        }
        self.trim(road);
    }

    /// The ledger lets go of what every table has and whoever reads has read.
    fn trim(&self, road: &Road) {
        let mut cluster = road.lock();
        for (lane, log) in cluster.lanes.iter_mut().enumerate() {
            let shelved = self.stores.iter().map(|store| store.positions[lane].0);
            let read = self.writers.iter().flatten().map(|writer| writer.tail.high()[lane].0);
            let kept = shelved.chain(read).min().unwrap_or(0);
            while log.ledger_first < kept && log.ledger.pop_front().is_some() {
                log.ledger_first += 1;
            }
        }
    }

    /// Reads on; now and then from before where it is, as one does whose connection was lost.
    fn read(&mut self, road: &Road, place: usize, most: usize) {
        let Some(writer) = &self.writers[place] else { return };
        let cluster = road.lock();
        let mut entries: Vec<Placed> = Vec::new();
        for (lane, (log, high)) in cluster.lanes.iter().zip(writer.tail.high()).enumerate() {
            let again = if most.is_multiple_of(5) { high.0.saturating_sub(most as u64) } else { high.0 };
            let from = again.max(log.ledger_first);
            let count = most + (high.0 - from) as usize;
            for (body, offset) in log.ledger.iter().skip((from - log.ledger_first) as usize).take(count).zip(from..) {
                let place = Place { lane: Lane(lane as u16), offset: Offset(offset) };
                entries.push(Placed::read(place, place.offset, body.clone()).unwrap());
            }
        }
        drop(cluster);
        writer.tail.apply(&entries, &self.policies).unwrap();
    }

    /// Brings a table up to what the writer's tail has; with dice, things go wrong.
    fn shelve(&mut self, place: usize, table: usize, mut dice: Option<&mut Dice>) -> Fate {
        let Some(writer) = &mut self.writers[place] else { return Fate::Goes };
        let pin = writer.tail.pin();
        let source = &pin.tables()[table];
        let mut shelving = Shelving::new(pin.high().to_vec());
        for _ in 0..ATTEMPTS {
            let (number, from) = writer.heads[table].clone();
            let (to, rows) = match shelving.next(&from) {
                Step::Done => return Fate::Goes,
                Step::Commit { to, files } => (to, files),
                Step::Write { to, .. } => {
                    let ranges = from.iter().zip(&to).enumerate().map(|(lane, (from, to))| (lane, *from, Some(*to)));
                    let rows = source.between(ranges).unwrap();
                    (to, rows)
                }
            };
            // Of one that dies nobody knows whether its commit landed.
            let (lands, answers, dies) = match &mut dice {
                Some(dice) => (!dice.one_in(6), !dice.one_in(6), dice.one_in(12)),
                None => (true, true, false),
            };
            let store = &mut self.stores[table];
            let taken = lands && store.commit(number, &rows, &to);
            if dies {
                // One that comes back and takes what it had written for not committed writes it again.
                if self.plant == Some(Plant::LakeWriterRepeats) && taken {
                    let number = store.number;
                    store.commit(number, &rows, &to);
                }
                return Fate::Dies;
            }
            let head = &mut writer.heads[table];
            if taken && answers {
                *head = (store.number, to);
                writer.loaded(table);
                return Fate::Goes;
            }
            // Reload, and compare before anything else is decided.
            *head = (store.number, store.positions.clone());
            writer.loaded(table);
            shelving.failed(from, rows);
        }
        Fate::Goes
    }

    /// A query that has run for a while reads what it pinned: each row once, of one cut.
    fn answer(&mut self, oracle: &mut Oracle) {
        let Some(query) = self.query.take() else { return };
        let table = usage();
        let newer;
        let mut pin = &query.pin;
        if let Some(writer) =
            self.writers[query.writer].as_ref().filter(|_| self.plant == Some(Plant::TailEvictedUnderQuery))
        {
            newer = writer.tail.pin();
            pin = &newer;
        }
        let files = query.pin.tables()[table.index()].version.number;
        let mut rows: Vec<RecordBatch> = self.stores[table.index()].as_of(files).cloned().collect();
        rows.extend(pin.tables()[table.index()].tail().unwrap());
        let high = query.pin.high();
        let cut = |lane: usize, offset: u64| high.get(lane).is_some_and(|high| offset < high.0);
        let mut places: Vec<(usize, u64)> = rows.iter().flat_map(places).filter(|(lane, at)| cut(*lane, *at)).collect();
        let wanted = oracle.rows().filter(|(lane, offset)| cut(*lane, *offset)).count();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        if count != wanted || places.len() != count {
            let detail = format!("a query sees {count} rows, {} of them once, of {wanted}", places.len());
            oracle.broken(Obligation::RowsAreTheLedger, detail);
        }
    }

    /// At rest: every charge is a row, once, and costs and tokens are those of the ledger.
    pub(crate) fn add_up(&mut self, road: &Road, oracle: &mut Oracle) {
        for place in 0..self.writers.len() {
            self.start(place);
            self.read(road, place, ALL);
            for table in 0..table::ALL.len() {
                // A version that somebody else wrote is seen at the second look.
                self.shelve(place, table, None);
                self.shelve(place, table, None);
            }
        }
        let rows: Vec<&RecordBatch> = self.stores[usage().index()].as_of(u64::MAX).collect();
        let mut places: Vec<(usize, u64)> = rows.iter().flat_map(|rows| places(rows)).collect();
        places.sort_unstable();
        let same = places.iter().copied().eq(oracle.rows());
        let tokens: i64 = rows.iter().map(|rows| sum(rows, "input_tokens") + sum(rows, "output_tokens")).sum();
        let requests: usize = rows
            .iter()
            .map(|rows| rows.column_by_name("requests").map_or(0, |cells| cells.as_primitive::<Int32Type>().len()))
            .sum();
        let cost: i128 = rows.iter().map(|rows| money(rows, "cost_usd")).sum();
        if !same || requests != places.len() || !oracle.is_the_ledger(tokens, cost) {
            let detail =
                format!("{} rows, {tokens} tokens and {cost} are in the lake; {}", places.len(), oracle.ledger());
            oracle.broken(Obligation::RowsAreTheLedger, detail);
        }
        let charges = table::by_name("charges").unwrap();
        let charged: i128 = self.stores[charges.index()].as_of(u64::MAX).map(|rows| money(rows, "cost_usd")).sum();
        if charged != cost + oracle.corrected_by() {
            oracle.broken(
                Obligation::RowsAreTheLedger,
                format!("charges of {charged} make usage of {cost} and its corrections"),
            );
        }
    }
}

impl Writer {
    fn loaded(&self, table: usize) {
        let (number, positions) = &self.heads[table];
        self.tail.loaded(&table::ALL[table], Arc::new(version(*number, positions)));
    }
}

impl Store {
    /// Takes a commit that is made on the newest version.
    fn commit(&mut self, on: u64, rows: &[RecordBatch], to: &[Offset]) -> bool {
        if on != self.number {
            return false;
        }
        self.number += 1;
        self.rows.extend(rows.iter().map(|rows| (self.number, rows.clone())));
        self.positions = to.to_vec();
        true
    }

    fn as_of(&self, version: u64) -> impl Iterator<Item = &RecordBatch> {
        self.rows.iter().filter(move |(number, _)| *number <= version).map(|(_, rows)| rows)
    }
}

fn usage() -> &'static TableDef {
    table::by_name("usage").unwrap()
}

fn version(number: u64, positions: &[Offset]) -> Version {
    Version { number, covered: positions.to_vec(), ..Version::default() }
}

/// Where in the ledger the rows come from.
fn places(rows: &RecordBatch) -> Vec<(usize, u64)> {
    let lanes = rows.column_by_name(LOG_PARTITION).unwrap().as_primitive::<Int32Type>();
    let offsets = rows.column_by_name(LOG_OFFSET).unwrap().as_primitive::<Int64Type>();
    lanes.values().iter().zip(offsets.values()).map(|(lane, offset)| (*lane as usize, *offset as u64)).collect()
}

fn sum(rows: &RecordBatch, column: &str) -> i64 {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().flatten().sum()
}

fn money(rows: &RecordBatch, column: &str) -> i128 {
    rows.column_by_name(column).unwrap().as_primitive::<Decimal128Type>().iter().flatten().sum()
}
