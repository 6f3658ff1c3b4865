//! Tenants and their keys over the admin API.
//!
//! A secret is made here, told in the one answer to whoever asked for the key, and kept as SHA-256 only.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use schemas::{
    config::{Secret, asked_key, asked_key_change, asked_rotation, asked_tenant},
    id::fresh_key,
    policy::{ApiKey, Digest, Policy, Tenant, What, shown},
    time::now,
};
use serde_json::{Value, json};

use super::{
    Api,
    desk::Now,
    http::{Asker, Fault, answer, created, once, text, with_warnings},
};

type Answered = Result<Response, Fault>;
type Shared = State<Arc<Api>>;

pub(super) async fn list(State(api): Shared, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let now = asker.now().await?;
    let tenants: Vec<Value> =
        now.policy.tenants.iter().filter(|tenant| asker.sees(&tenant.name)).map(tenant_shown).collect();
    Ok(answer(StatusCode::OK, now.version, &json!({ "tenants": tenants })))
}

pub(super) async fn create(State(api): Shared, request: Request) -> Answered {
    let (asker, body) = Asker::of(&api, request)?;
    let asker = asker.may_change(None)?;
    let body = text(body).await?;
    let tenant = asked_tenant(&body).map_err(|mistakes| Fault::bad(&mistakes))?;
    let name = tenant.clone();
    let now = asker.create(&body, move |_| Ok(What::CreateTenant { tenant })).await?;
    let made = now.policy.tenant(&name).ok_or_else(|| Fault::not_made(&now, "tenant"))?;
    Ok(created(&now, &tenant_shown(made)))
}

pub(super) async fn delete(State(api): Shared, Path(tenant): Path<String>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let asker = asker.may_change(None)?;
    let name = tenant.clone();
    let now = asker.change(move |_| Ok(What::DeleteTenant { tenant })).await?;
    Ok(answer(StatusCode::OK, now.version, &json!({ "name": name, "deleted": true })))
}

pub(super) async fn one(State(api): Shared, Path(tenant): Path<String>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let now = asker.now().await?;
    let found = now.policy.tenant(&tenant).filter(|_| asker.sees(&tenant)).ok_or_else(|| Fault::none("tenant"))?;
    Ok(answer(StatusCode::OK, now.version, &tenant_shown(found)))
}

pub(super) async fn keys(State(api): Shared, Path(tenant): Path<String>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let now = asker.now().await?;
    let found = now.policy.tenant(&tenant).filter(|_| asker.sees(&tenant)).ok_or_else(|| Fault::none("tenant"))?;
    let keys: Vec<Value> = found.keys.iter().map(|key| key_shown(&now.policy, &tenant, key)).collect();
    Ok(answer(StatusCode::OK, now.version, &json!({ "keys": keys })))
}

pub(super) async fn key(State(api): Shared, Path((tenant, key)): Path<(String, String)>, request: Request) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    if !asker.sees(&tenant) {
        return Err(Fault::none("key"));
    }
    key_answer(&asker.now().await?, (&tenant, &key))
}

/// Who asks for a change of what is a tenant's, and the body.
async fn asked(api: &Api, tenant: &str, request: Request) -> Result<(Asker, String), Fault> {
    let (asker, body) = Asker::of(api, request)?;
    let asker = asker.may_change(Some(tenant))?;
    Ok((asker, text(body).await?))
}

pub(super) async fn create_key(State(api): Shared, Path(tenant): Path<String>, request: Request) -> Answered {
    let (asker, body) = asked(&api, &tenant, request).await?;
    let before = asker.now().await?;
    let mut asked = asked_key(&body, &tenant, &before.policy).map_err(|mistakes| Fault::bad(&mistakes))?;
    let secret = asked.lacks_secret().then(fresh_key);
    if let Some(secret) = &secret {
        asked.key.sha256 = Digest::of(secret.expose());
    }
    asked.warnings.extend(api.admins.warn_of(&tenant, &asked.key.name));
    let (of, name) = (tenant.clone(), asked.key.name.clone());
    let what = What::CreateKey { tenant: of, key: asked.key, budgets: asked.budgets };
    let now = asker.create(&body, move |_| Ok(what)).await?;
    let secret = secret.filter(|_| !now.was_made);
    let made = key_value(&now, (&tenant, &name), secret.as_ref())?;
    Ok(created(&now, &with_warnings(made, &asked.warnings)))
}

