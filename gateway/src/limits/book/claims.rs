//! What metering has learned once and takes no second time, as far as it is remembered here: those it learned last.
//!
//! Metering's own memory is the one that counts. This one only lets a gateway say at once that an id is used, where it knows.

use std::collections::{HashMap, VecDeque};

use schemas::id::ClaimId;

/// The most that are remembered: some 80 bytes each, 16 MB.
const MOST: usize = 200_000;

/// The claims heard last.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    content: HashMap<ClaimId, u64>,
    order: VecDeque<ClaimId>,
}

impl Claims {
    /// Metering has learned this; with nothing it has forgotten it.
    pub(crate) fn hear(&mut self, id: ClaimId, content: Option<u64>) {
        let Some(content) = content else {
            self.content.remove(&id);
            return;
        };
        if self.content.insert(id, content).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            if let Some(first) = self.order.pop_front() {
                self.content.remove(&first);
            }
        }
    }

    /// The hash of what was said first, if that is remembered.
    pub(crate) fn content(&self, id: ClaimId) -> Option<u64> {
        self.content.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ClaimId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        ClaimId(bytes)
    }

    #[test]
    fn those_heard_last_are_remembered_until_metering_forgets_them() {
        let mut claims = Claims::default();
        (0..=MOST).for_each(|number| claims.hear(id(number), Some(7)));
        assert_eq!((claims.content(id(0)), claims.content(id(1)), claims.content(id(MOST))), (None, Some(7), Some(7)));
        claims.hear(id(1), None);
        assert_eq!(claims.content(id(1)), None);
    }
}
