//! `tollgate check --diff`: what a configuration would change of the policy in force and of the sections beside it, and which changes of
//! the admin API lie over it.
//!
//! It reads the policy topic of the log that the file names, and takes no part in that log: on disk the process that has it goes on.

use std::process::ExitCode;

use journal::{Disk, Road};
use schemas::{
    config::Log,
    id::Offset,
    policy::{
        Fold, Policy, Record,
        diff::{Difference, Way, diff},
    },
    wire,
};

use crate::{
    EXIT_USAGE,
    failure::Failure,
    load::Loaded,
    publish::{one_each, published},
    roles::open_road,
};

/// Something would change.
const EXIT_DIFFERENT: u8 = 1;

/// Prints what would change; gives 0 if nothing would, 1 if something would, and 64 if the file cannot be published over what it lies under.
pub(crate) fn run(loaded: &Loaded) -> Result<ExitCode, Failure> {
    let mut fold = in_force(loaded)?;
    let (before, over) = (fold.in_force().cloned(), fold.laid_over());
    let policy = loaded.config.policy(loaded.book.hash());
    if let Err(shared) = one_each(&fold, &policy) {
        eprintln!("error: {shared}");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    fold.take(Offset(fold.version()), Record::Policy(Box::new(policy)));
    let Some(after) = fold.in_force() else { return Err("the policy cannot be made".into()) };
    let differ = diff(before.as_deref(), after);
    match &before {
        None => println!("no policy has been published yet; this one would be the first"),
        Some(_) if differ.is_empty() => {
            println!("nothing would change; listen, log and lake are each process's own, and not compared")
        }
        Some(_) => {}
    }
    differ.iter().for_each(|difference| println!("{difference}"));
    let still = fold.laid_over();
    for change in &over {
        if still.contains(change) {
            println!("= {change}, by the admin API: it lies over this file, which says otherwise");
        } else if before.as_deref().is_some_and(|before| ends(change, (before, after), &differ)) {
            println!("= {change}, by the admin API: it ends with this file");
        } else {
            println!("= {change}, by the admin API: this file says the same, and has it from then on");
        }
    }
    Ok(if differ.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DIFFERENT) })
}

/// Whether a change ends with what it lies over: that is gone, or another limit has its name.
fn ends(change: &str, (before, after): (&Policy, &Policy), differ: &[Difference]) -> bool {
    let is_of = |what: &str| change.strip_prefix(what).is_some_and(|rest| rest.starts_with(": "));
    match before.limits.iter().find(|limit| is_of(&format!("limit {}", limit.name))) {
        Some(was) => !after.limits.iter().any(|limit| limit.name == was.name && limit.id() == was.id()),
        None => differ.iter().any(|one| one.way == Way::Removed && is_of(&one.what)),
    }
}

/// The policy topic, as far as it is published.
fn in_force(loaded: &Loaded) -> Result<Fold, Failure> {
    let Log::Disk { dir, .. } = &loaded.config.log else {
        let road = open_road(&loaded.config)?;
        return Ok(published(&*road as &dyn Road)?.0);
    };
    let mut fold = Fold::default();
    for record in Disk::look_at_policy(dir)? {
        fold.take(record.offset, wire::decode_policy(&record.body)?);
    }
    Ok(fold)
}
