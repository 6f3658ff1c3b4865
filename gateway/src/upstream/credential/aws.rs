//! Amazon's default chain: environment, web identity, profile, container, instance.
//!
//! The first of them that is configured is asked, and what it fails with is told; only the last is asked without having been named, as
//! Amazon's own libraries do. What STS and single sign-on give and what containers and instances have ends, and is asked for again.

use http::{HeaderMap, Method};
use schemas::{
    config::{AwsKeys, Secret},
    time::Time,
};
use serde_json::Value;

use super::{
    Given, Got,
    fetch::{World, address, element, encoded, headers, json, text},
};
use crate::upstream::sigv4;

mod process;
mod profile;
mod sso;

pub(super) use sso::Unwritten;

const STS: &str = "Amazon's STS";
const CONTAINER: &str = "the container's credential service";
const INSTANCE: &str = "the instance's metadata service";
/// Where containers are told to ask by a path alone.
const CONTAINER_AT: &str = "http://169.254.170.2";
const INSTANCE_AT: &str = "http://169.254.169.254";
const INSTANCE_AT_V6: &str = "http://[fd00:ec2::254]";
/// What a session is called in Amazon's own records.
const SESSION: &str = "tollgate";

/// A role to be assumed, and how.
struct Role {
    arn: String,
    session: Option<String>,
    external_id: Option<String>,
}

/// Goes through the chain.
pub(super) async fn fetch(world: &World, region: &str) -> Result<Got, String> {
    if let Some(keys) = environment(world, region) {
        return Ok(keys);
    }
    if let (Some(file), Some(arn)) = (world.var("AWS_WEB_IDENTITY_TOKEN_FILE"), world.var("AWS_ROLE_ARN")) {
        let role = Role { arn, session: world.var("AWS_ROLE_SESSION_NAME"), external_id: None };
        return web_identity(world, region, &file, &role).await;
    }
    if let Some(got) = profile::fetch(world, region).await? {
        return Ok(got);
    }
    match container(world, region).await? {
        Some(got) => Ok(got),
        None => instance(world, region).await,
    }
}

fn environment(world: &World, region: &str) -> Option<Got> {
    let (id, key) = (world.var("AWS_ACCESS_KEY_ID")?, world.var("AWS_SECRET_ACCESS_KEY")?);
    Some(keys(region, (&id, &key, &world.var("AWS_SESSION_TOKEN").unwrap_or_default()), None))
}

fn keys(region: &str, (id, key, token): (&str, &str, &str), until: Option<Time>) -> Got {
    let given = AwsKeys {
        region: region.into(),
        access_key_id: Secret::new(id),
        secret_access_key: Secret::new(key),
        session_token: Secret::new(token),
    };
    Got { given: Given::Aws(given), until }
}

/// A role for a token that somebody else vouches for, such as Kubernetes.
async fn web_identity(world: &World, region: &str, file: &str, role: &Role) -> Result<Got, String> {
    let token = world.secret(file).await?;
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", &role.arn),
        ("RoleSessionName", role.session.as_deref().unwrap_or(SESSION)),
        ("WebIdentityToken", token.expose()),
    ];
    session(region, &world.post(STS, &sts(world, region), &form).await?)
}

/// A role for the keys of another.
async fn assume(world: &World, region: &str, keys: &AwsKeys, role: &Role) -> Result<Got, String> {
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", &*role.arn),
        ("RoleSessionName", role.session.as_deref().unwrap_or(SESSION)),
    ];
    form.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
    let (url, body) = (address(STS, &sts(world, region))?, encoded(&form));
    let mut head = headers(&[("content-type", "application/x-www-form-urlencoded")])?;
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let signed = sigv4::Signed {
        service: "sts",
        method: &Method::POST,
        host: &host,
        path: url.path(),
        query: url.query(),
        body: body.as_bytes(),
        at: world.now(),
    };
    sigv4::sign(keys, signed, &mut head).ok_or("the keys have what no header can carry")?;
    session(region, &world.ask(STS, Method::POST, url.clone(), head, body).await?)
}

