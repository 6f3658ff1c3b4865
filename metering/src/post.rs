//! Taking over what gateways report: totals, of which the larger wins.
//!
//! `used`, `unknown` and `returned` only grow, so a report that is late or repeated changes nothing. `held` goes up and down, so the
//! report with the larger version is the truth.

use schemas::{
    decision::{Holder, Instance},
    event::{Counter, Hold},
    id::ProducerId,
    time::Time,
};

use crate::fault::{self, Fault};

/// How many windows of an instance whose leases stand are kept: the newest, and those that calls of it may still settle in.
const WINDOWS_KEPT: usize = 4;

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether more is used.
    pub used: bool,
    /// Whether anything is otherwise than before.
    pub any: bool,
}

/// Takes over one report.
pub fn take(instance: &mut Instance, producer: ProducerId, counter: &Counter) -> Taken {
    let holder = holder_mut(instance, producer);
    let mut changed = grow(&mut holder.returned, counter.returned);
    // Kept at zero too: it says that the producer was in this window.
    let used = grow(total(&mut holder.used, counter.window), counter.used);
    if counter.unknown > 0 {
        changed |= grow(total(&mut holder.unknown, counter.window), counter.unknown);
    }
    if counter.version > holder.version {
        changed |= holder.held != counter.held || holder.recall < counter.recall;
        holder.version = counter.version;
        holder.held = counter.held;
        holder.recall = holder.recall.max(counter.recall);
    }
    Taken { used, any: changed || used }
}

fn grow(total: &mut i128, reported: i128) -> bool {
    let grows = reported > *total;
    if grows {
        *total = reported;
    }
    grows
}

/// The total of a window; zero if it is new.
fn total(totals: &mut Vec<(Time, i128)>, window: Time) -> &mut i128 {
    let known = totals.iter().position(|(start, _)| *start == window);
    let place = known.unwrap_or_else(|| {
        totals.push((window, 0));
        totals.len() - 1
    });
    &mut totals[place].1
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
        holder.unknown.retain(|(window, _)| *window >= oldest);
    }
}

/// Closes the lease of a producer that is gone: what it used and what nobody knows stays taken, the rest is free.
///
/// `unknown` is what attempts that it left open may have used, beyond what they are known to have `used`. Both are final, because every
/// event of it was accepted. A report never counts what no record before it says.
pub fn close(instance: &mut Instance, producer: ProducerId, unknown: &[Hold], used: &[Hold]) -> bool {
    let none = unknown.is_empty() && used.is_empty();
    if none && instance.holders.iter().all(|holder| holder.producer != producer) {
        return false;
    }
    // Where no lease is needed, the first that is heard of a holder may be its end.
    let holder = holder_mut(instance, producer);
    for hold in used {
        *total(&mut holder.used, hold.window) += hold.amount;
    }
    for hold in unknown {
        // That it was in this window is said by what it used there, if only nothing.
        total(&mut holder.used, hold.window);
        if !fault::is(Fault::LeaseFreedAtRestart) {
            let times = if fault::is(Fault::LeftHeldTwice) { 2 } else { 1 };
            *total(&mut holder.unknown, hold.window) += times * hold.amount;
        }
    }
    holder.returned = holder.granted;
    holder.held = 0;
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
