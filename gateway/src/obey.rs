//! Following metering's word: the policy, and the decisions.
//!
//! One thread reads both topics. The policy is swapped whole; decisions go into the local books; the watermarks in them confirm
//! what the journal may forget. Leases that are called back are returned here, at once. Nobody is let in before both were read to
//! the end, or a gateway that starts would live through every policy that there was, each for a moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use journal::{Change, Follower, Reader, Road};
use schemas::{
    decision::{Instance, Key, State},
    id::{BookHash, Lane, Offset},
    map::Map,
    policy::{self, Fold, Policy, Proxy, Step, secret},
    price::Book,
    subject::Subject,
    time::{self, Time},
    topics::Topic,
    wire,
};

use crate::{
    health::{Health, Standings},
    limits::Limits,
    terms::Terms,
};

/// How long the thread waits for decisions before it looks at the policy and for a stop.
const POLL: Duration = Duration::from_millis(50);

/// How long calls that wait here have the first go at a lease that is called back as it comes, or nobody would ever use it where many
/// gateways ask.
const FIRST_GO: Duration = Duration::from_millis(5);

/// How often instances of windows that are over are forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// The policy as a gateway uses it.
pub struct PolicyView {
    /// The policy. Once it is in force its limits are in the books, and not here as well.
    pub policy: Policy,
    /// The price book in force.
    pub book: Arc<Book>,
    /// Every one that was published, whether it is in force or not: attempts are rated by the one that they stand by.
    pub books: Arc<Books>,
    /// Whose key it is, by the SHA-256 of the key.
    pub keys: Map<[u8; 32], Caller>,
    /// The other proxies, by the SHA-256 of their tokens.
    pub proxies: Map<[u8; 32], Arc<Proxy>>,
    /// The tenants, and the lane of each.
    pub tenants: Map<String, Lane>,
    /// When the last tenant of a name ended, as [`Fold::ended`] says, of each that did.
    pub ended: BTreeMap<String, u64>,
    /// How the targets of each model are doing; empty until the policy is in force.
    pub(crate) standings: Standings,
}

/// The price books that were published, by their hashes.
#[derive(Debug, Default)]
pub struct Books(RwLock<HashMap<BookHash, Arc<Book>>>);

impl Books {
    /// Takes one more.
    pub fn insert(&self, book: Arc<Book>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(book.hash(), book);
    }

    /// The one of this hash, if it was published.
    pub fn get(&self, hash: BookHash) -> Option<Arc<Book>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }
}

/// Whose key it is, and the lane of that tenant.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub subject: Arc<Subject>,
    /// Where what they do is told.
    pub lane: Lane,
    /// What the key is good for, if not for everything.
    pub terms: Option<Arc<Terms>>,
    /// Whether what they say of attempts of their tenant is the whole of it.
    pub corrects: bool,
}

impl PolicyView {
    /// A policy and the book that it names, for a log of so many lanes.
    pub fn new(policy: Policy, book: Arc<Book>, lanes: u16) -> Self {
        let tenants = policy.tenants.iter().map(|tenant| {
            let lane = Lane::of(tenant.name.as_bytes(), lanes);
            (tenant.name.clone(), lane)
        });
        let at = time::now();
        let shared = shared(&policy, at);
        let proxies = policy.proxies.iter().map(|proxy| (proxy.token_sha256.0, Arc::new(proxy.clone())));
        let proxies = proxies.filter(|(secret, _)| !shared.contains(secret));
        let callers = policy.tenants.iter().flat_map(|tenant| {
            let lane = Lane::of(tenant.name.as_bytes(), lanes);
            tenant.keys.iter().flat_map(move |key| {
                let subject = Subject {
                    tenant: tenant.name.clone(),
                    team: key.team.clone(),
                    project: key.project.clone(),
                    user: key.user.clone(),
                    key: key.name.clone(),
                    tags: key.tags.clone(),
                };
                let subject = Arc::new(subject);
                let caller = |terms| Caller { subject: Arc::clone(&subject), lane, terms, corrects: key.corrects };
                let former = key
                    .former
                    .map(|former| (at < former.until, (former.sha256.0, caller(Terms::of_former(key, former)))));
                // The one that it has comes last: it is good as such, even if it is the one that it had.
                former.into_iter().chain([(true, (key.sha256.0, caller(Terms::of(key))))])
            })
        });
        let callers = callers.filter(|(_, (secret, _))| !shared.contains(secret));
        // One whose time is over is whose it is now, and else of who had it, who is told so.
        let (good, over): (Vec<_>, Vec<_>) = callers.partition(|(is_good, _)| *is_good);
        let callers = over.into_iter().chain(good).map(|(_, caller)| caller);
        let books = Arc::new(Books::default());
        books.insert(Arc::clone(&book));
        Self {
            keys: callers.collect(),
            proxies: proxies.collect(),
            tenants: tenants.collect(),
            ended: BTreeMap::new(),
            policy,
            books,
            book,
            standings: Standings::new(),
        }
    }
}

