//! Order, refusal and absorption by example.

use super::*;
use crate::{
    fixture,
    id::BookHash,
    limit::{Dimension, Limit, Match, Mode, Share, Window},
    policy::{ApiKey, Digest, Expiry, Former, Once, Proxy, Tenant, Tenants, told},
    time::Time,
};

fn key(name: &str, secret: u8) -> ApiKey {
    ApiKey { name: name.into(), sha256: Digest([secret; 32]), ..ApiKey::default() }
}

/// A file with a key and a limit.
fn file() -> Policy {
    let mut policy = fixture::policy(vec![fixture::limit(5, Window::Day)], BookHash::NONE);
    policy.tenants[0].keys.push(key("ci", 1));
    policy
}

/// A topic that is written to and folded as it goes.
#[derive(Default)]
struct Topic {
    fold: Fold,
    records: Vec<Record>,
}

impl Topic {
    fn with(file: &Policy) -> Self {
        let mut topic = Self::default();
        topic.file(file);
        topic
    }

    fn take(&mut self, record: Record) -> Step {
        self.records.push(record.clone());
        self.fold.take(Offset(self.records.len() as u64 - 1), record)
    }

    fn file(&mut self, file: &Policy) {
        assert!(matches!(self.take(Record::Policy(Box::new(file.clone()))), Step::InForce(_)));
    }

    fn ask(&mut self, what: What) -> Result<(), Refusal> {
        self.ask_for(None, 0, what)
    }

    fn ask_for(&mut self, expects: Option<u64>, at: i64, what: What) -> Result<(), Refusal> {
        self.ask_once(None, expects, at, what)
    }

    fn ask_once(&mut self, once: Option<Once>, expects: Option<u64>, at: i64, what: What) -> Result<(), Refusal> {
        let change = Change { id: "x".into(), at: Time::from_micros(at), by: "ops".into(), expects, once, what };
        match self.take(Record::Change(Box::new(change))) {
            Step::InForce(_) => Ok(()),
            Step::Refused(why) => Err(why),
            Step::Book(_) => panic!("no book was published"),
        }
    }

    /// What is said to whoever would append it.
    fn spares(&self, what: What) -> Result<(), Refusal> {
        self.spares_at(0, what)
    }

    fn spares_at(&self, at: i64, what: What) -> Result<(), Refusal> {
        let at = Time::from_micros(at);
        self.fold.spares(&Change { id: "x".into(), at, by: "ops".into(), expects: None, once: None, what })
    }

    fn policy(&self) -> &Policy {
        self.fold.in_force().expect("a policy")
    }

    fn key(&self, name: &str) -> Option<&ApiKey> {
        self.policy().tenant("acme")?.key(name)
    }

    fn limit(&self) -> Option<&Limit> {
        self.policy().limits.first()
    }
}

impl Drop for Topic {
    /// Whoever reads it all makes the same of it.
    fn drop(&mut self) {
        let mut again = Fold::default();
        for (offset, record) in self.records.drain(..).enumerate() {
            again.take(Offset(offset as u64), record);
        }
        assert_eq!((again.in_force(), again.version()), (self.fold.in_force(), self.fold.version()));
    }
}

fn of(key: &str) -> (String, String) {
    ("acme".to_owned(), key.to_owned())
}

fn disable(name: &str) -> What {
    let (tenant, key) = of(name);
    What::DisableKey { tenant, key }
}

fn enable(name: &str) -> What {
    let (tenant, key) = of(name);
    What::EnableKey { tenant, key }
}

fn delete(name: &str) -> What {
    let (tenant, key) = of(name);
    What::DeleteKey { tenant, key }
}

fn rotate(name: &str, secret: u8, until: Option<i64>) -> What {
    let (tenant, key) = of(name);
    What::RotateKey { tenant, key, sha256: Digest([secret; 32]), former_until: until.map(Time::from_micros) }
}

fn create(key: ApiKey) -> What {
    What::CreateKey { tenant: "acme".into(), key, budgets: Vec::new() }
}

fn amount(limit: &Limit, amount: i128) -> What {
    What::ChangeLimit { limit: limit.name.clone(), id: limit.id(), amount: Some(amount), mode: None, alerts: None }
}

