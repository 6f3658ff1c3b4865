//! The invariants as predicates: the same ones run in tests, in the simulation and, counted, in production.

use schemas::{decision::Instance, time::Time};

/// L-1 in one window: what is taken is at most the amount.
///
/// Holds after every grant in every window that the asker may spend in. It may fail afterwards by a bill beyond its bound, a
/// correction or a lowered amount; then nothing more is granted until it holds again.
pub fn l1(instance: &Instance, from: Time) -> bool {
    free(instance, from) >= 0
}

/// What is left to grant of an instance for windows that start at or after `from`; negative where it is overdrawn.
pub fn free(instance: &Instance, from: Time) -> i128 {
    let ahead = instance.leased();
    let taken = instance.windows.iter().filter(|window| window.start >= from).map(|window| instance.taken(window));
    // A window that nobody has used yet is taken by the leases alone, so they bound what may be granted as well.
    instance.amount - taken.chain([ahead]).max().unwrap_or(ahead)
}

/// L-2: what a producer used and holds in a window is within its lease.
pub fn l2(used: i128, held: i128, lease: i128) -> bool {
    used + held <= lease
}