/// The secrets that several have, from a race or of a log that was written before anybody kept them from it: nobody could say who calls.
fn shared(policy: &Policy, at: Time) -> BTreeSet<[u8; 32]> {
    let shared = secret::shared(policy.secrets(at));
    for holders in shared.values() {
        let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
        tracing::error!(
            holders = names.join(", "),
            "they have the same secret, which is good for none of them: give each another"
        );
    }
    shared.into_keys().map(|secret| secret.0).collect()
}

/// The current policy, shared by all workers; swapped whole.
#[derive(Default)]
pub struct View {
    current: Mutex<Option<Arc<PolicyView>>>,
    generation: AtomicU64,
    health: Health,
}

impl View {
    /// The policy in force; nothing until one was read.
    pub fn load(&self) -> Option<Arc<PolicyView>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Grows with every change, so that a worker can keep its own copy until then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a policy in force. What is known of targets that it still names stays known.
    pub fn store(&self, mut view: PolicyView) {
        view.standings = self.health.of(&view.policy.models);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The thread that follows.
pub struct Obey {
    limits: Arc<Limits>,
    view: Arc<View>,
    follower: Box<dyn Follower>,
    policies: Box<dyn Reader>,
    fold: Fold,
    /// The offset after the last policy that was read, and whether that was the end once.
    read: Offset,
    is_current: bool,
    /// What is to be put in force when all was read.
    next: Option<Arc<Policy>>,
    books: Arc<Books>,
    ready: Arc<AtomicBool>,
    low_watermark: Arc<AtomicI64>,
    swept: Option<Instant>,
}

impl Obey {
    /// Follows a road for these limits and this view.
    pub fn new(road: &dyn Road, limits: Arc<Limits>, view: Arc<View>) -> Result<Self, journal::Error> {
        Ok(Self::over(road.follower()?, road.reader(Topic::Policy, &[Offset(0)])?, limits, view))
    }

    /// Follows these decisions and, from the first, these policies.
    pub fn over(follower: Box<dyn Follower>, policies: Box<dyn Reader>, limits: Arc<Limits>, view: Arc<View>) -> Self {
        Self {
            limits,
            view,
            follower,
            policies,
            fold: Fold::default(),
            read: Offset(0),
            is_current: false,
            next: None,
            books: Arc::default(),
            ready: Arc::new(AtomicBool::new(false)),
            low_watermark: Arc::new(AtomicI64::new(0)),
            swept: None,
        }
    }

    /// True once policy and decisions were read to the end.
    pub fn ready(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ready)
    }

    /// Where the gateway writes the low watermark of its last full report, in microseconds.
    pub fn low_watermark(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.low_watermark)
    }

    /// Follows until told to stop.
    pub fn run(mut self, stop: &AtomicBool) -> Result<(), journal::Error> {
        while !stop.load(Ordering::Relaxed) {
            let wait = if self.limits.lock().is_recalled() { FIRST_GO } else { POLL };
            let changes = self.follower.poll(wait)?;
            self.take(changes, time::now(), Instant::now());
            self.read_policy()?;
        }
        Ok(())
    }

    /// Takes in what there is, without waiting.
    pub fn turn(&mut self, now: Time, at: Instant) -> Result<(), journal::Error> {
        let changes = self.follower.poll(Duration::ZERO)?;
        self.take(changes, now, at);
        self.read_policy()
    }

    /// Obeys, and answers what it calls for.
    fn take(&mut self, changes: Vec<Change>, now: Time, at: Instant) {
        self.limits.lock().return_recalled();
        if !changes.is_empty() {
            self.decide(changes, now, at);
            self.limits.changed();
        }
        let low_watermark = Time::from_micros(self.low_watermark.load(Ordering::Relaxed));
        if let Err(error) = self.limits.report_dirty(now, low_watermark) {
            tracing::warn!(%error, "counters cannot be reported now; they will be with the next report");
        }
        if at.duration_since(*self.swept.get_or_insert(at)) >= SWEEP {
            self.swept = Some(at);
            self.limits.lock().sweep(now);
        }
    }