#[test]
fn a_change_stays_over_every_later_file_until_one_says_the_same() {
    let mut topic = Topic::with(&file());
    topic.ask(disable("ci")).unwrap();
    assert!(topic.key("ci").unwrap().disabled);
    // A start with the same file, and one with a file that changes something else of the key.
    topic.file(&file());
    let mut other = file();
    other.tenants[0].keys[0].team = "search".into();
    topic.file(&other);
    let ci = topic.key("ci").unwrap();
    assert!(ci.disabled && ci.team == "search");
    assert_eq!(topic.fold.laid_over(), ["key acme/ci: disabled"]);
    // One that says it as well has it from then on, and may take it back.
    other.tenants[0].keys[0].disabled = true;
    topic.file(&other);
    assert!(topic.fold.laid_over().is_empty());
    topic.file(&file());
    assert!(!topic.key("ci").unwrap().disabled);
}

#[test]
fn a_key_that_comes_back_is_as_disabled_as_it_was() {
    let mut topic = Topic::with(&file());
    topic.ask(disable("ci")).unwrap();
    topic.file(&fixture::policy(Vec::new(), BookHash::NONE));
    assert_eq!((topic.ask(enable("ci")), topic.key("ci")), (Err(Refusal::Unknown), None));
    topic.file(&file());
    assert!(topic.key("ci").unwrap().disabled);
    topic.ask(enable("ci")).unwrap();
    assert!(!topic.key("ci").unwrap().disabled && topic.fold.laid_over().is_empty());
}

#[test]
fn a_key_is_created_rotated_and_deleted() {
    let mut topic = Topic::with(&file());
    topic.ask(create(key("new", 2))).unwrap();
    assert_eq!(topic.ask(create(key("new", 3))), Err(Refusal::Exists));
    assert_eq!(topic.ask(create(key("other", 1))), Err(Refusal::SecretTaken));
    topic.ask(rotate("new", 4, Some(10))).unwrap();
    let former = |secret: u8, until| Some(Former { sha256: Digest([secret; 32]), until: Time::from_micros(until) });
    assert_eq!(topic.key("new").unwrap(), &ApiKey { former: former(2, 10), ..key("new", 4) });
    assert_eq!(topic.ask(rotate("new", 2, None)), Err(Refusal::SecretTaken), "the old one is still good");
    // Of a key of the file only the secret is laid over.
    topic.ask(rotate("ci", 5, Some(20))).unwrap();
    assert_eq!(topic.key("ci").unwrap(), &ApiKey { former: former(1, 20), ..key("ci", 5) });
    // What is over is let go of by the next change.
    topic.ask_for(None, 15, disable("new")).unwrap();
    assert_eq!((topic.key("new").unwrap().former, topic.key("ci").unwrap().former), (None, former(1, 20)));
    // A file that has the new secret takes the key over; the grace of the old one goes on.
    let mut later = file();
    later.tenants[0].keys[0].sha256 = Digest([5; 32]);
    topic.file(&later);
    assert_eq!(
        topic.fold.laid_over(),
        ["key acme/ci: its former secret is good until 1970-01-01T00:00:00.000020Z", "key acme/new: created"]
    );
    topic.ask(delete("new")).unwrap();
    topic.ask(delete("ci")).unwrap();
    assert_eq!((topic.ask(delete("ci")), topic.key("new"), topic.key("ci")), (Err(Refusal::Unknown), None, None));
    topic.file(&file());
    assert_eq!((topic.key("ci"), topic.fold.laid_over().as_slice()), (None, &["key acme/ci: deleted".to_owned()][..]));
    topic.ask(create(key("ci", 9))).unwrap();
    assert_eq!(topic.key("ci").unwrap().sha256, Digest([9; 32]));
}

