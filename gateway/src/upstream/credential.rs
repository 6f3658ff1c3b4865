//! What says to a provider that it is us, and where that comes from.
//!
//! A provider has one [`Source`], which all workers share. A call takes what is there and never waits: whoever has to be asked (a file, a
//! cloud's token service) is asked in the background, one question at a time, well before what is there ends. What fails is asked again,
//! more and more seldom; until then the old credential is used as long as it lasts. Nothing of a credential is in any text made here.
//! What a source is asked for is in a file of its own below; this one knows when.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue, header};
use schemas::{
    config::{AwsKeys, CredentialSource, Dialect, Provider, Secret},
    time::{Time, now},
};
use tokio::sync::Notify;

use crate::metrics;

mod aws;
mod azure;
mod fetch;
mod file;
mod gcp;

pub(crate) use fetch::World;

/// How often a file is read again, and how often a source looks at the clock: a machine may have slept.
const TICK: Duration = Duration::from_secs(10);
/// How long before its end a credential is renewed at most; clouds give a new one some five minutes before.
const LEAD: Duration = Duration::from_secs(600);
/// When a service is asked again that gave what does not end.
const ENDLESS: Duration = Duration::from_secs(900);
/// How soon after a question that was answered the next one follows at the earliest.
const SOONEST: Duration = Duration::from_secs(5);
/// The same where a provider has refused what there is: of a file, and of a service.
const REFUSED_FILE: Duration = Duration::from_secs(1);
const REFUSED: Duration = Duration::from_secs(60);
/// How long after the first failure it is asked again, and how long after any later one at most.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How long one question may take, all its steps together.
const WITHIN: Duration = Duration::from_secs(30);

/// Gives the value of an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What credentials are looked for in, and by what clock.
#[derive(Clone)]
pub struct Surroundings {
    /// The environment variables.
    pub env: Environment,
    /// The time by which credentials end.
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// How often files and clock are looked at.
    pub tick: Duration,
}

impl Default for Surroundings {
    /// Those of this process.
    fn default() -> Self {
        Self { env: Arc::new(|name| std::env::var(name).ok()), clock: Arc::new(now), tick: TICK }
    }
}

/// What says to a provider that it is us.
pub(super) enum Credential {
    /// A header of every request, and the secret in it.
    Header(HeaderName, HeaderValue, Secret),
    /// A signature over each.
    Aws(AwsKeys),
    /// Nothing is asked for.
    None,
}

/// Why there is no credential to call with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// None is configured.
    NotConfigured,
    /// Its source has given none that is valid now, and why.
    NotThere(String),
}

/// What a source gives.
#[derive(Debug)]
struct Got {
    given: Given,
    /// When it ends, if it does.
    until: Option<Time>,
}

#[derive(Debug)]
enum Given {
    /// What would stand as `api_key`.
    Key(Secret),
    /// What goes as a bearer, whatever the dialect.
    Token(Secret),
    Aws(AwsKeys),
}

/// What calls are made with.
pub(super) struct Held {
    pub(super) credential: Credential,
    until: Option<Time>,
}

/// When a source is asked, and what came of it.
struct Pace {
    due: Time,
    asked: Time,
    failures: u32,
    /// Why the last question failed, if it did.
    trouble: Option<String>,
}

/// The one place that a provider's credential comes from.
pub(crate) struct Source {
    provider: String,
    dialect: Dialect,
    /// Who is asked; nobody where the credential stands in the configuration, or none does.
    from: Option<CredentialSource>,
    world: Arc<World>,
    held: RwLock<Option<Arc<Held>>>,
    /// What was held before: calls that were sent with it may still be answered.
    before: Mutex<Option<Arc<Held>>>,
    pace: Mutex<Pace>,
    nudged: Notify,
}

