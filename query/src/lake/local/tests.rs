use std::ops::Range;

use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use tempfile::TempDir;

use super::Durable;

fn place(directory: &TempDir, below: &str) -> Path {
    Path::from_absolute_path(directory.path().join(below)).expect("a path")
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_put_makes_its_directories_and_leaves_nothing_beside_the_file() {
    let directory = TempDir::new().expect("a directory");
    let path = place(&directory, "a/b/c");
    Durable::new().put(&path, "one".into()).await.expect("put");
    Durable::new().put(&path, "two".into()).await.expect("put again");
    assert_eq!(Durable::new().get(&path).await.unwrap().bytes().await.unwrap(), "two");
    assert_eq!(names(&directory.path().join("a/b")), ["c"]);
}

#[tokio::test]
async fn of_many_that_create_a_file_one_does() {
    let directory = TempDir::new().expect("a directory");
    let path = place(&directory, "log/0.json");
    let store = Durable::new();
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let puts = (0..8).map(|writer| store.put_opts(&path, format!("{writer}").into(), create()));
    let done = futures::future::join_all(puts).await;
    assert_eq!(done.iter().filter(|put| put.is_ok()).count(), 1);
    assert!(done.iter().all(|put| matches!(put, Ok(_) | Err(Error::AlreadyExists { .. }))), "{done:?}");
    assert_eq!(names(&directory.path().join("log")), ["0.json"]);
}

#[tokio::test]
async fn a_file_in_parts_is_there_when_it_is_complete() {
    let directory = TempDir::new().expect("a directory");
    let path = place(&directory, "parts");
    let store = Durable::new();
    let mut upload = store.put_multipart(&path).await.expect("begun");
    upload.put_part("one ".into()).await.expect("a part");
    upload.put_part("two".into()).await.expect("a part");
    assert!(names(directory.path()).is_empty());
    upload.complete().await.expect("complete");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one two");
}

#[tokio::test]
async fn a_put_on_the_condition_of_the_old_content_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let version = object_store::UpdateVersion { e_tag: None, version: None };
    let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
    let put = Durable::new().put_opts(&place(&directory, "x"), "x".into(), options).await;
    assert!(matches!(put, Err(Error::NotImplemented { .. })), "{put:?}");
}

#[tokio::test]
async fn parts_of_a_file_are_read_and_what_is_not_in_it_is_an_error() {
    let directory = TempDir::new().expect("a directory");
    let (path, store) = (place(&directory, "file"), Durable::new());
    let gone = store.get_ranges(&path, std::slice::from_ref(&(0..1))).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    store.put(&path, "0123456789".into()).await.expect("put");
    assert_eq!(store.get_ranges(&path, &[7..10, 0..2, 4..4]).await.unwrap(), ["789", "01", ""]);
    for beyond in [9..11, 0..u64::MAX, Range { start: 3, end: 2 }] {
        let refused = store.get_ranges(&path, &[0..1, beyond.clone()]).await;
        assert!(matches!(refused, Err(Error::Generic { .. })), "{beyond:?}: {refused:?}");
    }
}
