//! Where commands ask: the query service that runs, by HTTP with a token, or, where none does, this very process over log and lake.
//!
//! What is asked is SQL either way, and is answered by the same engine behind the same fence.

use std::{path::PathBuf, time::Duration};

use query::{
    here::{Here, HereError},
    sql::{Caller, encode::Format},
};
use schemas::{config::Listener, error_code::ErrorCode, policy::Tenants};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{
    failure::Failure,
    load::{Loaded, load},
    out,
    roles::open_road,
};

/// How long an answer may take: longer than the service lets a query run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where to ask, and for whom.
#[derive(clap::Args)]
pub(crate) struct Asking {
    /// Show the rows of this tenant only; may be said several times.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Vec<String>,
    /// The query service. Without it that of the configuration is asked; if it does not run, log and lake are read directly.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An access token of the query service; else TOLLGATE_TOKEN, else one that stands in clear in the configuration.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
}

/// Somebody who answers.
pub(crate) enum Desk {
    /// A query service.
    Service(Service),
    /// This process.
    Here(Box<Here>, Caller),
}

/// A query service and how it is asked.
pub(crate) struct Service {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
    token: String,
    tenants: Vec<String>,
}

impl Desk {
    /// Finds who answers. The error is printed already where it is a mistake of the configuration.
    pub(crate) fn open(asking: &Asking) -> Result<Self, Failure> {
        let stated = asking.token.clone().or_else(|| std::env::var("TOLLGATE_TOKEN").ok());
        let service = |url: String, token: String| Service::new(url, token, asking.tenant.clone());
        if let (Some(url), Some(token)) = (&asking.url, &stated) {
            return Ok(Self::Service(service(url.clone(), token.clone())?));
        }
        let loaded = load(&asking.config)
            .map_err(|_| Failure::from("the configuration cannot be used; `--url` and `--token` need none"))?;
        // Whoever says as whom to ask is not answered as somebody else.
        let asks_as = stated.is_some();
        let clear = loaded.clear.token.as_ref().map(|token| token.expose().to_owned());
        let url = asking.url.clone().unwrap_or_else(|| address(&loaded));
        let service = service(url, stated.or(clear).unwrap_or_default())?;
        if asking.url.is_some() || asks_as || service.is_there() {
            if service.token.is_empty() {
                let why = "the query service wants a token: give --token, or set TOLLGATE_TOKEN";
                return Err(Failure::coded(ErrorCode::UnknownToken, why));
            }
            return Ok(Self::Service(service));
        }
        let road = open_road(&loaded.config)?;
        let tenants = if asking.tenant.is_empty() { Tenants::All } else { Tenants::Only(asking.tenant.clone()) };
        let here = Here::open(road, &loaded.config.lake.to_string())?;
        Ok(Self::Here(Box::new(here), Caller::of(tenants)))
    }

    /// The answer to a statement, in a format.
    pub(crate) fn ask(&self, sql: &str, format: Format) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Service(service) => service.runtime.block_on(service.ask(sql, format)),
            Self::Here(here, caller) => {
                here.answer(caller, sql, format).map_err(|error| Failure::coded(error.code(), &error))
            }
        }
    }

    /// The answer to a statement as JSON: `columns`, `rows`, `as_of`.
    pub(crate) fn json(&self, sql: &str) -> Result<Value, Failure> {
        let bytes = self.ask(sql, Format::Json)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("the answer is not JSON: {error}").into())
    }

    /// Ends the reading.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Service(_) => Ok(()),
            Self::Here(here, _) => Ok(here.close()?),
        }
    }
}

/// The address of the query service of a configuration.
fn address(loaded: &Loaded) -> String {
    let secure = loaded.config.tls.iter().any(|tls| tls.on.contains(&Listener::Query));
    format!("{}://{}", if secure { "https" } else { "http" }, loaded.config.listen.query)
}

impl Service {
    fn new(url: String, token: String, tenants: Vec<String>) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client, url: url.trim_end_matches('/').to_owned(), token, tenants })
    }

    /// Whether anybody listens there.
    fn is_there(&self) -> bool {
        let looked = async { self.client.get(format!("{}/v1/watermark", self.url)).send().await };
        self.runtime.block_on(looked).map_or_else(|error| !error.is_connect(), |_| true)
    }

    async fn ask(&self, sql: &str, format: Format) -> Result<Vec<u8>, Failure> {
        let mut question = json!({ "sql": sql, "format": format.name() });
        if !self.tenants.is_empty() {
            question["tenants"] = json!(self.tenants);
        }
        let sent = self.client.post(format!("{}/v1/sql", self.url)).bearer_auth(&self.token).json(&question).send();
        let failed = |error: reqwest::Error| Failure::from(format!("no answer from {}: {error}", self.url));
        let answer = sent.await.map_err(failed)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let part = |name: &str| said["error"][name].as_str();
        match (part("code").and_then(ErrorCode::parse), part("message")) {
            (Some(code), Some(message)) => Err(Failure::coded(code, message)),
            _ => Err(format!("{} answered {status}", self.url).into()),
        }
    }
}

impl From<HereError> for Failure {
    fn from(error: HereError) -> Self {
        match error {
            HereError::Run(error) => error.into(),
            HereError::Behind(_) => Self::coded(ErrorCode::LogUnreachable, &error),
        }
    }
}

/// Writes an output to a file, or to standard output where none is named.
pub(crate) fn put(output: Option<&PathBuf>, bytes: &[u8]) -> Result<(), Failure> {
    match output {
        Some(path) => {
            std::fs::write(path, bytes).map_err(|error| format!("{} cannot be written: {error}", path.display()).into())
        }
        None => Ok(out::put(bytes)?),
    }
}