impl Source {
    /// The source of a provider. A file is read here, so that what is in it is there from the first call on.
    pub(crate) fn new(provider: &Provider, world: &Arc<World>) -> Result<Self, &'static str> {
        let at = world.now();
        let source = Self {
            provider: provider.name.clone(),
            dialect: provider.dialect,
            from: provider.more.credentials.clone(),
            held: RwLock::new(configured(provider)?.map(Arc::new)),
            before: Mutex::new(None),
            pace: Mutex::new(Pace { due: at, asked: Time::ZERO, failures: 0, trouble: None }),
            nudged: Notify::new(),
            world: Arc::clone(world),
        };
        if let Some(CredentialSource::File(path)) = &source.from {
            source.take(file::read(path));
        }
        Ok(source)
    }

    /// What calls are made with: the last that came, which may have ended while a call waited for its turn.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why no call can be made now; nothing where one can.
    pub(crate) fn lack(&self) -> Option<Lack> {
        let Some(held) = self.held() else {
            let Some(from) = &self.from else { return Some(Lack::NotConfigured) };
            let trouble = self.pace().trouble.clone().unwrap_or_else(|| "it has not answered yet".into());
            return Some(Lack::NotThere(format!("{from}: {trouble}")));
        };
        let until = held.until.filter(|until| *until <= self.world.now())?;
        let from = self.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let trouble = self.pace().trouble.clone().unwrap_or_else(|| "the next one has not come yet".into());
        Some(Lack::NotThere(format!("{from}: the last one ended at {until}; {trouble}")))
    }

    /// The provider has refused what there is: the source is asked sooner, at most once in a while, since a refusal may have other reasons.
    pub(crate) fn refused(&self) {
        let Some(from) = &self.from else { return };
        let rest = if matches!(from, CredentialSource::File(_)) { REFUSED_FILE } else { REFUSED };
        let mut pace = self.pace();
        pace.due = pace.due.min(pace.asked.after(rest));
        drop(pace);
        self.nudged.notify_one();
    }

    /// Whether somebody is asked for it.
    pub(crate) const fn is_renewed(&self) -> bool {
        self.from.is_some()
    }

    /// Asks when it is time, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            if self.pace().due <= self.world.now() {
                self.ask().await;
            }
            metrics::credential(&self.provider, self.lack().is_none());
            let left = self.pace().due.since(self.world.now());
            let wait = left.clamp(Duration::from_millis(1), self.world.tick);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.nudged.notified() => {}
            }
        }
    }

    /// Asks once.
    async fn ask(&self) {
        self.pace().asked = self.world.now();
        let Some(from) = &self.from else { return };
        let got = tokio::time::timeout(WITHIN, async {
            match from {
                CredentialSource::File(path) => fetch::off_thread(path.clone(), file::read).await,
                CredentialSource::Aws { region } => aws::fetch(&self.world, region).await,
                CredentialSource::Gcp => gcp::fetch(&self.world).await,
                CredentialSource::Azure => azure::fetch(&self.world).await,
            }
        });
        self.take(got.await.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs()))));
    }

    /// Takes what came of a question; what failed changes nothing but when the next is.
    fn take(&self, got: Result<Got, String>) {
        let at = self.world.now();
        let got = got.and_then(|got| match got.until {
            Some(until) if until <= at => Err(format!("what it gave ended at {until}; compare the clocks")),
            _ => held(self.dialect, got),
        });
        let mut pace = self.pace();
        let source = self.from.as_ref().map(ToString::to_string).unwrap_or_default();
        match got {
            Ok(held) => {
                let until = held.until;
                self.put(Arc::new(held));
                if pace.trouble.take().is_some() {
                    tracing::info!(provider = %self.provider, %source, "the credential of a provider can be had again");
                }
                pace.failures = 0;
                pace.due = at.after(match (until, &self.from) {
                    (Some(until), _) => renewal(until.since(at)),
                    (None, Some(CredentialSource::File(_))) => self.world.tick,
                    (None, _) => ENDLESS,
                });
                until.into_iter().for_each(|until| metrics::credential_until(&self.provider, until));
            }
            Err(why) => {
                if pace.trouble.is_none() {
                    tracing::warn!(
                        provider = %self.provider, %source, %why,
                        "the credential of a provider cannot be had; the last one is used while it lasts"
                    );
                }
                pace.trouble = Some(why);
                let doubled = BACKOFF.saturating_mul(1 << pace.failures.min(8)).min(BACKOFF_MAX);
                pace.failures = pace.failures.saturating_add(1);
                pace.due = at.after(doubled + jitter(doubled / 4));
                metrics::credential_failed(&self.provider);
            }
        }
    }

    fn put(&self, held: Arc<Held>) {
        let mut place = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|old| old.credential.sent() != held.credential.sent()) {
            *self.before.lock().unwrap_or_else(PoisonError::into_inner) = place.take();
        }
        *place = Some(held);
    }

    /// What an answer may repeat of what was sent: of the credential that there is, and of the one before.
    pub(super) fn sent(&self) -> [Option<Arc<Held>>; 2] {
        [self.held(), self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()]
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

impl Credential {
    /// What of it is sent as it is, and so may be repeated by a provider.
    pub(super) fn sent(&self) -> &str {
        match self {
            Self::Header(_, _, secret) => secret.expose(),
            Self::Aws(keys) => keys.session_token.expose(),
            Self::None => "",
        }
    }
}

/// After how much of what is left of a credential's life the next one is asked for. Where the same is given again, the rest is
/// divided again; gateways that began together do not ask together.
fn renewal(left: Duration) -> Duration {
    let lead = LEAD.min(left / 4);
    left.saturating_sub(lead + jitter(lead / 2)).max(SOONEST)
}

/// Some time up to `most`.
fn jitter(most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    // Every state is seeded by the system; no more is needed of this lot.
    Duration::from_micros(RandomState::new().build_hasher().finish() % most)
}

/// The credential that stands in the configuration.
fn configured(provider: &Provider) -> Result<Option<Held>, &'static str> {
    let forever = |credential| Some(Held { credential, until: None });
    let more = &provider.more;
    if more.credentials.is_some() {
        return Ok(None);
    }
    if !provider.api_key.is_empty() {
        let header = in_header(provider.dialect, &provider.api_key);
        return header.map(forever).ok_or("api_key has characters that no header can carry");
    }
    let signs = more.aws.clone().map(Credential::Aws);
    Ok(signs.or_else(|| more.keyless.then_some(Credential::None)).and_then(forever))
}

