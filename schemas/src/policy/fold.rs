//! The policy in force, as a fold over the records of its topic, in order: the same at everyone who reads them.
//!
//! A file's record says what the file says, and takes the place of the one before. Changes lie over it, whatever files come
//! after, until a file says the same as they do. A change that cannot be made is refused here and nowhere else, so whoever
//! appends one needs no lock: it reads on to its own record and sees what became of it. No clock is read. By which rules a record is
//! refused never changes, or a log would say something else than it did; what is stricter is asked by whoever is about to append.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Change, Digest, Once, Policy, Record, What,
    once::Requests,
    over::Over,
    secret::{Holder, shared},
};
use crate::{id::Offset, price::Book, time::Time};

/// The records of the topic so far.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    file: Option<Arc<Policy>>,
    over: Over,
    requests: Requests,
    in_force: Option<Arc<Policy>>,
    version: u64,
    ended: BTreeMap<String, u64>,
}

/// What came of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A price book is known.
    Book(Box<Book>),
    /// Another policy is in force from here on, or the same once more.
    InForce(Arc<Policy>),
    /// A change was not made: nothing is different.
    Refused(Refusal),
}

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It came before any file's policy.
    #[error("no policy has been published yet")]
    NoPolicy,
    /// What it names is not there.
    #[error("there is none of that name")]
    Unknown,
    /// What it would make is there already.
    #[error("there is one of that name already")]
    Exists,
    /// Its secret is another's.
    #[error("that secret is in use already")]
    SecretTaken,
    /// It was made already, by the same request.
    #[error("the same request has been made already")]
    MadeBefore,
    /// Its request has the name of another one.
    #[error("another request was made by that idempotency key")]
    OtherRequest,
    /// The policy is another than the one that it was made for.
    #[error("the policy has changed since, to version {0}")]
    Moved(u64),
}

/// What a file would do to whose secrets are whose, each in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// It gives somebody a secret that another has: it is not to be published.
    pub added: Vec<String>,
    /// Several have a secret already, and with it no one more has.
    pub known: Vec<String>,
}

impl Fold {
    /// The policy in force; nothing before the first file's.
    pub fn in_force(&self) -> Option<&Arc<Policy>> {
        self.in_force.as_ref()
    }

    /// What the last file said.
    pub fn file(&self) -> Option<&Policy> {
        self.file.as_deref()
    }

    /// Names the policy in force: it grows with every record that is not refused.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// With which version the last tenant of a name ended, of each that did: another of the name is not the same tenant.
    pub fn ended(&self) -> &BTreeMap<String, u64> {
        &self.ended
    }

    /// What changes say that lies over the file's, each in a few words.
    pub fn laid_over(&self) -> Vec<String> {
        self.over.said()
    }

    /// What a file would do to whose secrets are whose, if it came next at an instant. One that was shared before does not keep a file from
    /// being taken, or nobody could publish any before that is mended.
    pub fn sharing(&self, file: &Policy, at: Time) -> Sharing {
        let mut before = self.clone();
        before.over.forget_former(at);
        let mut after = before.clone();
        after.file = Some(Arc::new(file.clone()));
        after.over.absorb(file);
        let (known, mut sharing) = (before.shared(), Sharing::default());
        for (secret, holders) in after.shared() {
            let is_known = known.get(&secret).is_some_and(|had| holders.iter().all(|holder| had.contains(holder)));
            let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
            let said = format!("{} have the same secret", names.join(" and "));
            let list = if is_known { &mut sharing.known } else { &mut sharing.added };
            list.push(said);
        }
        sharing
    }

