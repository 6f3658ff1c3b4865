//! The invariants as predicates: the same ones run in tests, in the simulation and, counted, in production.

use schemas::{
    decision::{Holder, Instance},
    id::{InstanceId, ProducerId},
    time::Time,
};

use crate::fault::{self, Fault};

/// L-1 in one window: what is taken is at most the amount.
///
/// Holds after every grant in every window that the asker may spend in. It may fail afterwards by a bill beyond its bound, a
/// correction or a lowered amount; then nothing more is granted until it holds again.
pub fn l1(instance: &Instance, from: Time) -> bool {
    free(instance, from) >= 0
}

/// What is left to grant of an instance for windows that start at or after `from`; negative where it is overdrawn.
pub fn free(instance: &Instance, from: Time) -> i128 {
    left(instance, from, None)
}

/// What may be granted to a producer so that L-1 holds afterwards; negative where it does not hold now. What a producer used beyond
/// its lease is taken already, so a grant that covers it takes nothing more.
pub fn grantable(instance: &Instance, from: Time, to: ProducerId) -> i128 {
    let (free, holder) = (free(instance, from), instance.holders.iter().find(|holder| holder.producer == to));
    holder.filter(|_| free >= 0).map_or(free, |holder| left(instance, from, Some(to)) - holder.lease())
}

/// What is left beside what everybody takes, or everybody but one.
fn left(instance: &Instance, from: Time, but: Option<ProducerId>) -> i128 {
    let holders = || instance.holders.iter().filter(|holder| Some(holder.producer) != but);
    let uncounted = fault::is(Fault::LeasesNotCounted);
    // A window that nobody has used yet is taken by the live leases alone, so they bound what may be granted as well.
    let live = holders().filter(|holder| !holder.closed() && !uncounted);
    let leases = live.map(Holder::lease).sum();
    let ahead = if has_its_own_window(instance) { None } else { Some(leases) };
    let windows = instance.windows.iter().filter(|window| window.start >= from);
    let of = |holder: &Holder, window| if uncounted { holder.spent_in(window) } else { holder.taken(window) };
    let taken = windows.map(|window| window.moved() + holders().map(|holder| of(holder, window.start)).sum::<i128>());
    instance.amount - taken.chain(ahead).max().unwrap_or(leases)
}

/// Whether there is no window ahead, where that matters: only what a correction gave back makes a window less than its leases.
fn has_its_own_window(instance: &Instance) -> bool {
    let [window] = instance.windows.as_slice() else { return false };
    window.moved() < 0 && instance.id == InstanceId::of(instance.limit, &instance.values, Some(window.start))
}

/// L-2: what a producer used, may have used and holds in a window is within its lease.
pub fn l2(used: i128, unknown: i128, held: i128, lease: i128) -> bool {
    used + unknown + held <= lease
}
