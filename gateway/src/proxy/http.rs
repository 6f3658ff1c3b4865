//! `POST /v1/check` and `POST /v1/settle`: the questions of other proxies as JSON.
//!
//! A refusal is the very answer that a call would get here, in the dialect that the asker speaks; so a proxy can hand it on.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use schemas::{id::CallId, time::now};
use serde_json::json;

use super::{
    Wrong,
    asker::{Asker, fault},
    desk, stated,
};
use crate::{
    body,
    error::{Fault, json_of, told},
    obey::PolicyView,
    route,
    worker::{Taken, Worker},
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asking {
    Check,
    Settle,
}

/// Answers a question.
pub(crate) async fn serve(worker: &Arc<Worker>, asking: Asking, request: Request<Body>) -> Response<Body> {
    let call = CallId::fresh();
    let dialect = route::dialect_of_path(request.uri().path(), request.headers());
    let answered = match asking {
        Asking::Check => check(worker, call, request).await.map(|answer| (call, answer)),
        Asking::Settle => settle(worker, request).await.map(|call| (call, json!({ "call_id": call.to_string() }))),
    };
    told((dialect, call), StatusCode::OK, answered)
}

async fn check(worker: &Arc<Worker>, call: CallId, request: Request<Body>) -> Result<serde_json::Value, Fault> {
    let (view, asker, body, _taken) = hear(worker, request).await?;
    let check = read(&body, stated::check)?;
    let passed = desk::check(worker, &view, &asker, call, check).await?;
    let mut answer = json!({
        "call_id": call.to_string(),
        "expires_at": passed.expires_at.to_string(),
        "gateway": &*worker.shared.gateway,
    });
    if let (Some(cap), Some(members)) = (passed.cap, answer.as_object_mut()) {
        let member: Vec<&str> = cap.member.within().into_iter().chain([cap.member.name()]).collect();
        members.insert("cap".into(), json!({ "member": member.join("."), "tokens": cap.tokens }));
    }
    Ok(answer)
}

async fn settle(worker: &Arc<Worker>, request: Request<Body>) -> Result<CallId, Fault> {
    let (_, asker, body, _taken) = hear(worker, request).await?;
    let settlement = read(&body, stated::settlement)?;
    desk::settle(worker, &asker, settlement).await
}

/// Who asks, and what.
async fn hear(worker: &Arc<Worker>, request: Request<Body>) -> Result<(Arc<PolicyView>, Asker, Bytes, Taken), Fault> {
    let (head, body) = request.into_parts();
    let view = worker.view()?;
    let asker = Asker::of(&head.headers, head.uri.query(), (&**worker, &*view), now()).await?;
    let (bytes, taken) = body::read(&worker.shared, &head.headers, body).await?;
    Ok((view, asker, bytes, taken))
}

fn read<T>(body: &[u8], read: impl FnOnce(schemas::json::Value<'_>) -> Result<T, Wrong>) -> Result<T, Fault> {
    read(json_of(body)?.root()).map_err(fault)
}
