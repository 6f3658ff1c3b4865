//! The rule by which the ledger comes into a table exactly once, as pure steps.
//!
//! A commit adds the rows from the positions of a version up to others, and is made on that very version. After any error the
//! newest version is loaded and asked first what it has: a commit that landed and reported failure is then seen to have landed,
//! and what another writer has shelved is not shelved again. It does no I/O: the lake does, and the simulation in its place.

use schemas::id::Offset;

use crate::fault::{self, Fault};

/// One attempt to bring a table up to some positions. `F` is what was written and not committed: the names of files.
#[derive(Debug)]
pub struct Shelving<F> {
    to: Vec<Offset>,
    written: Option<(Vec<Offset>, F)>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<F> {
    /// The version has everything.
    Done,
    /// Write the rows from the positions of the version to these. What was written for other positions is of no use.
    Write {
        /// The positions that the commit will move to.
        to: Vec<Offset>,
        /// What was written and will not be committed.
        unused: Option<F>,
    },
    /// Commit what was written, on this very version.
    Commit {
        /// The positions that the commit moves to.
        to: Vec<Offset>,
        /// What was written.
        files: F,
    },
}

impl<F> Shelving<F> {
    /// Brings a table up to these positions, by lane.
    pub const fn new(to: Vec<Offset>) -> Self {
        Self { to, written: None }
    }

    /// What to do on a version with these positions.
    pub fn next(&mut self, head: &[Offset]) -> Step<F> {
        let to = furthest(head, &self.to);
        if to == head {
            return Step::Done;
        }
        match self.written.take() {
            // The positions are as before, so the commit did not land and what was written for it is still right.
            Some((from, files)) if from == head || fault::is(Fault::ZombieLakeWriter) => Step::Commit { to, files },
            other => Step::Write { to, unused: other.map(|(_, files)| files) },
        }
    }

    /// A commit of what was written from these positions was not confirmed.
    pub fn failed(&mut self, from: Vec<Offset>, files: F) {
        self.written = Some((from, files));
    }
}

/// By lane, the further of two positions.
fn furthest(from: &[Offset], to: &[Offset]) -> Vec<Offset> {
    from.iter().enumerate().map(|(lane, from)| to.get(lane).map_or(*from, |to| *from.max(to))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confirmed_is_compared_before_it_is_tried_again() {
        let at = |lanes: [u64; 2]| lanes.map(Offset).to_vec();
        let mut shelving = Shelving::new(at([5, 9]));
        assert_eq!(shelving.next(&at([3, 9])), Step::Write { to: at([5, 9]), unused: None });
        shelving.failed(at([3, 9]), "a");
        assert_eq!(shelving.next(&at([3, 9])), Step::Commit { to: at([5, 9]), files: "a" }, "it did not land");
        shelving.failed(at([3, 9]), "a");
        let again = Step::Write { to: at([5, 11]), unused: Some("a") };
        assert_eq!(shelving.next(&at([4, 11])), again, "another writer came first, and went further");
        shelving.failed(at([4, 11]), "b");
        assert_eq!(shelving.next(&at([5, 11])), Step::Done, "it landed");
    }
}