#[test]
fn a_secret_is_one_keys_over_the_file_and_what_lies_over_it() {
    let mut topic = Topic::with(&file());
    topic.ask(create(key("new", 2))).unwrap();
    topic.ask(rotate("ci", 3, None)).unwrap();
    // The file still has what was rotated away; it is nobody else's, and may be its own again.
    assert_eq!(topic.spares(create(key("stolen", 1))), Err(Refusal::SecretTaken));
    assert_eq!(topic.spares(rotate("new", 1, None)), Err(Refusal::SecretTaken));
    assert_eq!(topic.spares(rotate("ci", 1, None)), Ok(()));
    // What the fold refuses it refuses itself.
    assert_eq!(topic.spares(create(key("ci", 1))), Ok(()));
    // What was given to a key waits with it, its former secret for as long as that is good.
    let empty = Policy { tenants: vec![Tenant { name: "acme".into(), keys: Vec::new() }], ..file() };
    topic.ask(rotate("ci", 4, Some(10))).unwrap();
    topic.file(&empty);
    assert_eq!([3, 4].map(|secret| topic.spares(create(key("stolen", secret)))), [Err(Refusal::SecretTaken); 2]);
    assert_eq!(topic.spares_at(10, create(key("stolen", 3))), Ok(()));
    // One that was deleted is free for as long as nobody brings it back.
    topic.file(&file());
    topic.ask(delete("ci")).unwrap();
    assert_eq!(topic.spares(create(key("heir", 1))), Ok(()));
}

#[test]
fn a_log_says_what_it_said_whoever_appended_to_it() {
    let mut topic = Topic::with(&file());
    topic.ask(rotate("ci", 2, None)).unwrap();
    // Good for nobody at that moment, so that whoever asks no more may give it to another, and go on with that one.
    topic.ask(create(key("stolen", 1))).unwrap();
    topic.ask(rotate("stolen", 3, None)).unwrap();
    assert_eq!(topic.key("stolen"), Some(&key("stolen", 3)));
    assert_eq!(topic.ask(create(key("other", 2))), Err(Refusal::SecretTaken));
}

#[test]
fn a_file_is_refused_for_the_secrets_that_it_makes_two_have_and_for_no_others() {
    let with = |tenant: &str, keys: Vec<ApiKey>| {
        let mut policy = file();
        policy.tenants.push(Tenant { name: tenant.into(), keys });
        policy
    };
    let mut topic = Topic::with(&file());
    topic.ask(create(key("new", 2))).unwrap();
    let dup = with("globex", vec![key("dup", 2)]);
    let said = |names: &str| vec![format!("{names} have the same secret")];
    let added = |fold: &Fold, file: &Policy| {
        let sharing = fold.sharing(file, Time::from_micros(5));
        assert!(sharing.known.is_empty(), "{sharing:?}");
        sharing.added
    };
    assert_eq!(added(&topic.fold, &dup), said("key globex/dup and key acme/new"));
    let proxy = Proxy { name: "edge".into(), token_sha256: Digest([2; 32]), tenants: Tenants::All };
    let proxied = Policy { proxies: vec![proxy], ..file() };
    assert_eq!(added(&topic.fold, &proxied), said("proxy edge and key acme/new"));
    // Once it was published all the same, no file is refused for it but one that gives it to one more.
    topic.file(&dup);
    for same in [dup.clone(), Policy { limits: Vec::new(), ..dup.clone() }] {
        let known = Sharing { added: Vec::new(), known: said("key globex/dup and key acme/new") };
        assert_eq!(topic.fold.sharing(&same, Time::ZERO), known);
    }
    let third = with("globex", vec![key("dup", 2), key("third", 2)]);
    assert_eq!(added(&topic.fold, &third), said("key globex/dup and key globex/third and key acme/new"));
    topic.file(&file());
    // In the place of a key that was deleted another is made, which hides the file's secret as much.
    topic.ask(delete("ci")).unwrap();
    topic.ask(create(key("squat", 1))).unwrap();
    topic.ask(create(key("ci", 3))).unwrap();
    assert_eq!(topic.spares(create(key("free", 1))), Ok(()), "the fold refuses what is good");
    assert!(added(&topic.fold, &Policy { limits: Vec::new(), ..file() }).is_empty());
    // A former secret is its key's for as long as it is good.
    topic.ask(rotate("new", 4, Some(5))).unwrap();
    assert!(added(&topic.fold, &dup).is_empty());
    topic.ask(rotate("new", 5, Some(6))).unwrap();
    assert_eq!(added(&topic.fold, &with("globex", vec![key("dup", 4)])), said("key globex/dup and key acme/new"));
}

