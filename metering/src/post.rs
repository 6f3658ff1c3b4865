//! Taking over what gateways report: totals, of which the larger wins.
//!
//! `used` and `returned` only grow, so a report that is late or repeated changes nothing. `held` goes up and down, so the report
//! with the larger version is the truth.

use schemas::{
    decision::{Holder, Instance},
    event::{Counter, Hold},
    id::ProducerId,
    time::Time,
};

use crate::fault::{self, Fault};

/// How many windows of an instance whose leases stand are kept: the newest, and those that calls of it may still settle in.
const WINDOWS_KEPT: usize = 4;

/// Takes over one report; says whether it changed anything.
pub fn take(instance: &mut Instance, producer: ProducerId, counter: &Counter) -> bool {
    let holder = holder_mut(instance, producer);
    let mut changed = grow(&mut holder.returned, counter.returned);
    changed |= match holder.used.iter_mut().find(|(window, _)| *window == counter.window) {
        Some((_, used)) => grow(used, counter.used),
        // Kept at zero too: it says that the producer was in this window.
        None => {
            holder.used.push((counter.window, counter.used));
            counter.used != 0
        }
    };
    if counter.version > holder.version {
        changed |=
            holder.held != counter.held || holder.provisioned != counter.provisioned || holder.recall < counter.recall;
        holder.version = counter.version;
        holder.held = counter.held;
        holder.provisioned = counter.provisioned;
        holder.recall = holder.recall.max(counter.recall);
    }
    changed
}

fn grow(total: &mut i128, reported: i128) -> bool {
    let grows = reported > *total;
    if grows {
        *total = reported;
    }
    grows
}

/// What `producer` has of an instance; nothing yet if it is new to it.
pub fn holder_mut(instance: &mut Instance, producer: ProducerId) -> &mut Holder {
    let known = instance.holders.iter().position(|holder| holder.producer == producer);
    let place = known.unwrap_or_else(|| {
        instance.holders.push(Holder::new(producer));
        instance.holders.len() - 1
    });
    &mut instance.holders[place]
}

/// Forgets windows of an instance whose leases stand that are too old for anyone to spend in, and what was used in them.
pub fn forget_old_windows(instance: &mut Instance) {
    let Some(excess) = instance.windows.len().checked_sub(WINDOWS_KEPT).filter(|excess| *excess > 0) else { return };
    instance.windows.drain(..excess);
    let oldest = instance.windows.first().map_or(Time::ZERO, |window| window.start);
    for holder in &mut instance.holders {
        holder.used.retain(|(window, _)| *window >= oldest);
    }
}

/// Closes the lease of a producer that is gone: what it used and what nobody knows stays taken, the rest is free.
///
/// `unknown` stays held for attempts that it left open, and `used` is what these are known to have used. Its use is final,
/// because every event of it was accepted.
pub fn close(instance: &mut Instance, producer: ProducerId, unknown: &[Hold], used: &[Hold]) -> bool {
    let none = unknown.is_empty() && used.is_empty();
    if none && instance.holders.iter().all(|holder| holder.producer != producer) {
        return false;
    }
    // Where no lease is needed, the first that is heard of a holder may be its end.
    let holder = holder_mut(instance, producer);
    let unknown_here = unknown.iter().map(|hold| Hold { amount: 0, ..*hold });
    for hold in unknown_here.chain(used.iter().copied()) {
        match holder.used.iter_mut().find(|(window, _)| *window == hold.window) {
            Some((_, total)) => *total += hold.amount,
            None => holder.used.push((hold.window, hold.amount)),
        }
    }
    let provisioned = holder.provisioned + unknown.iter().map(|hold| hold.amount).sum::<i128>();
    let used = holder.used.iter().map(|(_, used)| *used).max().unwrap_or(0);
    // Use counts by itself (see `Holder::taken`); only where something stays unknown must the lease cover both.
    // And never more than was leased, where a lease was needed: what a report counted and its record did not survive would count
    // twice.
    let unleased = holder.granted == 0 && provisioned > 0;
    let keep = if unleased { used + provisioned } else { (used + provisioned).min(holder.lease()) };
    let keep = if fault::is(Fault::LeaseFreedAtRestart) { 0 } else { keep };
    holder.returned = holder.granted - keep;
    holder.held = provisioned;
    holder.provisioned = provisioned;
    holder.version = Holder::CLOSED;
    true
}

/// Where leases stand: forgets closed producers that were in no window that is still shown, or that `live` says may still be spent in.
pub fn forget_closed(instance: &mut Instance, live: impl Fn(Time) -> bool) -> bool {
    let known = instance.holders.len();
    let Instance { holders, windows, .. } = instance;
    let needed = |window: Time| live(window) || windows.iter().any(|shown| shown.start == window);
    holders.retain(|holder| !holder.closed() || holder.used.iter().any(|(window, _)| needed(*window)));
    instance.holders.len() != known
}
