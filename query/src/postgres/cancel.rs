//! Queries that can be ended from another connection: who knows a session's number and its secret may.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    open: Mutex<HashMap<u32, (u32, CancellationToken)>>,
}

/// The place of one session.
#[derive(Debug)]
pub(super) struct Cancel {
    all: Arc<Cancels>,
    pub(super) pid: u32,
    pub(super) secret: u32,
}

impl Cancels {
    /// A place for a session.
    pub(super) fn open(self: &Arc<Self>) -> Cancel {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let drawn = uuid::Uuid::new_v4().as_u128();
            // Numbers are positive where clients keep them with a sign.
            let (pid, secret) = ((drawn & 0x7fff_ffff) as u32, (drawn >> 96) as u32);
            if let std::collections::hash_map::Entry::Vacant(place) = open.entry(pid) {
                place.insert((secret, CancellationToken::new()));
                return Cancel { all: Arc::clone(self), pid, secret };
            }
        }
    }

    /// Ends what a session does now, if the secret is its own. Nobody is told whether it was.
    pub(super) fn cancel(&self, pid: u32, secret: u32) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, token)) = open.get(&pid).filter(|(known, _)| *known == secret) {
            token.cancel();
        }
    }
}

impl Cancel {
    /// A token for what the session does now; what came before is over.
    pub(super) fn renew(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(self.pid, (self.secret, token.clone()));
        token
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
    }
}