pub(super) async fn change_key(
    State(api): Shared,
    Path((tenant, key)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let (asker, body) = asked(&api, &tenant, request).await?;
    let before = asker.now().await?;
    let what = asked_key_change(&body, &tenant, &key, &before.policy).map_err(|mistakes| Fault::bad(&mistakes))?;
    let now = asker.change(move |_| Ok(what)).await?;
    key_answer(&now, (&tenant, &key))
}

pub(super) async fn rotate(
    State(api): Shared,
    Path((tenant, key)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let (asker, body) = asked(&api, &tenant, request).await?;
    let body = if body.trim().is_empty() { "{}" } else { &body };
    let (grace, given) = asked_rotation(body).map_err(|mistakes| Fault::bad(&mistakes))?;
    let secret = given.is_none().then(fresh_key);
    let sha256 = given.unwrap_or_else(|| secret.as_ref().map(|secret| Digest::of(secret.expose())).unwrap_or_default());
    let former_until = (!grace.is_zero()).then(|| now().after(grace));
    let what = What::RotateKey { tenant: tenant.clone(), key: key.clone(), sha256, former_until };
    // Made twice, it would end the grace of the secret that is in use.
    let now = asker.create(body, move |_| Ok(what)).await?;
    let secret = secret.filter(|_| !now.was_made);
    Ok(once(StatusCode::OK, &now, &key_value(&now, (&tenant, &key), secret.as_ref())?))
}

pub(super) async fn disable(state: Shared, path: Path<(String, String)>, request: Request) -> Answered {
    of_key(state, path, request, |tenant, key| What::DisableKey { tenant, key }).await
}

pub(super) async fn enable(state: Shared, path: Path<(String, String)>, request: Request) -> Answered {
    of_key(state, path, request, |tenant, key| What::EnableKey { tenant, key }).await
}

async fn of_key(
    State(api): Shared,
    Path((tenant, key)): Path<(String, String)>,
    request: Request,
    what: fn(String, String) -> What,
) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let asker = asker.may_change(Some(&tenant))?;
    let what = what(tenant.clone(), key.clone());
    let now = asker.change(move |_| Ok(what)).await?;
    key_answer(&now, (&tenant, &key))
}

pub(super) async fn delete_key(
    State(api): Shared,
    Path((tenant, key)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let (asker, _) = Asker::of(&api, request)?;
    let asker = asker.may_change(Some(&tenant))?;
    let what = What::DeleteKey { tenant: tenant.clone(), key: key.clone() };
    let now = asker.change(move |_| Ok(what)).await?;
    Ok(answer(StatusCode::OK, now.version, &json!({ "name": key, "deleted": true })))
}

fn key_answer(now: &Now, of: (&str, &str)) -> Answered {
    Ok(answer(StatusCode::OK, now.version, &key_value(now, of, None)?))
}

/// A key as it is now, with its secret if that was made for this answer.
fn key_value(now: &Now, (tenant, key): (&str, &str), secret: Option<&Secret>) -> Result<Value, Fault> {
    let found = now.policy.tenant(tenant).and_then(|tenant| tenant.key(key));
    let found = found.ok_or_else(|| Fault::not_made(now, "key"))?;
    let mut value = key_shown(&now.policy, tenant, found);
    if let (Some(secret), Some(members)) = (secret, value.as_object_mut()) {
        members.insert("key".into(), secret.expose().into());
    }
    Ok(value)
}

fn tenant_shown(tenant: &Tenant) -> Value {
    let names: Vec<&str> = tenant.keys.iter().map(|key| key.name.as_str()).collect();
    json!({ "name": tenant.name, "keys": names })
}

/// A key with the limits that go with it, as they are now.
fn key_shown(policy: &Policy, tenant: &str, key: &ApiKey) -> Value {
    let mut value = shown::key(key);
    let budgets: Vec<Value> =
        policy.limits.iter().filter(|limit| limit.is_budget_of(tenant, &key.name)).map(shown::limit).collect();
    if let Some(members) = value.as_object_mut().filter(|_| !budgets.is_empty()) {
        members.insert("budget".into(), budgets.into());
    }
    value
}
