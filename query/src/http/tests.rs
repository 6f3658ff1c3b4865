//! Requests to the routes, by a client that reads what comes piece by piece.

use tower::ServiceExt as _;

use super::*;
use crate::sql::tests::alive::{idle, large};

/// What was sent before is sent; nothing that is made after it, and nobody takes it for the whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_breaks_off_with_the_access_that_it_was_asked_by() {
    let world = large().await;
    let entry =
        Entry { engine: Arc::clone(&world.engine), cuts: Arc::clone(&world.cuts), access: Arc::clone(&world.access) };
    let sql = "SELECT a.user_id, b.call_id FROM usage a, usage b LIMIT 2000000";
    let body = Body::from(json!({"sql": sql, "format": "csv"}).to_string());
    let request = Request::post("/v1/sql").header("authorization", "Bearer tgq-acme").body(body).unwrap();
    let response = router(Arc::new(entry)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut pieces = response.into_body().into_data_stream();
    pieces.next().await.unwrap().unwrap();
    world.grants(&[]);
    let mut more = 0;
    loop {
        match pieces.next().await {
            Some(Ok(_)) => more += 1,
            Some(Err(_)) => break,
            None => panic!("everything was given"),
        }
    }
    assert!(more < 64, "{more} pieces more were given");
    drop(pieces);
    idle(&world).await;
}