#[test]
fn what_waits_for_a_key_that_no_file_has_is_free_for_a_file() {
    let mut topic = Topic::with(&file());
    topic.ask(rotate("ci", 2, None)).unwrap();
    let named = |keys: Vec<ApiKey>| Policy { tenants: vec![Tenant { name: "acme".into(), keys }], ..file() };
    let renamed = named(vec![key("ci2", 2)]);
    assert_eq!(topic.fold.sharing(&renamed, Time::ZERO), Sharing::default());
    topic.file(&renamed);
    // If the first one comes back, it comes back with what waited.
    let both = topic.fold.sharing(&named(vec![key("ci", 1), key("ci2", 2)]), Time::ZERO);
    assert_eq!(both.added, ["key acme/ci2 and key acme/ci have the same secret"]);
}

#[test]
fn a_file_that_says_the_same_as_a_change_absorbs_it() {
    let mut topic = Topic::with(&file());
    topic.ask(create(key("new", 2))).unwrap();
    topic.ask(What::CreateTenant { tenant: "globex".into() }).unwrap();
    topic.ask(create(key("other", 3))).unwrap();
    let mut later = file();
    later.tenants[0].keys.push(key("new", 2));
    later.tenants[0].keys.push(ApiKey { team: "search".into(), ..key("other", 3) });
    later.tenants.push(Tenant { name: "globex".into(), keys: Vec::new() });
    topic.file(&later);
    // The one that the file says otherwise stays as it was made.
    assert_eq!(topic.fold.laid_over(), ["key acme/other: created"]);
    assert_eq!(topic.key("other").unwrap().team, "");
    topic.file(&file());
    assert_eq!((topic.key("new"), topic.key("other").is_some()), (None, true));
}

#[test]
fn limits_change_in_place_and_only_the_one_that_is_meant() {
    let mut topic = Topic::with(&file());
    let before = topic.limit().unwrap().clone();
    topic.ask(amount(&before, 9)).unwrap();
    let more = What::ChangeLimit {
        limit: "l".into(),
        id: before.id(),
        amount: None,
        mode: Some(Mode::Soft),
        alerts: Some(vec![Share(80)]),
    };
    topic.ask(more.clone()).unwrap();
    topic.file(&file());
    let after = topic.limit().unwrap();
    assert_eq!(
        (after.amount, after.mode, after.alerts.as_slice(), after.id()),
        (9, Mode::Soft, &[Share(80)][..], before.id())
    );
    assert_eq!(topic.fold.laid_over(), ["limit l: changed (amount, mode, alerts)"]);
    // Another limit of the same name is not touched, and what is the file's no more comes back as the file says.
    let (mut other, mut none) = (file(), file());
    other.limits[0].window = Window::Month;
    none.limits.clear();
    for (file_without, left) in [(other, Some(5)), (none, None)] {
        topic.ask(amount(&before, 9)).unwrap();
        topic.file(&file_without);
        assert_eq!(topic.limit().map(|limit| limit.amount), left);
        assert_eq!(topic.ask(amount(&before, 7)), Err(Refusal::Unknown));
        topic.file(&file());
        assert_eq!((topic.limit(), topic.fold.laid_over().len()), (Some(&before), 0));
    }
    topic.ask(amount(&before, 9)).unwrap();
    topic.ask(more).unwrap();
    // To say what the file says is to say nothing.
    topic.ask(amount(&before, 5)).unwrap();
    assert_eq!(topic.fold.laid_over(), ["limit l: changed (mode, alerts)"]);
    assert_eq!(topic.ask(What::CreateLimit { limit: fixture::limit(1, Window::Hour) }), Err(Refusal::Exists));
    topic.ask(What::DeleteLimit { limit: "l".into(), id: before.id() }).unwrap();
    topic.file(&file());
    assert_eq!(
        (topic.ask(What::DeleteLimit { limit: "l".into(), id: before.id() }), topic.limit()),
        (Err(Refusal::Unknown), None)
    );
}

