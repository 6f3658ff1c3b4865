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
    time::now,
    topics::Topic,
    wire,
};

use crate::failure::Failure;

/// How long one look at the topic may take.
const LOOK: Duration = Duration::from_millis(100);

/// Publishes a policy and the price book that it names, unless it gives somebody the secret of another; says whether anything was new.
pub(crate) fn publish(road: &dyn Road, policy: Policy, book: &Book) -> Result<bool, Failure> {
    let (fold, books) = published(road)?;
    if fold.file() == Some(&policy) {
        return Ok(false);
    }
    one_each(&fold, &policy)?;
    let mut records = Vec::new();
    if !books.contains(&policy.book) {
        records.push(Record::Book(Box::new(book.clone())));
    }
    records.push(Record::Policy(Box::new(policy)));
    let bodies: Vec<Bytes> = records.iter().map(|record| wire::encode_policy(record).into()).collect();
    road.publish(&bodies)?;
    Ok(true)
}

/// Whether a file gives nobody a secret that another has, by the file and by what the admin API laid over what was published. One that
/// several have already is warned of, and keeps no file from being published.
pub(crate) fn one_each(before: &Fold, file: &Policy) -> Result<(), Failure> {
    let sharing = before.sharing(file, now());
    for known in &sharing.known {
        eprintln!("warning: {known}, by what was published before this file: make another one for each");
    }
    if sharing.added.is_empty() {
        return Ok(());
    }
    let added = sharing.added.join(", ");
    Err(Failure::coded(SHARED, format!("{added}, by the file and the admin API: make another one for each")))
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