/// Where STS is.
fn sts(world: &World, region: &str) -> String {
    format!("{}/", endpoint(world, "STS", "sts", region))
}

/// Where a service is, without a slash at the end: stated, or the one of the region.
fn endpoint(world: &World, name: &str, host: &str, region: &str) -> String {
    let stated = world.var(&format!("AWS_ENDPOINT_URL_{name}")).or_else(|| world.var("AWS_ENDPOINT_URL"));
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let url = stated.unwrap_or_else(|| format!("https://{host}.{region}.{domain}"));
    url.trim_end_matches('/').to_owned()
}

/// The keys of a session in what STS answers, which is XML.
fn session(region: &str, answer: &str) -> Result<Got, String> {
    let part = |name| element(answer, name).ok_or_else(|| format!("what {STS} says lacks {name}"));
    let until = ends(STS, part("Expiration")?)?;
    Ok(keys(region, (part("AccessKeyId")?, part("SecretAccessKey")?, part("SessionToken")?), Some(until)))
}

/// The keys of a container of ECS or EKS; nothing where it is not in one.
async fn container(world: &World, region: &str) -> Result<Option<Got>, String> {
    let relative = world.var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER_AT}{path}"));
    let Some(url) = relative.or_else(|| world.var("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else { return Ok(None) };
    // The file's content changes, so it is read each time.
    let token = match world.var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(world.secret(&file).await?),
        None => world.var("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new),
    };
    let head = match &token {
        Some(token) => headers(&[("authorization", token.expose())])?,
        None => HeaderMap::new(),
    };
    let answer = world.get(CONTAINER, &url, head).await?;
    listed(CONTAINER, region, &json(CONTAINER, &answer)?).map(Some)
}

/// The keys of the machine's role, by the second version of its metadata service, which wants a token for each question.
async fn instance(world: &World, region: &str) -> Result<Got, String> {
    if world.var("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(
            "no credentials are configured, and AWS_EC2_METADATA_DISABLED keeps from asking the instance".into()
        );
    }
    let is_v6 =
        world.var("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let usual = if is_v6 { INSTANCE_AT_V6 } else { INSTANCE_AT };
    let base = world.var("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| usual.into());
    let base = base.trim_end_matches('/');
    let ttl = headers(&[("x-aws-ec2-metadata-token-ttl-seconds", "300")])?;
    let url = address(INSTANCE, &format!("{base}/latest/api/token"))?;
    let token = world.ask(INSTANCE, Method::PUT, url, ttl, String::new()).await?;
    let head = headers(&[("x-aws-ec2-metadata-token", token.trim())])?;
    let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
    let names = world.get(INSTANCE, &roles, head.clone()).await?;
    let name = names.lines().next().map(str::trim).filter(|name| !name.is_empty());
    let name = name.ok_or("the instance has no role")?;
    let answer = world.get(INSTANCE, &format!("{roles}{}", sigv4::escaped(name, b"")), head).await?;
    listed(INSTANCE, region, &json(INSTANCE, &answer)?)
}

/// The keys in what containers and instances are told, which is JSON.
fn listed(who: &str, region: &str, answer: &Value) -> Result<Got, String> {
    if answer.get("Code").and_then(Value::as_str).is_some_and(|code| code != "Success") {
        return Err(format!("{who} has no credentials for the role"));
    }
    let part = |name| text(who, answer, name);
    let until = match answer.get("Expiration").and_then(Value::as_str) {
        Some(stated) => Some(ends(who, stated)?),
        None => None,
    };
    Ok(keys(region, (part("AccessKeyId")?, part("SecretAccessKey")?, part("Token")?), until))
}

fn ends(who: &str, stated: &str) -> Result<Time, String> {
    Time::parse(stated).map_err(|_| format!("{who} says no time at which the credentials end"))
}