fn held(dialect: Dialect, Got { given, until }: Got) -> Result<Held, String> {
    let credential = match given {
        Given::Key(key) => in_header(dialect, &key),
        Given::Token(token) => carried(header::AUTHORIZATION, "Bearer ", &token),
        Given::Aws(keys) => Some(Credential::Aws(keys)),
    };
    credential.map(|credential| Held { credential, until }).ok_or_else(|| "it has what no header can carry".into())
}

/// A key in the header where a dialect has it.
fn in_header(dialect: Dialect, key: &Secret) -> Option<Credential> {
    match dialect {
        Dialect::Anthropic => carried(HeaderName::from_static("x-api-key"), "", key),
        Dialect::Gemini => carried(HeaderName::from_static("x-goog-api-key"), "", key),
        Dialect::Azure => carried(HeaderName::from_static("api-key"), "", key),
        // Vertex and Bedrock take tokens; without one Bedrock takes a signature.
        Dialect::OpenAi | Dialect::Vertex | Dialect::Bedrock | Dialect::Cohere | Dialect::Sandbox => {
            carried(header::AUTHORIZATION, "Bearer ", key)
        }
    }
}

fn carried(name: HeaderName, before: &str, secret: &Secret) -> Option<Credential> {
    let mut value = HeaderValue::from_str(&format!("{before}{}", secret.expose())).ok()?;
    value.set_sensitive(true);
    Some(Credential::Header(name, value, secret.clone()))
}

#[cfg(test)]
mod tests;
