//! How token services are asked: over https, or where nobody else listens.
//!
//! An address is taken from standard environment variables and files of credentials, so it is checked: plain http goes to this machine
//! and to the link-local addresses of metadata services only. No redirect is followed, no proxy is used, every answer is bounded in size
//! and time. What is told of a failure is the service, its status and the name of its error; neither what was sent nor what it wrote.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, Url, redirect::Policy};
use schemas::{
    config::{Secret, is_loopback},
    time::Time,
};
use serde_json::Value;

use super::{Given, Got, Surroundings, aws, file};
use crate::upstream::{connect, sigv4::escaped};

/// How long a service may take to be connected, and to answer. Where there is no metadata service nothing answers at all.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);
/// The most bytes of an answer: tokens have some thousand.
const MOST: usize = 256 * 1024;

/// What sources ask in.
pub(crate) struct World {
    surroundings: Surroundings,
    client: Client,
    pub(super) tick: Duration,
    /// Of Amazon's logins.
    pub(super) unwritten: aws::Unwritten,
}

impl World {
    pub(crate) fn new(surroundings: &Surroundings) -> Result<Self, &'static str> {
        let client = Client::builder()
            .tls_backend_preconfigured(connect::tls()?)
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // It is asked once in many minutes.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| "the client that asks for credentials cannot be set up")?;
        Ok(Self {
            surroundings: surroundings.clone(),
            client,
            tick: surroundings.tick,
            unwritten: aws::Unwritten::default(),
        })
    }

    pub(super) fn now(&self) -> Time {
        (self.surroundings.clock)()
    }

    /// An environment variable that is set to something.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        (self.surroundings.env)(name).filter(|value| !value.is_empty())
    }

    /// A file's path below the home directory.
    pub(super) fn at_home(&self, path: &str) -> Option<PathBuf> {
        Some(Path::new(&self.var("HOME").or_else(|| self.var("USERPROFILE"))?).join(path))
    }

    /// Asks with GET.
    pub(super) async fn get(&self, who: &str, url: &str, headers: HeaderMap) -> Result<String, String> {
        self.ask(who, Method::GET, address(who, url)?, headers, String::new()).await
    }

    /// Asks with a form.
    pub(super) async fn post(&self, who: &str, url: &str, form: &[(&str, &str)]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, FORM);
        self.ask(who, Method::POST, address(who, url)?, headers, encoded(form)).await
    }

    /// Asks, and gives the whole of a good answer.
    pub(super) async fn ask(
        &self,
        who: &str,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: String,
    ) -> Result<String, String> {
        let place = format!("{who} at {}", url.host_str().unwrap_or_default());
        let failed = |error: reqwest::Error| format!("{place} does not answer: {}", cause(&error.without_url()));
        let request = self.client.request(method, url).headers(headers).body(body);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                return Err(format!("{place} answers without end"));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{place} answers with what is no text"))?;
        if status.is_success() { Ok(text) } else { Err(refusal(&place, status, &text)) }
    }

    /// The token in an answer of OAuth 2.0's shape to a question that was asked at an instant.
    pub(super) fn token(&self, who: &str, answer: &str, asked: Time) -> Result<Got, String> {
        let answer = json(who, answer)?;
        let token = text(who, &answer, "access_token")?;
        let until = match (number(&answer, "expires_in"), number(&answer, "expires_on")) {
            (Some(seconds), _) => asked.after(Duration::from_secs(seconds)),
            (None, Some(epoch)) => Time::ZERO.after(Duration::from_secs(epoch)),
            (None, None) => return Err(format!("{who} does not say when its token ends")),
        };
        Ok(Got { given: Given::Token(Secret::new(token)), until: Some(until) })
    }

    /// A secret in a file, as it is now.
    pub(super) async fn secret(&self, path: &str) -> Result<Secret, String> {
        off_thread(PathBuf::from(path), file::secret).await
    }

    /// A file of credentials, as it is now.
    pub(super) async fn file(&self, path: PathBuf) -> Result<String, String> {
        off_thread(path, file::text).await
    }
}

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Reads a file without holding up whoever else is on this thread: it may be in a network.
pub(super) async fn off_thread<T: Send + 'static>(
    path: PathBuf,
    read: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let path = Arc::new(path);
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    read.unwrap_or_else(|_| Err("the file could not be read: this gateway is going down".into()))
}

/// A form as it is sent.
pub(super) fn encoded(form: &[(&str, &str)]) -> String {
    let pairs = form.iter().map(|(name, value)| format!("{}={}", escaped(name, b""), escaped(value, b"")));
    pairs.collect::<Vec<_>>().join("&")
}

/// Headers whose values may be secret.
pub(super) fn headers(pairs: &[(&'static str, &str)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let mut value = HeaderValue::from_str(value).map_err(|_| format!("{name} has what no header can carry"))?;
        value.set_sensitive(true);
        headers.insert(*name, value);
    }
    Ok(headers)
}

/// An address that a token may be fetched from.
pub(super) fn address(who: &str, url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|_| format!("the address of {who} is not one"))?;
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_near = ip.map_or(matches!(host, "localhost" | "metadata.google.internal"), is_near);
    if url.scheme() != "https" && !(url.scheme() == "http" && is_near) {
        return Err(format!(
            "{who} at {host} is not asked: https is, or http on this machine and on link-local addresses"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("the address of {who} holds a user or a password"));
    }
    Ok(url)
}

/// Whether an address is of this machine, link-local, or one of Amazon's metadata services in IPv6.
fn is_near(ip: IpAddr) -> bool {
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0x0ec2],
    };
    is_local || is_loopback(ip)
}

/// An answer that has to be JSON.
pub(super) fn json(who: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|_| format!("what {who} says is not JSON"))
}

/// A member that has to be a text with something in it.
pub(super) fn text<'a>(who: &str, value: &'a Value, name: &str) -> Result<&'a str, String> {
    let found = value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| format!("what {who} says lacks {name}"))
}

/// A whole number, which some services write as a text.
fn number(value: &Value, name: &str) -> Option<u64> {
    let value = value.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What is told of an answer that is none: its status, and the name that the service has for its error.
fn refusal(place: &str, status: StatusCode, text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let error = answer.get("error");
    let named = error.and_then(|error| error.as_str().or_else(|| error.get("status")?.as_str()));
    let named = named.or_else(|| answer.get("Code")?.as_str()).or_else(|| element(text, "Code"));
    let named = named.or_else(|| answer.get("__type")?.as_str()?.rsplit('#').next());
    // A name such as invalid_grant or ExpiredToken; anything else may be what was sent.
    let is_name = |name: &&str| name.len() <= 48 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    match named.filter(is_name) {
        Some(name) => format!("{place} answers {}: {name}", status.as_u16()),
        None => format!("{place} answers {}", status.as_u16()),
    }
}

/// The text of the first element of a name in an answer of Amazon's; what they hold needs no escapes.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty() && !text.contains(['<', '&']))
}

/// The deepest cause, which says what is wrong; none of them carries a header or a body.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
