//! What goes wrong: deaths, power failures, restored disks, partitions, rebalances, clocks, and changes of policy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use schemas::{
    id::{Lane, ProducerId},
    limit::{Mode, OnExceed},
};

use super::{
    LANES, Plant, World,
    door::{Door, bodies},
    platter::Platter,
    policy,
};

/// What has to happen in some worlds.
pub(crate) const BESIDE: &str = "a gateway runs on a copy of a journal that another goes on with";
pub(crate) const IDENTITY: &str = "another limit takes the place of one";
pub(crate) const MODE: &str = "a limit that was soft is hard, or soft again";

impl World {
    pub(super) fn mishap(&mut self) {
        let (place, member) = (self.dice.index(self.doors.len()), self.dice.index(self.members.len()));
        match self.dice.weighted(&[8, 6, 40, 10, 30, 6, 10, 10, 6, 6, 4, 6, 4, 6]) {
            0 => self.kill(place),
            1 => self.power_failure(place),
            2 => self.start_door(place),
            3 => self.members[member] = None,
            4 => self.start_again(member),
            5 => self.rebalance(),
            6 => self.doors[place].cut_off = self.dice.one_in(3),
            7 => self.lose_way(place),
            8 => self.compact(),
            9 => self.set_clock(place),
            10 => self.copy_or_restore(place),
            11 => self.change_policy(),
            12 => self.doors[place].platter.lock().unwrap().full = self.dice.one_in(3),
            _ => self.come_again(),
        }
    }

    pub(super) fn start_door(&mut self, place: usize) {
        if self.doors[place].process.is_none() {
            self.doors[place].start(&self.road, LANES, &mut self.dice, self.plant);
            self.doors[place].read = 0;
            self.read(place);
        }
    }

    /// A process of a gateway dies. What it handed to the operating system stays; of what is on its way some arrives.
    pub(super) fn kill(&mut self, place: usize) {
        self.read(place);
        if let Some(mut process) = self.doors[place].process.take() {
            self.oracle.died(process.me);
            for lane in 0..usize::from(LANES) {
                let some = self.dice.index(40);
                process.deliver(&self.road, lane, some);
            }
        }
    }

    fn power_failure(&mut self, place: usize) {
        self.kill(place);
        let lost = self.doors[place].platter.lock().unwrap().tear(&mut self.dice);
        self.oracle.lost(&bodies(&lost));
    }

    pub(super) fn start_again(&mut self, place: usize) {
        if let Some(before) = self.members[place].take() {
            self.road.lock().leave(before.id);
        }
        // Those whose processes died earlier have been forgotten by the group as well.
        let alive: Vec<u32> = self.members.iter().flatten().map(|member| member.id).collect();
        let mut cluster = self.road.lock();
        for dead in cluster.members().into_iter().filter(|id| !alive.contains(id)) {
            cluster.leave(dead);
        }
        drop(cluster);
        self.start_member(place);
    }

    fn rebalance(&mut self) {
        let mut cluster = self.road.lock();
        let members = cluster.members();
        if !members.is_empty() {
            let lane = self.dice.index(usize::from(LANES));
            cluster.give(lane, members[self.dice.index(members.len())]);
        }
    }

    fn lose_way(&mut self, place: usize) {
        let door = &mut self.doors[place];
        if let Some(process) = &mut door.process {
            if self.dice.one_in(2) {
                let lane = process.longest();
                let some = 1 + self.dice.index(4);
                if self.dice.one_in(2) {
                    process.deliver(&self.road, lane, some);
                } else {
                    process.lose_first(&self.road, lane, some);
                }
            }
            process.lose_way(&door.clock);
        }
    }

    /// Of what is on its way from a gateway the first part is lost, the rest arrives, and then it is told so.
    pub(super) fn lose_some(&mut self, place: usize) {
        let some = 1 + self.more.index(3);
        let door = &mut self.doors[place];
        if let Some(process) = &mut door.process {
            process.lose_first(&self.road, process.longest(), some);
            process.lose_way(&door.clock);
        }
    }

    /// Some of what was accepted long ago comes again, after what was sent later and whether its gateway lives or not.
    fn come_again(&mut self) {
        let taken: Vec<_> = self.road.lock().taken.iter().cloned().collect();
        let (first, count) = (self.dice.index(taken.len() + 1), 1 + self.dice.index(40));
        let accepted = |record: &&journal::Record| {
            self.oracle.accepted(record.header.producer, record.lane) >= record.header.seq.0
        };
        for record in taken.iter().skip(first).take(count).filter(accepted) {
            self.road.take(record.lane, record.header, record.body.clone());
        }
    }

    fn compact(&mut self) {
        let unread = self.plant == Some(Plant::GrantCompactedUnread);
        self.road.lock().compact(unread);
    }

    fn set_clock(&mut self, place: usize) {
        let wide = if self.dice.one_in(4) { 7_200_000_000 } else { 3_000_000 };
        self.doors[place].clock.set_skew(self.dice.below(2 * wide) as i64 - wide as i64);
    }

