//! Limits over the admin API. An admin of some tenants has to do with the limits whose scope names one of those.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use schemas::{
    config::{asked_change, asked_limit},
    limit::Limit,
    policy::{Policy, What, shown},
};
use serde_json::{Value, json};

use super::{
    Api,
    desk::Now,
    http::{Asker, Fault, answer, created, text, with_warnings},
};

type Answered = Result<Response, Fault>;
type Shared = State<Arc<Api>>;

pub(super) async fn list(State(api): Shared, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let now = asker.now().await?;
    let limits: Vec<Value> = now.policy.limits.iter().filter(|limit| sees(&asker, limit)).map(shown::limit).collect();
    Ok(answer(StatusCode::OK, now.version, &json!({ "limits": limits })))
}

pub(super) async fn one(State(api): Shared, Path(name): Path<String>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let now = asker.now().await?;
    found(&asker, &now.policy, &name)?;
    limit_answer(StatusCode::OK, &now, &name)
}

pub(super) async fn create(State(api): Shared, request: Request) -> Answered {
    let (asker, body) = Asker::of(&api, request)?;
    let body = text(body).await?;
    let before = asker.now().await?;
    let (limit, warnings) = asked_limit(&body, &before.policy).map_err(|mistakes| Fault::bad(&mistakes))?;
    let asker = asker.may_change(limit.tenant())?;
    let name = limit.name.clone();
    let now = asker.create(&body, move |_| Ok(What::CreateLimit { limit })).await?;
    let made = now.policy.limits.iter().find(|limit| limit.name == name);
    let made = made.ok_or_else(|| Fault::not_made(&now, "limit"))?;
    Ok(created(&now, &with_warnings(shown::limit(made), &warnings)))
}

pub(super) async fn change(State(api): Shared, Path(name): Path<String>, request: Request) -> Answered {
    let (asker, body) = Asker::of(&api, request)?;
    let body = text(body).await?;
    let before = asker.now().await?;
    let limit = found(&asker, &before.policy, &name)?;
    let asker = asker.may_change(limit.tenant())?;
    // Of the limit that was looked at, whatever is called so by then.
    let what = asked_change(&body, limit).map_err(|mistakes| Fault::bad(&mistakes))?;
    let now = asker.change(move |_| Ok(what)).await?;
    limit_answer(StatusCode::OK, &now, &name)
}

pub(super) async fn delete(State(api): Shared, Path(name): Path<String>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let before = asker.now().await?;
    let limit = found(&asker, &before.policy, &name)?;
    let asker = asker.may_change(limit.tenant())?;
    let what = What::DeleteLimit { limit: name.clone(), id: limit.id() };
    let now = asker.change(move |_| Ok(what)).await?;
    Ok(answer(StatusCode::OK, now.version, &json!({ "name": name, "deleted": true })))
}

fn found<'p>(asker: &Asker, policy: &'p Policy, name: &str) -> Result<&'p Limit, Fault> {
    let limit = policy.limits.iter().find(|limit| limit.name == name && sees(asker, limit));
    limit.ok_or_else(|| Fault::none("limit"))
}

fn sees(asker: &Asker, limit: &Limit) -> bool {
    asker.sees_all() || limit.tenant().is_some_and(|tenant| asker.sees(tenant))
}

fn limit_answer(status: StatusCode, now: &Now, name: &str) -> Answered {
    let limit = now.policy.limits.iter().find(|limit| limit.name == name).ok_or_else(|| Fault::none("limit"))?;
    Ok(answer(status, now.version, &shown::limit(limit)))
}
