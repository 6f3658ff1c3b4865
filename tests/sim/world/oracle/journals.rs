//! What the oracle knows of journals: what gateways wrote, and what dead processes, failing disks and restored copies took of it.

use bytes::Bytes;
use journal::Record;
use schemas::{
    event::{Event, Hold, Settled},
    id::{CallId, Lane, ProducerId, Seq},
    limit::Unit,
    wire,
};

use super::{Obligation, Oracle, Violation, tariff::amount};
use crate::world::call::Bill;

/// What has to be in the ledger once it is accepted: the admission of an attempt, or its end.
pub(super) type Due = ((CallId, u16), bool);

impl Oracle {
    /// A gateway wrote something into its journal: what it says to have returned it may not spend any more.
    pub(crate) fn wrote(&mut self, record: &Record) {
        let Record { lane, header, body, .. } = record;
        let producer = header.producer;
        let mut due = |key: (CallId, u16), ends: bool| {
            let seq = self.books.marks.get(&(*lane, producer)).copied();
            if seq.is_none_or(|accepted| accepted < header.seq) {
                self.due.entry((*lane, producer)).or_default().insert(header.seq, (key, ends));
            }
        };
        match wire::decode_event(body) {
            Ok(Event::Admitted(admitted)) => due((admitted.attempt.call, admitted.attempt.attempt), false),
            Ok(Event::Settled(settled)) if settled.found.is_none() => {
                due((settled.attempt.call, settled.attempt.attempt), true);
            }
            _ => {}
        }
        let counters = match wire::decode_event(body) {
            Ok(Event::Reported(reported)) => reported.counters,
            Ok(Event::LeaseRequested(request)) => {
                for want in &request.wants {
                    let asked = self.asked.entry((producer, want.counter.instance)).or_insert(want.window);
                    *asked = want.window.max(*asked);
                }
                request.wants.iter().map(|want| want.counter).collect()
            }
            Ok(Event::Opened(opened)) => {
                self.before.extend(opened.predecessor.map(|before| (producer, before.producer)));
                return;
            }
            Ok(Event::Settled(settled)) => settled.counters,
            Ok(Event::Streamed(streamed)) => {
                if let Some(seen) = self.attempts.get_mut(&(streamed.call, streamed.attempt))
                    && !streamed.reported.is_empty()
                {
                    seen.written.push(Bill { input: streamed.so_far.uncached_input, output: streamed.so_far.output });
                }
                return;
            }
            Ok(Event::Learned(learned)) => return self.told_written(&learned, true),
            _ => return,
        };
        for counter in counters {
            let mine = self.mine.entry((producer, counter.instance)).or_default();
            mine.returned = mine.returned.max(counter.returned);
        }
    }

    /// Metering says that it has accepted so much of a producer: that has to be in the ledger by now.
    pub(super) fn accepts(&mut self, of: (Lane, ProducerId), seq: Seq) {
        let Some(due) = self.due.get_mut(&of) else { return };
        let later = due.split_off(&Seq(seq.0 + 1));
        for (seq, (key, ends)) in std::mem::replace(due, later) {
            // Of one who was succeeded because its journal was copied, what it writes is set aside.
            let known = self.attempts.get(&key).filter(|seen| !seen.lost && !seen.gone && !self.torn.contains(&of.1));
            if known.is_some_and(|seen| if ends { seen.rows == 0 } else { !seen.admitted }) {
                let what = if ends { "end" } else { "admission" };
                let detail = format!("the {what} of {key:?}, event {seq:?} of {of:?}, is accepted and stands nowhere");
                self.violations.push(Violation { obligation: Obligation::NoCallIsUnaccounted, detail });
            }
        }
    }

