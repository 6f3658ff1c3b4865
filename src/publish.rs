//! Publishes the policy that a configuration makes, if it is not the one in force already.
//!
//! Metering alone does this, before it starts. A file that says the same as the last one is not published again, so a restart
//! leaves no trace in the log, and undoes no change that was made meanwhile.

use std::time::Duration;

use bytes::Bytes;
use journal::Road;
use schemas::{
    error_code::ErrorCode,
    id::{BookHash, Offset},
    policy::{Fold, Policy, Record, Step},
    price::Book,
    topics::Topic,
    wire,
};

use crate::failure::Failure;

/// How long one look at the topic may take.
const LOOK: Duration = Duration::from_millis(100);

/// Publishes a policy and the price book that it names, unless it gives somebody the secret of another; says whether anything was new.
pub(crate) fn publish(road: &dyn Road, policy: Policy, book: &Book) -> Result<bool, Failure> {
    let (mut fold, books) = published(road)?;
    if fold.file() == Some(&policy) {
        return Ok(false);
    }
    fold.take(Offset(fold.version()), Record::Policy(Box::new(policy.clone())));
    one_each(&fold)?;
    let mut records = Vec::new();
    if !books.contains(&policy.book) {
        records.push(Record::Book(Box::new(book.clone())));
    }
    records.push(Record::Policy(Box::new(policy)));
    let bodies: Vec<Bytes> = records.iter().map(|record| wire::encode_policy(record).into()).collect();
    road.publish(&bodies)?;
    Ok(true)
}

/// Whether everybody has a secret of their own, by the file and what the admin API laid over it.
pub(crate) fn one_each(fold: &Fold) -> Result<(), Failure> {
    let shared = fold.shared();
    if shared.is_empty() {
        return Ok(());
    }
    let said: Vec<String> =
        shared.iter().map(|[one, other]| format!("{one} and {other} have the same secret")).collect();
    let text = format!("{}, one by the file and one by the admin API: make another one for each", said.join(", "));
    Err(Failure::coded(SHARED, text))
}

/// The code of a file that gives somebody the secret of another.
pub(crate) const SHARED: ErrorCode = ErrorCode::DuplicateConfig;

/// Publishes price books that nothing is charged by unless they are named, as far as they are new.
pub(crate) fn publish_books(road: &dyn Road, books: Vec<Book>) -> Result<(), journal::Error> {
    let (_, known) = published(road)?;
    for book in books.into_iter().filter(|book| !known.contains(&book.hash())) {
        road.publish(&[wire::encode_policy(&Record::Book(Box::new(book))).into()])?;
    }
    Ok(())
}

/// The policy as far as it was published, and every book.
pub(crate) fn published(road: &dyn Road) -> Result<(Fold, Vec<BookHash>), journal::Error> {
    published_each(road, |_| {})
}

/// The same, with a look at each policy that was in force.
pub(crate) fn published_each(
    road: &dyn Road,
    mut look: impl FnMut(&Policy),
) -> Result<(Fold, Vec<BookHash>), journal::Error> {
    let mut reader = road.reader(Topic::Policy, &[Offset(0)])?;
    let end = reader.ends()?.first().copied().unwrap_or_default();
    let (mut next, mut fold, mut books) = (Offset(0), Fold::default(), Vec::new());
    while next < end {
        for record in reader.poll(LOOK)? {
            next = Offset(record.offset.0 + 1);
            match wire::decode_policy(&record.body).map(|known| fold.take(record.offset, known)) {
                Ok(Step::Book(book)) => books.push(book.hash()),
                Ok(Step::InForce(policy)) => look(&policy),
                Ok(Step::Refused(_)) => {}
                Err(error) => tracing::error!(offset = record.offset.0, %error, "a policy record cannot be read"),
            }
        }
    }
    Ok((fold, books))
}
