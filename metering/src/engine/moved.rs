//! What one lane decides moves counters of another: passed on in the commit of the decision, and taken once.
//!
//! A transaction of the log is all that makes it exact: what is passed stands in the other lane if and only if the decision stands, and
//! a lane takes each record of its input once. The numbers are the proof, not the means. They say what is still on its way, and that
//! something was lost, which can only be where a lane was not read for as long as `usage` is kept.

use schemas::{
    decision::Passed,
    event::{Event, Learned, Move, Moved},
    id::Lane,
    ledger::AlarmKind,
};

use super::{Engine, learned::Said};
use crate::dedup::Origin;

impl Engine {
    /// Has another lane move its counters, or learn what is its.
    pub(super) fn pass(
        &mut self,
        to: Lane,
        (source, id, call, attempt): Said,
        moves: Vec<Move>,
        learned: Option<Box<Learned>>,
    ) {
        let number = Passed::number_of(&mut self.state.passed, to);
        *number += 1;
        let moved = Moved { from: self.lane, number: *number, source, id, call, attempt, moves, learned };
        self.passed.push((to, Event::Moved(moved)));
    }

    /// Another lane has decided; there is nothing left to decide.
    pub(super) fn moved(&mut self, origin: Origin, moved: Moved) {
        let taken = Passed::number_of(&mut self.state.taken, moved.from);
        let before = *taken;
        if moved.number <= before {
            return self.counts.duplicates += 1;
        }
        *taken = moved.number;
        self.touched = true;
        self.counts.accepted += 1;
        let lost = moved.number - before - 1;
        if lost > 0 {
            let Moved { from, source, id, .. } = &moved;
            let detail = format!(
                "{lost} that lane {} passed to this one before {id} of {source} never came: usage was not kept until it was read; \
                 `tollgate replay` names the counters",
                from.0
            );
            self.alarm(origin, AlarmKind::Lost, detail);
        }
        if let Some(learned) = moved.learned {
            return self.handed(origin, *learned);
        }
        let adjusted = self.adjust((moved.source, moved.id, moved.call, moved.attempt), moved.moves);
        self.write_adjusted(adjusted);
    }
}
