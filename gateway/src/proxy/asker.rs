//! Who asks, and for whom: a client with its own key, or another proxy that speaks for tenants.
//!
//! A key speaks for its owner only. A proxy states a subject of a tenant that it may speak for and that is defined, since what
//! falls under no limit by a slip in its name would pass everything; or it hands on the client's key, of which only the hash is
//! looked up.

use std::sync::Arc;

use http::HeaderMap;
use schemas::{
    error_code::ErrorCode,
    policy::{Digest, Proxy},
    subject::Subject,
    time::Time,
};

use super::{Who, wrong};
use crate::{
    authenticate::{self, credential},
    error::Fault,
    obey::{Caller, PolicyView},
    worker::Worker,
};

/// Who asks.
pub(crate) enum Asker {
    Client(Caller),
    Proxy(Arc<Proxy>),
}

impl Asker {
    /// Whose credential a request carries.
    pub(crate) async fn of(
        headers: &HeaderMap,
        query: Option<&str>,
        (worker, view): (&Worker, &PolicyView),
        at: Time,
    ) -> Result<Self, Fault> {
        let secret = credential(headers, query)?;
        match view.proxies.get(&Digest::of(&secret).0) {
            Some(proxy) => Ok(Self::Proxy(Arc::clone(proxy))),
            None => authenticate::caller(headers, query, worker.register(view), at).await.map(Self::Client),
        }
    }

    /// What it is called among those whose checks are open; nobody else may settle them.
    pub(super) fn owner(&self) -> Arc<str> {
        match self {
            // Names have no control characters.
            Self::Client(caller) => format!("{}\n{}", caller.subject.tenant, caller.subject.key).into(),
            Self::Proxy(proxy) => proxy.name.as_str().into(),
        }
    }

    /// Whether calls of a tenant may be spoken of with it.
    pub(super) fn may_hear_of(&self, tenant: &str) -> bool {
        match self {
            Self::Client(caller) => caller.subject.tenant == tenant,
            Self::Proxy(proxy) => proxy.tenants.has(tenant),
        }
    }

    /// Whose call it is, with the tags that its owner does not set.
    pub(crate) fn speaks_for(
        &self,
        who: Who,
        tags: Vec<(String, String)>,
        view: &PolicyView,
        at: Time,
    ) -> Result<Caller, Fault> {
        let mut caller = match (self, who) {
            (Self::Client(caller), Who::Asker) => caller.clone(),
            (Self::Client(_), _) => return Err(fault(wrong("a key speaks for its owner only; state nobody"))),
            (Self::Proxy(_), Who::Asker) => {
                return Err(fault(wrong("a proxy states whose call it is: a tenant, or the client's key")));
            }
            (Self::Proxy(_), Who::Key(digest)) => {
                let known = view.keys.get(&digest.0).cloned();
                let caller = known.ok_or_else(|| Fault::new(ErrorCode::UnknownKey, "the client's key is nobody's"))?;
                caller.is_good(at)?;
                caller
            }
            (Self::Proxy(_), Who::Stated(subject)) => match view.tenants.get(&subject.tenant) {
                Some(lane) => Caller { subject: Arc::new(subject), lane: *lane, terms: None, corrects: false },
                None => return Err(Fault::new(ErrorCode::NotItsTenant, "no such tenant is defined")),
            },
        };
        if let Self::Proxy(proxy) = self
            && !proxy.tenants.has(&caller.subject.tenant)
        {
            let what = format!("`{}` speaks for the tenants that its configuration names", proxy.name);
            return Err(Fault::new(ErrorCode::NotItsTenant, what));
        }
        if !tags.is_empty() {
            let mut subject = Subject::clone(&caller.subject);
            subject.tags.extend(tags.into_iter().filter(|(name, _)| caller.subject.tag(name).is_none()));
            subject.tags.sort();
            caller.subject = Arc::new(subject);
        }
        Ok(caller)
    }
}

/// What an asker is told of a mistake of its own.
pub(super) fn fault((code, what): super::Wrong) -> Fault {
    Fault::new(code, what)
}
