//! A profile of IAM Identity Center, Amazon's single sign-on: the token of whoever ran `aws sso login` is exchanged for a role's keys.
//!
//! The token lasts an hour or so and the login for longer: where it came with what renews it, it is renewed here. Amazon's libraries
//! write what they get into the file that they share with the command line, and so does this. What renews a token may be good for one
//! use: kept in memory alone it would leave behind a file with which nobody, this gateway after a restart included, gets any further.
//! Where the file cannot be written, as in a mounted secret, what came is kept in memory for as long as the file stays as it was; so a
//! login, and `aws sso logout`, always go before that.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use schemas::{config::Secret, time::Time};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Got, World, address, encoded, endpoint, headers, json as read, keys, text};
use crate::upstream::{credential::fetch::off_thread, sigv4};

const FILE: &str = "the file of the login";
const OIDC: &str = "Amazon's SSO OIDC";
const PORTAL: &str = "Amazon's SSO";
/// How long before its end a token is renewed, as Amazon's libraries do.
const EARLY: Duration = Duration::from_secs(300);

/// What was renewed and could not be written: what the file said, and what it would say. Whoever renews holds all of it, since several
/// providers may share a login and what renews it may be good for one use.
pub(in crate::upstream::credential) type Unwritten = Mutex<BTreeMap<PathBuf, (Secret, Secret)>>;

/// A role that somebody has logged in for, as a profile states it.
pub(super) struct Login<'p> {
    /// What its file is called after: the session, or the address to log in at where there is none.
    called: &'p str,
    region: &'p str,
    account: &'p str,
    role: &'p str,
    /// What somebody has to run when it has ended.
    remedy: String,
}

impl<'p> Login<'p> {
    /// What a profile says of it, and the session that it names; nothing where it names no role of an account.
    pub(super) fn stated<S: Fn(&str) -> Option<&'p str>>(
        profile: &str,
        says: impl Fn(&str) -> Option<&'p str>,
        session: impl FnOnce(&str) -> Option<S>,
    ) -> Result<Option<Self>, String> {
        if says("sso_account_id").or(says("sso_role_name")).is_none() {
            return Ok(None);
        }
        let lacks = |of: &str, what: &str| format!("{of} has no {what}, which single sign-on needs");
        let need = |name| says(name).ok_or_else(|| lacks(&format!("the profile {profile:?}"), name));
        let (account, role) = (need("sso_account_id")?, need("sso_role_name")?);
        let (called, region, remedy) = match says("sso_session") {
            Some(name) => {
                let of = format!("the sso-session {name:?}");
                let session = session(name).ok_or_else(|| format!("{of} is not in Amazon's shared config file"))?;
                for key in ["sso_region", "sso_start_url"] {
                    if says(key).is_some_and(|own| session(key) != Some(own)) {
                        return Err(format!("the profile {profile:?} and {of} do not say the same {key}"));
                    }
                }
                let region = session("sso_region").ok_or_else(|| lacks(&of, "sso_region"))?;
                (name, region, format!("`aws sso login --sso-session {name}`"))
            }
            None => (need("sso_start_url")?, need("sso_region")?, format!("`aws sso login --profile {profile}`")),
        };
        Ok(Some(Self { called, region, account, role, remedy }))
    }

    /// Why there is no token, and what to do: nobody but a person can log in.
    fn ended(&self, why: &str) -> String {
        format!("{why}: log in again with {}", self.remedy)
    }
}

/// The keys of the role.
pub(super) async fn fetch(world: &World, region: &str, login: &Login<'_>) -> Result<Got, String> {
    let token = token(world, login).await?;
    let query = encoded(&[("role_name", login.role), ("account_id", login.account)]);
    let url = format!("{}/federation/credentials?{query}", endpoint(world, "SSO", "portal.sso", login.region));
    let head = headers(&[("x-amz-sso_bearer_token", token.expose())])?;
    // It says so too of a token that was called back before its end.
    let refused = |why: String| if why.contains(" answers 401") { login.ended(&why) } else { why };
    let answer = read(PORTAL, &world.get(PORTAL, &url, head).await.map_err(refused)?)?;
    let given = answer.get("roleCredentials").unwrap_or(&Value::Null);
    let part = |name| text(PORTAL, given, name);
    let until = given.get("expiration").and_then(Value::as_i64);
    let until = until.ok_or_else(|| format!("{PORTAL} says no time at which the credentials end"))?;
    let until = Time::from_micros(until.saturating_mul(1_000));
    Ok(keys(region, (part("accessKeyId")?, part("secretAccessKey")?, part("sessionToken")?), Some(until)))
}

