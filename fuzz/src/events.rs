//! CloudEvents of usage, as another system sends them: whatever is taken only adds, and travels as it was read.
//!
//! The input is the JSON of one structured event. Two readings of it are the same thing, under one claim.

use std::sync::Arc;

use gateway::{
    external::{Envelope, Scene},
    limits::{Limits, Outlet},
};
use journal::Draft;
use schemas::{
    config::Config,
    event::{Event, Learned},
    id::{Lane, ProducerId, Seq},
    json::Tree,
    limit::Unit,
    price::Book,
    subject::Subject,
    time::Time,
    wire,
};

/// 2026-11-20T12:00:00Z.
const NOW: Time = Time::from_micros(1_795_176_000_000_000);

/// Nothing is written.
struct Nowhere;

impl Outlet for Nowhere {
    fn append(&self, _: &[Draft<'_>]) -> Result<(), journal::Error> {
        Ok(())
    }

    fn confirm(&self, _: ProducerId, _: Lane, _: Seq) {}
}

/// Reads the input as an event.
pub fn check(input: &[u8]) {
    let Some(learned) = learn(input) else { return };
    assert!((1..=256).contains(&learned.id.len()) && (1..=256).contains(&learned.source.len()));
    assert_eq!(learned.is.attempt.subject.tenant, "acme");
    let total = learned.is.usage.total().unwrap_or_default();
    assert_eq!(Unit::Tokens.amount(&total, None), Some(total.total().into()));
    assert!(learned.moves.iter().all(|moved| moved.amount >= 0 && moved.clears == 0), "an event lowers");
    assert_eq!(learn(input).as_ref(), Some(&learned));
    let event = Event::Learned(Box::new(learned));
    assert_eq!(wire::decode_event(&wire::encode_event(&event)), Ok(event));
}

fn learn(input: &[u8]) -> Option<Learned> {
    let (config, _) = Config::parse("", "none", &|_| None).ok()?;
    let book = Book::builtin();
    let tree = Tree::read(input).ok()?;
    let event = Envelope::of(tree.root()).ok()?.read(&config.policy(book.hash()), NOW).ok()?;
    // What is amended stands in a ledger; without one an amendment is only read.
    if event.amends().is_some() {
        return None;
    }
    let subject = Subject { tenant: "acme".into(), tags: vec![("env".into(), "prod".into())], ..Subject::default() };
    let limits = Limits::over(ProducerId::from_bytes([1; 16]), Arc::new(Nowhere), 4);
    Some(event.learn(Scene { subject: &subject, book: &book, gateway: &"g".into() }, &limits))
}