    /// Somebody copies a journal's directory, or puts the copy in the place of a dead gateway's journal.
    fn copy_or_restore(&mut self, place: usize) {
        if self.doors[place].copy.is_none() {
            // One of a gateway that has calls open, because a copy of any other says the same as the journal of one that died.
            if self.doors[place].process.as_ref().is_some_and(|process| !process.calls.is_empty()) {
                let copy = self.doors[place].platter.lock().unwrap().clone();
                self.doors[place].copy = Some(copy);
            }
            return;
        }
        self.kill(place);
        let Door { copy, platter, .. } = &mut self.doors[place];
        let Some(mut copy) = copy.take() else { return };
        copy.revive();
        let gone = {
            let mut platter = platter.lock().unwrap();
            let gone: Vec<_> = platter.readable(copy.end(), true).cloned().collect();
            *platter = copy.clone();
            gone
        };
        let heads = copy.heads();
        let (mut forked, mut lost, mut delivered) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut writers: Vec<ProducerId> = heads.iter().map(|heads| heads.producer).collect();
        writers.extend(gone.iter().map(|record| record.header.producer));
        writers.dedup();
        for lane in (0..LANES).map(Lane) {
            // Whoever wrote later has named those before it; only the last of whom anything arrived is out of reach.
            let mut last = None;
            for producer in &writers {
                let seen = self.road.lock().delivered(*producer, lane, self.oracle.accepted(*producer, lane));
                let its = heads.as_ref().filter(|heads| heads.producer == *producer);
                let known = its.and_then(|heads| heads.last.get(&lane)).map_or(0, |seq| seq.0);
                last = if seen > 0 { Some((*producer, seen > known, seen)) } else { last };
                delivered.insert((*producer, lane), seen);
            }
            forked.extend(last.filter(|(_, more, _)| *more).map(|(producer, _, seen)| ((producer, lane), seen)));
        }
        for record in &gone {
            if record.header.seq.0 > delivered[&(record.header.producer, record.lane)] {
                lost.push(record.body.clone());
            }
        }
        self.oracle.restored(&writers, &gone, &lost, forked);
    }

    /// Somebody starts a gateway on a copy of a journal whose original goes on: one of its files, which is known for a copy whatever it
    /// says, or one of a whole disk, of which metering has more in every lane. It takes over nothing and ends nothing: whatever it finds
    /// open is the other's to end.
    pub(super) fn run_beside(&mut self) {
        if self.doors.iter().any(|door| door.is_beside) {
            return;
        }
        let copy = if self.more.one_in(2) { self.copied_files() } else { self.copy_behind() };
        let Some(mut copy) = copy else { return };
        copy.revive();
        let mut door = Door::new(self.doors.len(), &self.clock);
        (door.is_beside, door.read) = (true, copy.end());
        door.platter = Arc::new(Mutex::new(copy));
        door.start(&self.road, LANES, &mut self.more, self.plant);
        if let Some(process) = &door.process {
            self.oracle.runs_beside(process.me);
            *self.happened.entry(BESIDE).or_default() += 1;
            self.doors.push(door);
            self.read(self.doors.len() - 1);
        }
    }

    /// The files of a gateway that lives, as they are on the platter.
    fn copied_files(&self) -> Option<Platter> {
        self.doors
            .iter()
            .filter(|door| door.process.as_ref().is_some_and(|process| !process.calls.is_empty()))
            .find_map(|door| {
                let platter = door.platter.lock().unwrap();
                (platter.synced() == platter.end()).then(|| platter.files())
            })
    }

    /// A copy of a disk whose gateway lives and has told metering more since, in every lane.
    fn copy_behind(&self) -> Option<Platter> {
        let is_behind = |door: &&Door| {
            let heads = door.copy.as_ref().and_then(Platter::heads);
            let heads = heads.filter(|heads| door.process.as_ref().is_some_and(|process| process.me == heads.producer));
            heads.is_some_and(|heads| {
                let last = |lane| heads.last.get(&lane).map_or(0, |seq| seq.0);
                (0..LANES).map(Lane).all(|lane| self.oracle.accepted(heads.producer, lane) > last(lane))
            })
        };
        self.doors.iter().find(is_behind)?.copy.clone()
    }

    /// Amounts go up or down, or prices change.
    fn change_policy(&mut self) {
        let limits = policy::limits();
        let place = self.dice.index(limits.len());
        let (first, dice) = (limits[place].amount, &mut self.dice);
        let amount = &mut self.limits[place].amount;
        *amount = if dice.one_in(4) { (*amount * 9 / 10).max(1) } else { *amount + first / 4 };
        let book = dice.index(2);
        self.publish(book);
    }

    /// What a limit does with what does not fit is another from now on; or one that was soft is hard, or soft again; or another one has
    /// its name.
    pub(super) fn change_limit(&mut self) {
        if self.more.one_in(3) {
            let named = self.limits.iter_mut().find(|limit| limit.name == policy::HOUR).unwrap();
            policy::turn(named);
            self.happens(IDENTITY);
        } else if self.more.one_in(2) {
            let sliced = self.limits.iter_mut().find(|limit| limit.slices).unwrap();
            let finishes = sliced.on_exceed == OnExceed::Finish;
            sliced.on_exceed = if finishes { OnExceed::Refuse } else { OnExceed::Finish };
        } else {
            let soft = self.limits.iter_mut().find(|limit| limit.name == policy::SOFT).unwrap();
            soft.mode = if soft.mode == Mode::Soft { Mode::Hard } else { Mode::Soft };
            self.happens(MODE);
        }
        let book = self.more.index(2);
        self.publish(book);
    }

    pub(super) fn publish(&mut self, book: usize) {
        self.oracle.published(&self.limits);
        self.road.publish(policy::record(&self.limits, &self.books[book]));
    }
}