    /// Records that a failing disk took before anybody else had them.
    pub(crate) fn lost(&mut self, bodies: &[Bytes]) {
        for body in bodies {
            match wire::decode_event(body) {
                Ok(Event::Admitted(admitted)) => self.excuse((admitted.attempt.call, admitted.attempt.attempt)),
                Ok(Event::Streamed(streamed)) => self.forgotten((streamed.call, streamed.attempt)),
                Ok(Event::Learned(learned)) => self.told_written(&learned, false),
                _ => {}
            }
        }
    }

    fn excuse(&mut self, key: (CallId, u16)) {
        let Some(seen) = self.attempts.get_mut(&key).filter(|seen| !seen.lost) else { return };
        seen.lost = true;
        if seen.sent {
            let (holds, wish, book, relayed) = (seen.holds.clone(), seen.wish, seen.book, seen.relayed);
            for (hold, place) in holds {
                let (bill, bound) = self.billable(place, &wish, book, relayed);
                self.spent.entry((hold.instance, hold.window)).or_default().excused += bill.min(bound);
            }
        }
    }

    /// A gateway begins on a copy of a journal that its original goes on with.
    pub(crate) fn runs_beside(&mut self, producer: ProducerId) {
        self.beside.insert(producer);
    }

    /// A journal was put back to a copy: what it had since, as far as nobody else has it, is gone. Of what is at home in another
    /// lane than the call, a copy takes more than metering can see.
    pub(crate) fn restored(
        &mut self,
        writers: &[ProducerId],
        gone: &[Record],
        lost: &[Bytes],
        forked: Vec<((ProducerId, Lane), u64)>,
    ) {
        self.torn.extend(writers);
        self.forked.extend(forked);
        for Record { lane, header, body, .. } in gone {
            let mut end = None;
            let key = match wire::decode_event(body) {
                Ok(Event::Admitted(admitted)) => (admitted.attempt.call, admitted.attempt.attempt),
                Ok(Event::Settled(settled)) => {
                    end = Some((*lane, header.producer, header.seq));
                    (settled.attempt.call, settled.attempt.attempt)
                }
                Ok(Event::Streamed(streamed)) => {
                    self.forgotten((streamed.call, streamed.attempt));
                    continue;
                }
                Ok(Event::Learned(learned)) => {
                    self.told_written(&learned, false);
                    continue;
                }
                _ => continue,
            };
            let Some(seen) = self.attempts.get_mut(&key) else { continue };
            seen.end = end.or(seen.end);
            if std::mem::replace(&mut seen.gone, true) {
                continue;
            }
            for (hold, place) in &seen.holds {
                let bill = amount(self.rules[*place].limit.unit, &seen.wish, seen.book, seen.wish.bill);
                let spent = self.spent.entry((hold.instance, hold.window)).or_default();
                spent.rule = *place;
                spent.short += bill;
                spent.away += bill;
            }
        }
        self.lost(lost);
        for body in lost {
            if let Ok(Event::Settled(settled)) = wire::decode_event(body) {
                self.overtaken(&settled);
            }
        }
    }

    /// A restored disk took the settlement. Lanes do not wait for each other, so where the counters of it are at home they may have come
    /// before; and whoever goes on holds it as what nobody knows: too much is counted then, never too little.
    fn overtaken(&mut self, settled: &Settled) {
        let key = (settled.attempt.call, settled.attempt.attempt);
        let Some(seen) = self.attempts.get(&key) else { return };
        let known = settled.usage.total().map(|total| Bill { input: total.uncached_input, output: total.output });
        let counted = |(_, place): &&(Hold, usize)| self.rules[*place].limit.unit != Unit::Concurrent;
        for (hold, place) in seen.taken.iter().filter(counted) {
            let unit = self.rules[*place].limit.unit;
            let used =
                known.map_or(i128::from(unit == Unit::Requests), |known| amount(unit, &seen.wish, seen.book, known));
            let spent = self.spent.entry((hold.instance, hold.window)).or_default();
            spent.rule = *place;
            spent.overtaken += used;
            spent.doubted += (hold.amount - used).max(0);
        }
    }
}