    fn read_policy(&mut self) -> Result<(), journal::Error> {
        for record in self.policies.poll(Duration::ZERO)? {
            self.read = Offset(record.offset.0 + 1);
            let step = wire::decode_policy(&record.body).map(|known| self.fold.take(record.offset, known));
            match step {
                Ok(Step::Book(book)) => {
                    self.books.insert(Arc::new(*book));
                }
                Ok(Step::InForce(policy)) => {
                    if let Some(skipped) = self.next.replace(Arc::clone(&policy)) {
                        let changed = policy::changed(&skipped.limits, &policy.limits);
                        self.limits.lock().skip(changed.iter().cloned());
                    }
                }
                Ok(Step::Refused(_)) => {}
                Err(error) => {
                    tracing::error!(offset = record.offset.0, %error, "a policy record cannot be read; the one before it stays in force");
                }
            }
        }
        if self.next.is_some() && self.follower.caught_up() && self.is_current() {
            if let Some(policy) = self.next.take() {
                self.enforce(&policy);
            }
            self.ready.store(self.view.load().is_some(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether every policy that was published has been read, once.
    fn is_current(&mut self) -> bool {
        if !self.is_current {
            match self.policies.ends() {
                Ok(ends) => self.is_current = ends.first().is_none_or(|end| self.read >= *end),
                Err(error) => tracing::warn!(%error, "how many policies there are cannot be told; trying again"),
            }
        }
        self.is_current
    }

    fn enforce(&mut self, policy: &Policy) {
        let Some(book) = self.books.get(policy.book) else {
            tracing::error!(book = %policy.book, "the policy names a price book that was not published; the one before it stays in force");
            return;
        };
        let mut policy = policy.clone();
        let lanes = {
            let mut limits = self.limits.lock();
            limits.rule(std::mem::take(&mut policy.limits), &policy.metering);
            limits.lanes()
        };
        let view = PolicyView::new(policy, book, lanes);
        self.view.store(PolicyView { books: Arc::clone(&self.books), ended: self.fold.ended().clone(), ..view });
        self.limits.changed();
    }

    fn decide(&self, changes: Vec<Change>, now: Time, at: Instant) {
        let mut confirmed = Vec::new();
        let mut book = self.limits.lock();
        for change in changes {
            let Ok(key) = wire::decode_key(&change.key) else {
                tracing::error!("a decision with a key that this version cannot read is left out");
                continue;
            };
            let state = change.state.map(|state| wire::decode_state(&key, &state)).transpose();
            match (key, state) {
                (Key::Lane(lane), Ok(Some(State::Lane(state)))) => {
                    book.lane(lane, &state, (now, at));
                    confirmed.push((lane, state));
                }
                (Key::Instance(id), Ok(Some(State::Instance(instance)))) => book.view(id, Some(kept(*instance))),
                (Key::Instance(id), Ok(None)) => book.view(id, None),
                (Key::Schedule(..), Ok(Some(State::Schedule(schedule)))) => book.schedule(schedule),
                (Key::Claim(_, id), Ok(Some(State::Claim(claim)))) => book.claimed_mut().hear(id, Some(claim.content)),
                (Key::Claim(_, id), Ok(None)) => book.claimed_mut().hear(id, None),
                (_, Ok(_)) => {}
                (key, Err(error)) => tracing::error!(?key, %error, "a decision cannot be read and is left out"),
            }
        }
        drop(book);
        for (lane, state) in confirmed {
            state.producers.iter().for_each(|mark| self.limits.heed(lane, mark));
        }
    }
}

/// A decision as it is kept until the next one: in no more memory than it needs. There are as many as there are counters.
fn kept(mut instance: Instance) -> Arc<Instance> {
    instance.values.shrink_to_fit();
    instance.windows.shrink_to_fit();
    instance.holders.iter_mut().for_each(|holder| {
        holder.used.shrink_to_fit();
        holder.unknown.shrink_to_fit();
    });
    instance.holders.shrink_to_fit();
    Arc::new(instance)
}

#[cfg(test)]
mod tests;