/// The token of the login, renewed where that is due and can be.
async fn token(world: &World, login: &Login<'_>) -> Result<Secret, String> {
    let path = world.at_home(&format!(".aws/sso/cache/{}.json", hashed(login.called)));
    let path = path.ok_or("there is no home directory, where the token of a login is")?;
    let mut unwritten = world.unwritten.lock().await;
    let there = match world.file(path.clone()).await {
        Ok(text) => Secret::new(text),
        Err(why) => {
            unwritten.remove(&path);
            return Err(login.ended(&why));
        }
    };
    let newer = unwritten.get(&path).filter(|(before, _)| before.expose() == there.expose());
    let mut said = read(FILE, newer.map_or(&there, |(_, newer)| newer).expose()).map_err(|why| login.ended(&why))?;
    let until = ends(&said, "expiresAt").unwrap_or(Time::ZERO);
    let now = world.now();
    if until <= now.after(EARLY) {
        match renewed(world, login, &said).await {
            Ok(members) => {
                if let (Value::Object(said), Value::Object(members)) = (&mut said, members) {
                    said.extend(members);
                }
                let text = said.to_string();
                let write = text.clone();
                match off_thread(path.clone(), move |path| write_over(path, &write).map_err(|_| String::new())).await {
                    Ok(()) => unwritten.remove(&path),
                    Err(_) => unwritten.insert(path, (there, Secret::new(text))),
                };
            }
            // It may be renewed the next time.
            Err(_) if until > now => {}
            Err(why) => return Err(format!("the token of the login ended at {until}, and {why}")),
        }
    }
    text(FILE, &said, "accessToken").map(Secret::new).map_err(|why| login.ended(&why))
}

/// What changes in the file when its token is renewed.
async fn renewed(world: &World, login: &Login<'_>, said: &Value) -> Result<Value, String> {
    let part = |name| text(FILE, said, name);
    let Ok(renews) = part("refreshToken") else { return Err(login.ended("nothing came with it that renews it")) };
    let asked = world.now();
    if ends(said, "registrationExpiresAt").is_some_and(|end| end <= asked) {
        return Err(login.ended("who logged in is registered no longer"));
    }
    let form = json!({
        "clientId": part("clientId")?, "clientSecret": part("clientSecret")?, "grantType": "refresh_token",
        "refreshToken": renews,
    });
    let url = address(OIDC, &format!("{}/token", endpoint(world, "SSO_OIDC", "oidc", login.region)))?;
    let head = headers(&[("content-type", "application/json")])?;
    // What does not answer may answer the next time.
    let refused = |why: String| if why.contains(" answers 4") { login.ended(&why) } else { why };
    let answer = read(OIDC, &world.ask(OIDC, Method::POST, url, head, form.to_string()).await.map_err(refused)?)?;
    let lasts = answer.get("expiresIn").and_then(Value::as_u64);
    let lasts = lasts.ok_or_else(|| format!("{OIDC} does not say when its token ends"))?;
    // Whole seconds, which every tool that shares the file can read.
    let until = asked.after(Duration::from_secs(lasts)).second().to_string().replace(".000000", "");
    let mut members = json!({ "accessToken": text(OIDC, &answer, "accessToken")?, "expiresAt": until });
    if let Ok(next) = text(OIDC, &answer, "refreshToken") {
        members["refreshToken"] = next.into();
    }
    Ok(members)
}

/// A time in the file; older tools wrote `UTC` for `Z`.
fn ends(said: &Value, name: &str) -> Option<Time> {
    Time::instant(&said.get(name)?.as_str()?.replace("UTC", "Z"))
}

fn hashed(name: &str) -> String {
    sigv4::hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, name.as_bytes()).as_ref())
}

/// Writes over a file that is there. It stays whose it was, which one put in its place would not where this runs as another user; one that
/// is marked as for reading only is left as it is even by root. Nothing is cut off before all is written, which a full disk may not let.
fn write_over(path: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(path)?.permissions().readonly() {
        return Err(io::ErrorKind::ReadOnlyFilesystem.into());
    }
    let mut file = OpenOptions::new().write(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