    /// The secrets that several have, by the last file and what lies over it. What waits for a key that the file does not have is nobody's.
    fn shared(&self) -> BTreeMap<Digest, Vec<Holder<'_>>> {
        let file = self.file.as_deref();
        let is_there = |holder: Holder<'_>| match holder {
            Holder::Key(tenant, key) => file.and_then(|file| file.tenant(tenant)?.key(key)).is_some(),
            Holder::Proxy(_) => true,
        };
        let over = self.over.secrets().filter(|(_, holder)| self.over.is_made(*holder) || is_there(*holder));
        shared(self.of_file().chain(over))
    }

    /// Every secret of the last file, but of keys that were deleted and of those in whose place others were made. One that was rotated
    /// is its key's for as long as the file has it.
    fn of_file(&self) -> impl Iterator<Item = (Digest, Holder<'_>)> {
        let secrets = self.file.iter().flat_map(|file| file.secrets(Time::ZERO));
        secrets.filter(move |(_, holder)| !self.over.is_gone(*holder) && !self.over.is_made(*holder))
    }

    /// Why a change is not to be appended, although it would be made: it gives a secret that is good for nobody now, but is that of a key
    /// which was rotated for as long as the file has it, or waits for a key. Two who append at once may both be made: a secret that
    /// two can call with then is good for neither.
    pub fn spares(&self, change: &Change) -> Result<(), Refusal> {
        let Some((secret, holder)) = change.what.secret() else { return Ok(()) };
        // What is refused is appended all the same, and told of.
        if self.refuse(change).is_err() {
            return Ok(());
        }
        let mut over = self.over.clone();
        over.forget_former(change.at);
        let is_taken = self.of_file().chain(over.secrets()).any(|(known, other)| known == secret && other != holder);
        if is_taken { Err(Refusal::SecretTaken) } else { Ok(()) }
    }

    /// Why a request for a change would not be made, by what is known of earlier ones.
    pub fn was_made(&self, once: Option<&Once>) -> Result<(), Refusal> {
        self.requests.refuse(once)
    }

    /// Takes the next record of the topic, which stands at an offset.
    pub fn take(&mut self, offset: Offset, record: Record) -> Step {
        let may_end = match &record {
            Record::Policy(_) => true,
            Record::Change(change) => matches!(change.what, What::DeleteTenant { .. }),
            Record::Book(_) => false,
        };
        match record {
            Record::Book(book) => return Step::Book(book),
            Record::Policy(policy) => self.file = Some(Arc::new(*policy)),
            Record::Change(change) => {
                if let Err(refusal) = self.change(&change) {
                    return Step::Refused(refusal);
                }
            }
        }
        let Some(file) = &self.file else { return Step::Refused(Refusal::NoPolicy) };
        self.over.absorb(file);
        let policy = if self.over.is_empty() { Arc::clone(file) } else { Arc::new(self.over.lay_over(file)) };
        self.version = offset.0 + 1;
        if may_end {
            self.end_tenants(&policy);
        }
        self.in_force = Some(Arc::clone(&policy));
        Step::InForce(policy)
    }

    /// Marks the tenants that are in force and will not be.
    fn end_tenants(&mut self, after: &Policy) {
        let Some(before) = &self.in_force else { return };
        let stay: BTreeSet<&str> = after.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let gone = before.tenants.iter().filter(|tenant| !stay.contains(tenant.name.as_str()));
        self.ended.extend(gone.map(|tenant| (tenant.name.clone(), self.version)));
    }

    fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        let policy = Arc::clone(self.refuse(change)?);
        self.over.forget_former(change.at);
        self.over.make(&policy, &change.what);
        self.requests.made(change.once.as_ref(), change.at);
        Ok(())
    }

    /// Why a change is not made; else the policy of which it is made.
    fn refuse(&self, change: &Change) -> Result<&Arc<Policy>, Refusal> {
        let policy = self.in_force.as_ref().ok_or(Refusal::NoPolicy)?;
        self.was_made(change.once.as_ref())?;
        if change.expects.is_some_and(|expected| expected != self.version) {
            return Err(Refusal::Moved(self.version));
        }
        check(policy, &change.what)?;
        let is_taken = change
            .what
            .secret()
            .is_some_and(|(secret, _)| policy.secrets(Time::ZERO).any(|(known, _)| known == secret));
        if is_taken { Err(Refusal::SecretTaken) } else { Ok(policy) }
    }
}

/// Whether a change can be made of a policy, but for the secret that it gives.
fn check(policy: &Policy, what: &What) -> Result<(), Refusal> {
    let tenant = |name: &str| policy.tenant(name).ok_or(Refusal::Unknown);
    let key = |of: &str, name: &str| tenant(of)?.key(name).ok_or(Refusal::Unknown).map(drop);
    let is_limit = |name: &str| policy.limits.iter().any(|limit| limit.name == name);
    match what {
        What::CreateTenant { tenant } => policy.tenant(tenant).map_or(Ok(()), |_| Err(Refusal::Exists)),
        What::CreateKey { tenant: of, key, budgets } => {
            let is_there = tenant(of)?.key(&key.name).is_some();
            if is_there || budgets.iter().any(|budget| is_limit(&budget.name)) { Err(Refusal::Exists) } else { Ok(()) }
        }
        What::DeleteTenant { tenant: name } => tenant(name).map(drop),
        What::RotateKey { tenant, key: name, .. }
        | What::ChangeKey { tenant, key: name, .. }
        | What::DisableKey { tenant, key: name }
        | What::EnableKey { tenant, key: name }
        | What::DeleteKey { tenant, key: name } => key(tenant, name),
        What::CreateLimit { limit } => {
            if is_limit(&limit.name) {
                Err(Refusal::Exists)
            } else {
                Ok(())
            }
        }
        What::ChangeLimit { limit: name, id, .. } | What::DeleteLimit { limit: name, id } => {
            let is_it = policy.limits.iter().any(|limit| limit.name == *name && limit.id() == *id);
            if is_it { Ok(()) } else { Err(Refusal::Unknown) }
        }
    }
}

#[cfg(test)]
mod tests;