#[test]
fn a_limit_lies_over_the_one_that_it_is_and_over_none_that_is_called_so() {
    let of = |key: &str, amount, mode| Limit {
        scope: vec![(Dimension::Tenant, Match::Is("acme".into())), (Dimension::Key, Match::Is(key.into()))],
        mode,
        ..fixture::limit(amount, Window::Day)
    };
    let (mine, hard) = (of("nobody", 9, Mode::Observe), of("ci", 2, Mode::Hard));
    let empty = Policy { limits: Vec::new(), ..file() };
    let with = |limit: &Limit| Policy { limits: vec![limit.clone()], ..file() };
    let made = |limit: &Limit| What::CreateLimit { limit: limit.clone() };
    let gone = |limit: &Limit| What::DeleteLimit { limit: limit.name.clone(), id: limit.id() };
    // A name that was taken before the file has it is the file's all the same.
    let mut topic = Topic::with(&empty);
    topic.ask(made(&mine)).unwrap();
    topic.file(&with(&hard));
    assert_eq!((topic.policy().limits.as_slice(), topic.fold.laid_over().len()), (&[hard.clone()][..], 0));
    topic.file(&empty);
    assert!(topic.policy().limits.is_empty(), "it ended");
    // The same limit is the one that it is, wherever it was made first.
    topic.ask(made(&Limit { amount: 7, ..hard.clone() })).unwrap();
    topic.file(&with(&hard));
    assert_eq!(topic.limit().map(|limit| limit.amount), Some(7));
    // What was deleted is that limit, and another of its name is the file's; so is the first one if it comes back.
    topic.ask(gone(&hard)).unwrap();
    topic.file(&with(&hard));
    assert_eq!((topic.limit(), topic.fold.laid_over().len()), (None, 1));
    let turned = Limit { window: Window::Hour, amount: 0, ..hard.clone() };
    topic.file(&with(&turned));
    assert_eq!((topic.limit(), topic.fold.laid_over().len()), (Some(&turned), 0));
    topic.file(&with(&hard));
    assert_eq!(topic.limit(), Some(&hard));
    // In the place of one that was deleted there is another, for as long as the file has that one or none.
    topic.ask(gone(&hard)).unwrap();
    topic.ask(made(&mine)).unwrap();
    for still in [with(&hard), empty] {
        topic.file(&still);
        assert_eq!(topic.policy().limits, std::slice::from_ref(&mine));
    }
    topic.file(&with(&turned));
    assert_eq!(topic.policy().limits, [turned]);
}

#[test]
fn a_key_that_is_deleted_takes_its_limits_along() {
    let budget = Limit {
        name: Limit::name_of_budget(("acme", "new"), crate::limit::Unit::Tokens, Window::Day),
        scope: vec![(Dimension::Tenant, Match::Is("acme".into())), (Dimension::Key, Match::Is("new".into()))],
        ..fixture::limit(3, Window::Day)
    };
    let mut topic = Topic::with(&file());
    let make = || What::CreateKey { tenant: "acme".into(), key: key("new", 2), budgets: vec![budget.clone()] };
    topic.ask(make()).unwrap();
    assert_eq!(topic.policy().limits.len(), 2);
    topic.ask(delete("new")).unwrap();
    assert_eq!((topic.policy().limits.len(), topic.fold.laid_over().len()), (1, 0));
    topic.ask(make()).unwrap();
    topic.ask(What::DeleteLimit { limit: budget.name.clone(), id: budget.id() }).unwrap();
    assert!(topic.key("new").is_some() && topic.policy().limits.len() == 1);
}

#[test]
fn what_cannot_be_made_is_refused_and_changes_nothing() {
    let mut topic = Topic::default();
    assert_eq!(topic.ask(disable("ci")), Err(Refusal::NoPolicy));
    topic.file(&file());
    let (before, version) = (topic.policy().clone(), topic.fold.version());
    for (what, why) in [
        (disable("none"), Refusal::Unknown),
        (rotate("none", 9, None), Refusal::Unknown),
        (rotate("ci", 1, None), Refusal::SecretTaken),
        (What::CreateTenant { tenant: "acme".into() }, Refusal::Exists),
        (What::CreateKey { tenant: "nobody".into(), key: key("k", 9), budgets: Vec::new() }, Refusal::Unknown),
        (create(key("ci", 9)), Refusal::Exists),
    ] {
        assert_eq!(topic.ask(what.clone()), Err(why), "{what:?}");
    }
    assert_eq!((topic.policy(), topic.fold.version()), (&before, version));
}

