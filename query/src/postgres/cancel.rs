//! The sessions that are open, and queries that can be ended from another connection: who knows a session's number and its secret may, and
//! by statement (`SELECT pg_cancel_backend(…)`) who came with the same token. To all others there is no such session.
//!
//! Sessions are dealt as places for queries are (`crate::sql::turns`): a token opens one while it has fewer than could still be opened, so
//! that however many idle ones it keeps, others get in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token, Tokenizer},
};
use schemas::policy::Digest;
use tokio_util::sync::CancellationToken;

use super::parameter::Values;

/// The longest statement that may be one to end a query: longer ones are not looked at.
const MAX_ENDING: usize = 256;

/// The most sessions: 128 of one token if it is the only one.
pub(super) const SESSIONS: usize = 256;

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    open: Mutex<HashMap<u32, Open>>,
}

/// An open session.
#[derive(Debug)]
struct Open {
    secret: u32,
    /// Whose it is: its token.
    whose: Digest,
    /// Ends what it does now.
    ends: CancellationToken,
}

/// The place of one session.
#[derive(Debug)]
pub(super) struct Cancel {
    all: Arc<Cancels>,
    pub(super) pid: u32,
    pub(super) secret: u32,
    whose: Digest,
}

impl Cancels {
    /// A place for a session that came with a token; none where that has its share.
    pub(super) fn open(self: &Arc<Self>, token: &str) -> Option<Cancel> {
        let whose = Digest::of(token);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.values().filter(|session| session.whose == whose).count();
        if own >= SESSIONS.saturating_sub(open.len()) {
            return None;
        }
        loop {
            let drawn = uuid::Uuid::new_v4().as_u128();
            // Numbers are positive where clients keep them with a sign.
            let (pid, secret) = ((drawn & 0x7fff_ffff) as u32, (drawn >> 96) as u32);
            if let std::collections::hash_map::Entry::Vacant(place) = open.entry(pid) {
                place.insert(Open { secret, whose, ends: CancellationToken::new() });
                return Some(Cancel { all: Arc::clone(self), pid, secret, whose });
            }
        }
    }

    /// Ends what a session does now, if the secret is its own. Nobody is told whether it was.
    pub(super) fn cancel(&self, pid: u32, secret: u32) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get(&pid).filter(|session| session.secret == secret) {
            session.ends.cancel();
        }
    }
}

impl Cancel {
    /// A token for what the session does now; what came before is over.
    pub(super) fn renew(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(self.pid, Open { secret: self.secret, whose: self.whose, ends: token.clone() });
        token
    }

    /// Ends what a session does now that came with the same token as this one; whether there is one.
    fn end(&self, pid: u32) -> bool {
        let open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = open.get(&pid).filter(|session| session.whose == self.whose) else { return false };
        session.ends.cancel();
        true
    }

    /// The same for all other sessions that came with this one's token; how many there are.
    fn end_others(&self) -> usize {
        let open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        let others = open.iter().filter(|(pid, session)| **pid != self.pid && session.whose == self.whose);
        others.map(|(_, session)| session.ends.cancel()).count()
    }

    /// Does what a statement says with its values, if that is to end a query, and gives the statement that answers so, which has none.
    pub(super) fn ended(&self, sql: &str, values: Option<&Values>) -> Option<String> {
        let ending = Ending::of(sql)?;
        let done = match ending.whom {
            Whom::One(pid) => usize::from(self.end(pid)),
            Whom::Parameter => {
                let values = values.filter(|values| !values.values.is_empty())?;
                usize::from(values.number(0).is_some_and(|pid| self.end(pid)))
            }
            Whom::Others => self.end_others(),
        };
        Some(ending.answer(done))
    }
}

/// Whose query is ended.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    /// That of the session with this number.
    One(u32),
    /// That of the session whose number is the statement's parameter.
    Parameter,
    /// Those of all other sessions of the same token.
    Others,
}

impl Whom {
    /// Who is named by a number or a parameter, whatever kind of integer it is cast to.
    fn named(text: &str) -> Option<Self> {
        let text = match text.split_once("::") {
            Some((text, "int" | "int4" | "integer")) => text,
            Some(_) => return None,
            None => text,
        };
        if text == "$1" { Some(Self::Parameter) } else { text.parse().ok().map(Self::One) }
    }
}

/// A statement to end what a session does now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    name: &'static str,
    whom: Whom,
    /// Whether it looks sessions up among all, and so has a row for each that it ends.
    is_listed: bool,
}

