//! The slots, side by side in memory: who knows the place of one reads it without searching, and those that came together lie together.

use crate::limits::slot::Slot;

/// How many slots lie in one piece, so that none moves when more come: some 100 kB.
const PIECE: usize = 256;

/// Where a slot lies, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Place(u32);

/// All slots. A place is given again after its slot was removed: whoever remembers places forgets them then.
#[derive(Debug, Default)]
pub(super) struct Slab {
    pieces: Vec<Vec<Option<Slot>>>,
    free: Vec<Place>,
}

impl Place {
    const fn split(self) -> (usize, usize) {
        (self.0 as usize / PIECE, self.0 as usize % PIECE)
    }
}

impl Slab {
    pub(super) fn insert(&mut self, slot: Slot) -> Place {
        if let Some(place) = self.free.pop() {
            let (piece, at) = place.split();
            self.pieces[piece][at] = Some(slot);
            return place;
        }
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let piece = self.pieces.len() - 1;
        let at = self.pieces[piece].len();
        self.pieces[piece].push(Some(slot));
        // Four thousand million slots are more than there is memory for.
        Place(u32::try_from(piece * PIECE + at).unwrap_or(u32::MAX))
    }

    /// Removes the slots that do not last; says whether there were any.
    pub(super) fn retain(&mut self, mut lasts: impl FnMut(Place, &mut Slot) -> bool) -> bool {
        let before = self.free.len();
        for (number, kept) in (0..).zip(self.pieces.iter_mut().flatten()) {
            if kept.as_mut().is_some_and(|slot| !lasts(Place(number), slot)) {
                *kept = None;
                self.free.push(Place(number));
            }
        }
        self.free.len() > before
    }

    pub(super) fn get(&self, place: Place) -> Option<&Slot> {
        let (piece, at) = place.split();
        self.pieces.get(piece)?.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Slot> {
        let (piece, at) = place.split();
        self.pieces.get_mut(piece)?.get_mut(at)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut Slot)> {
        let slots = (0..).map(Place).zip(self.pieces.iter_mut().flatten());
        slots.filter_map(|(place, slot)| Some((place, slot.as_mut()?)))
    }
}