#[test]
fn what_a_file_changed_is_told_of_what_is_in_force() {
    let mut topic = Topic::with(&file());
    topic.ask(What::CreateTenant { tenant: "elm".into() }).unwrap();
    topic.ask(create(key("bot", 2))).unwrap();
    topic.ask(disable("ci")).unwrap();
    topic.ask(What::CreateLimit { limit: Limit { name: "r".into(), ..fixture::limit(1, Window::Hour) } }).unwrap();
    topic.ask(create(key("left", 3))).unwrap();
    let mut later = file();
    later.limits[0].amount = 9;
    later.tenants[0].keys.push(key("left", 4));
    let mut fold = topic.fold.clone();
    let (step, told) = told::take(&mut fold, Offset(50), Record::Policy(Box::new(later)));
    assert!(matches!(step, Step::InForce(_)));
    let told = told.unwrap();
    assert_eq!(
        (told.kind.as_str(), told.policy, told.detail.as_str()),
        ("file", Offset(50), r#"["~ limit l: amount 5 → 9"]"#)
    );
    // A change is told with what became of it, and so is one that was not made.
    let ask = |what| Change { id: "x".into(), at: Time::ZERO, by: "ops".into(), expects: None, once: None, what };
    for (what, refused) in [(enable("ci"), ""), (enable("none"), "there is none of that name")] {
        let (_, told) = told::take(&mut fold, Offset(51), Record::Change(Box::new(ask(what))));
        assert_eq!(told.map(|told| told.refused).as_deref(), Some(refused));
    }
}

#[test]
fn of_two_that_saw_the_same_policy_one_is_refused() {
    let mut topic = Topic::with(&file());
    let seen = topic.fold.version();
    topic.ask_for(Some(seen), 0, disable("ci")).unwrap();
    let now = topic.fold.version();
    assert!(now > seen);
    assert_eq!(topic.ask_for(Some(seen), 0, enable("ci")), Err(Refusal::Moved(now)));
    // What was refused has not moved it.
    topic.ask_for(Some(now), 0, enable("ci")).unwrap();
}

#[test]
fn a_tenant_that_is_deleted_is_gone_with_its_keys_and_none_comes_back() {
    let mut topic = Topic::with(&file());
    let gone = || What::DeleteTenant { tenant: "acme".into() };
    topic.ask(gone()).unwrap();
    assert_eq!((topic.ask(gone()), topic.policy().tenant("acme")), (Err(Refusal::Unknown), None));
    assert_eq!(topic.policy().limits.len(), 1, "what it used is still counted");
    topic.file(&file());
    assert_eq!(topic.policy().tenant("acme"), None, "a start with the same file does not undo it");
    assert_eq!(topic.fold.laid_over(), ["tenant acme: deleted", "key acme/ci: deleted"]);
    // Another of the name has none of its keys.
    topic.ask(What::CreateTenant { tenant: "acme".into() }).unwrap();
    assert_eq!(topic.policy().tenant("acme").map(|tenant| tenant.keys.len()), Some(0));
    topic.ask(gone()).unwrap();
    // A file without it has its end from then on, and a later one may bring it back.
    topic.file(&fixture::policy(Vec::new(), BookHash::NONE));
    let mut none = file();
    none.tenants.clear();
    topic.file(&none);
    assert!(topic.fold.laid_over().is_empty(), "{:?}", topic.fold.laid_over());
    topic.file(&file());
    assert!(topic.key("ci").is_some());
    // One that no file has is gone at once.
    topic.ask(What::CreateTenant { tenant: "new".into() }).unwrap();
    topic.ask(What::DeleteTenant { tenant: "new".into() }).unwrap();
    assert_eq!((topic.policy().tenant("new"), topic.fold.laid_over().len()), (None, 0));
}

#[test]
fn a_tenant_that_comes_back_is_another() {
    let mut topic = Topic::with(&file());
    let ended = |topic: &Topic| topic.fold.ended().get("acme").copied();
    topic.file(&file());
    assert_eq!(ended(&topic), None);
    for end in [1, 2] {
        topic.ask(What::DeleteTenant { tenant: "acme".into() }).unwrap();
        let version = topic.fold.version();
        topic.ask(What::CreateTenant { tenant: "acme".into() }).unwrap();
        assert_eq!(ended(&topic), Some(version), "{end}");
    }
    topic.file(&Policy { tenants: Vec::new(), ..file() });
    let version = topic.fold.version();
    topic.file(&file());
    assert_eq!(ended(&topic), Some(version));
}

#[test]
fn a_key_that_was_made_ends_with_its_tenant() {
    let scope = vec![(Dimension::Tenant, Match::Is("acme".into())), (Dimension::Key, Match::Is("new".into()))];
    let name = Limit::name_of_budget(("acme", "new"), crate::limit::Unit::Tokens, Window::Day);
    let budgets = vec![Limit { name, scope, ..fixture::limit(3, Window::Day) }];
    let make = || What::CreateKey { tenant: "acme".into(), key: key("new", 2), budgets: budgets.clone() };
    let (mut topic, none) = (Topic::with(&file()), Policy { tenants: Vec::new(), ..file() });
    topic.ask(make()).unwrap();
    topic.ask(disable("ci")).unwrap();
    topic.file(&none);
    assert_eq!((topic.policy().limits.len(), topic.fold.laid_over()), (1, vec!["key acme/ci: disabled".to_owned()]));
    // Neither by the API nor by the file does it come back with another tenant of the name; what was disabled is.
    topic.ask(What::CreateTenant { tenant: "acme".into() }).unwrap();
    assert_eq!(topic.policy().tenant("acme").map(|tenant| tenant.keys.len()), Some(0));
    topic.ask(make()).unwrap();
    assert!(topic.key("new").is_some(), "the tenant is there, whoever made it");
    topic.file(&file());
    assert!(topic.key("new").is_some() && topic.key("ci").unwrap().disabled);
    topic.file(&none);
    topic.file(&file());
    assert_eq!((topic.key("new"), topic.policy().limits.len()), (None, 1));
}

#[test]
fn a_key_changes_in_place_until_a_file_says_the_same() {
    let change = |name: &str, team: Option<&str>, models: Option<Vec<String>>, expires| What::ChangeKey {
        tenant: "acme".into(),
        key: name.into(),
        team: team.map(Into::into),
        models,
        expires,
    };
    let mut topic = Topic::with(&file());
    topic.ask(change("ci", Some("search"), None, None)).unwrap();
    let until = Time::from_micros(9);
    topic.ask(change("ci", None, Some(vec!["m".into()]), Some(Expiry::At(until)))).unwrap();
    let wanted = ApiKey { team: "search".into(), models: vec!["m".into()], expires: Some(until), ..key("ci", 1) };
    assert_eq!(topic.key("ci"), Some(&wanted));
    assert_eq!(topic.fold.laid_over(), ["key acme/ci: changed (team, models, expires)"]);
    let mut later = file();
    later.tenants[0].keys[0].team = "search".into();
    topic.file(&later);
    assert_eq!((topic.key("ci"), topic.fold.laid_over().len()), (Some(&wanted), 1));
    topic.ask(change("ci", None, Some(Vec::new()), Some(Expiry::Never))).unwrap();
    assert_eq!(topic.key("ci"), Some(&ApiKey { team: "search".into(), ..key("ci", 1) }));
    assert!(topic.fold.laid_over().is_empty());
    topic.ask(create(key("new", 2))).unwrap();
    topic.ask(change("new", Some("a"), None, None)).unwrap();
    assert_eq!(topic.key("new"), Some(&ApiKey { team: "a".into(), ..key("new", 2) }));
    assert_eq!(topic.ask(change("none", Some("a"), None, None)), Err(Refusal::Unknown));
}

#[test]
fn a_request_that_comes_again_is_made_once_for_a_day() {
    let once = |name: u8, request: u8| Some(Once { name: Digest([name; 32]), request: Digest([request; 32]) });
    let mut topic = Topic::with(&file());
    assert_eq!(topic.ask_once(once(1, 1), None, 0, create(key("a", 2))), Ok(()));
    assert_eq!(topic.ask_once(once(1, 1), None, 1, create(key("a", 3))), Err(Refusal::MadeBefore));
    assert_eq!(topic.ask_once(once(1, 2), None, 1, create(key("b", 3))), Err(Refusal::OtherRequest));
    // What was refused was not made.
    assert_eq!(topic.ask_once(once(2, 1), None, 2, create(key("a", 4))), Err(Refusal::Exists));
    assert_eq!(topic.ask_once(once(2, 1), None, 3, create(key("c", 4))), Ok(()));
    let day = 24 * 3_600 * 1_000_000;
    assert_eq!(topic.ask_once(once(3, 1), None, day + 1, create(key("d", 5))), Ok(()));
    assert_eq!(topic.ask_once(once(1, 2), None, day + 2, create(key("e", 6))), Ok(()));
    assert_eq!(topic.ask_once(once(2, 1), None, day + 2, create(key("f", 7))), Err(Refusal::MadeBefore));
}