impl Ending {
    /// What a statement says; nothing if it is another one.
    pub(super) fn of(sql: &str) -> Option<Self> {
        if sql.len() > MAX_ENDING {
            return None;
        }
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().ok()?;
        let words = tokens.into_iter().map(|token| match token {
            Token::Whitespace(_) => String::new(),
            Token::SingleQuotedString(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text,
            other => other.to_string().to_lowercase(),
        });
        let words = words.collect::<String>().replace("pg_catalog.", "").replace("pg_stat_activity.", "");
        let call = words.strip_prefix("select")?;
        let mut known = ["pg_cancel_backend", "pg_terminate_backend"].into_iter();
        let (name, rest) = known.find_map(|name| Some((name, call.strip_prefix(name)?)))?;
        let (whom, is_listed) = match rest.strip_prefix("(pid)frompg_stat_activity") {
            Some("" | "wherepid<>pg_backend_pid()") => (Whom::Others, true),
            Some(one) => (Whom::named(one.strip_prefix("wherepid=")?)?, true),
            None => (Whom::named(rest.strip_prefix('(')?.strip_suffix(')')?)?, false),
        };
        Some(Self { name, whom, is_listed })
    }

    /// The statement whose answer says how many sessions there were.
    fn answer(&self, done: usize) -> String {
        let name = self.name;
        match done {
            _ if !self.is_listed => format!("SELECT {} AS {name}", done > 0),
            0 | 1 => format!("SELECT true AS {name} WHERE {}", done > 0),
            _ => format!("SELECT true AS {name} FROM generate_series(1, {done})"),
        }
    }

    /// A statement with the columns and the parameters of this one, which does nothing.
    pub(super) fn like(&self) -> String {
        let wanted = if self.whom == Whom::Parameter { "$1 = CAST(0 AS INTEGER)" } else { "true" };
        format!("SELECT true AS {} WHERE {wanted}", self.name)
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Cancels, Ending, Values};

    #[test]
    fn no_token_has_all_sessions() {
        let all = Arc::new(Cancels::default());
        let opened = |token: &str| std::iter::from_fn(|| all.open(token)).collect::<Vec<_>>();
        let [one, other] = ["one", "other"].map(opened);
        assert_eq!([one.len(), other.len()], [128, 64]);
        let third = all.open("third");
        assert!(third.is_some());
        // What ends is given back.
        drop((other, third));
        assert!(all.open("one").is_none());
        drop(one);
        assert_eq!(opened("one").len(), 128);
    }

    #[test]
    fn statements_end_what_their_own_token_does() {
        let all = Arc::new(Cancels::default());
        let [one, same, other] = ["one", "one", "other"].map(|token| all.open(token).unwrap());
        let (running, others) = (same.renew(), other.renew());
        let sql = |pid| format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = '{pid}'");
        let answer = |done| Some(format!("SELECT true AS pg_terminate_backend WHERE {done}"));
        assert_eq!(one.ended(&sql(other.pid), None), answer(false));
        assert!(!others.is_cancelled() && !running.is_cancelled());
        assert_eq!(one.ended(&sql(same.pid), None), answer(true));
        assert!(running.is_cancelled() && !others.is_cancelled());
        let cancelled = Some("SELECT false AS pg_cancel_backend".to_owned());
        assert_eq!(one.ended(&format!("select pg_catalog.pg_cancel_backend({})", other.pid), None), cancelled);
        assert_eq!(one.ended(&format!("SELECT pg_cancel_backend('{}'::int)", other.pid), None), cancelled);
        let running = same.renew();
        let value = |pid: u32| Values { types: vec![0], formats: vec![0], values: vec![Some(pid.to_string().into())] };
        let parameter = "SELECT pg_cancel_backend($1)";
        assert_eq!(one.ended(parameter, Some(&value(other.pid))), cancelled);
        assert!(!others.is_cancelled() && !running.is_cancelled());
        assert_eq!(one.ended(parameter, Some(&value(same.pid))), Some("SELECT true AS pg_cancel_backend".to_owned()));
        assert!(running.is_cancelled());
        let (running, own) = (same.renew(), one.renew());
        for all in ["", " WHERE pid <> pg_backend_pid()", " where pg_stat_activity.pid != pg_catalog.pg_backend_pid()"]
        {
            let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity{all}");
            assert_eq!(one.ended(&sql, None), answer(true), "{sql}");
        }
        assert!(running.is_cancelled() && !own.is_cancelled() && !others.is_cancelled());
        for another in [
            "SELECT 'pg_cancel_backend(1)'",
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'",
            "SELECT pg_cancel_backend($2)",
            "SELECT pg_cancel_backend(1::text)",
        ] {
            assert_eq!(Ending::of(another), None, "{another}");
        }
    }
}
