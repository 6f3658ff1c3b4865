//! The configuration file, parsed at the edge: raw → checked, unknown keys refused, every mistake in one report.
//!
//! YAML, and so JSON. What comes out is complete: every default is filled in, every name that is referred to exists or is
//! warned of, every amount is an integer, every client secret is a hash. What this version cannot do is refused by name
//! rather than accepted and ignored. Nothing here reads a file or the environment: the caller passes both in.
//!
//! Each section has a file: it says its types, its defaults and its keys.

use std::{collections::BTreeMap, path::PathBuf};

mod admin;
mod ask;
mod base_url;
pub(crate) mod beside;
mod clear;
mod credentials;
mod identity;
mod judge;
mod key;
mod limit;
mod model;
mod preset;
mod provider;
mod reader;
mod remark;
mod routing;
mod secret;
mod server;
mod store;
mod tenant;
mod tls;
mod unique;
pub(crate) mod unit;
mod yaml;

pub use admin::{Admin, Role};
pub use ask::{AskedKey, asked_change, asked_key, asked_key_change, asked_limit, asked_rotation, asked_tenant};
pub use base_url::{BaseUrl, is_loopback, is_private};
pub use clear::{ClearKey, InTheClear, in_the_clear};
pub use credentials::CredentialSource;
pub use identity::{Algorithm, Claims, Issuer, KeySource};
pub use judge::Judge;
pub use model::{Caching, ModelRoute, Target};
pub use provider::{AwsKeys, Dialect, Flavor, More, Provider, Responses, Timeouts, UsageInStream};
pub use remark::{Mistake, Place, Remark, Warning};
pub use routing::{By, Cause, MOST_TARGETS, MOST_WEIGHT, Patience, Retry, Strategy, When};
pub use secret::Secret;
pub use server::{Cors, MeteringConfig, Server, TokenEvents};
pub use store::{Fsync, Kafka, LakeUrl, Listen, Log};
pub use tenant::{TAG_NAME, is_tag_name};
pub use tls::{Listener, Tls};

use self::{
    key::Keys,
    model::Models,
    reader::{Fields, Reader},
    tenant::InClear,
    unique::Unique,
    yaml::{Node, Value},
};
use crate::{
    error_code::ErrorCode,
    id::BookHash,
    limit::{Limit, Unit},
    policy::{Access, Digest, Policy, Proxy, Tenant},
    price::PriceFile,
};

/// A configuration without a mistake.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses that are listened on.
    pub listen: Listen,
    /// The certificates of the listeners.
    pub tls: Vec<Tls>,
    /// The log.
    pub log: Log,
    /// The lake.
    pub lake: LakeUrl,
    /// Price files, on top of the built-in book, a later one over an earlier one.
    pub prices: Vec<PathBuf>,
    /// Where calls go.
    pub providers: Vec<Provider>,
    /// What the gateway takes from clients.
    pub server: Server,
    /// What clients may ask for.
    pub models: Vec<ModelRoute>,
    /// What the models say for the price book, on top of every price file.
    pub model_book: PriceFile,
    /// Who may call.
    pub tenants: Vec<Tenant>,
    /// The limits.
    pub limits: Vec<Limit>,
    /// How metering works.
    pub metering: MeteringConfig,
    /// Who may call from a browser.
    pub cors: Cors,
    /// Who may read what.
    pub access: Vec<Access>,
    /// The other proxies that may ask.
    pub proxies: Vec<Proxy>,
    /// Who may change the policy while it is in force.
    pub admins: Vec<Admin>,
    /// Whose tokens clients may call with, beside keys.
    pub issuers: Vec<Issuer>,
    /// What it says of what is not published, by section, to be told apart.
    pub beside: BTreeMap<String, Digest>,
}

const SECTIONS: &[&str] = &[
    "listen",
    "log",
    "lake",
    "prices",
    "providers",
    "server",
    "models",
    "tenants",
    "limits",
    "metering",
    "cors",
    "access",
    "proxies",
    "admins",
    "identity",
];

impl Config {
    /// Reads a configuration.
    ///
    /// `file` is what remarks call it, `env` reads an environment variable. The mistakes are all there are, in the order of
    /// the file. Paths are as written: relative ones are relative to where the process runs.
    ///
    /// # Errors
    /// Every mistake, at least one.
    pub fn parse(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Warning>), Vec<Mistake>> {
        let mut reader = Reader::default();
        let root = yaml::parse(text, env, &mut reader.mistakes);
        let config = root.and_then(|root| read(&mut reader, &root));
        let Reader { mut mistakes, mut warnings } = reader;
        sort(file, [&mut mistakes, &mut warnings]);
        match config {
            Some(config) if mistakes.is_empty() => Ok((config, warnings)),
            _ => Err(mistakes),
        }
    }

    /// Reads a file that has a list of `limits` and nothing else, as this configuration would take them: over its own tenants and
    /// providers.
    ///
    /// # Errors
    /// Every mistake, at least one.
    pub fn other_limits(
        &self,
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Vec<Limit>, Vec<Warning>), Vec<Mistake>> {
        let mut reader = Reader::default();
        let tenants: Vec<String> = self.tenants.iter().map(|tenant| tenant.name.clone()).collect();
        let providers: Vec<String> = self.providers.iter().map(|provider| provider.name.clone()).collect();
        let models: Vec<String> = self.models.iter().map(|model| model.name.clone()).collect();
        let known = limit::Known { tenants: &tenants, providers: &providers, models: &models };
        let root = yaml::parse(text, env, &mut reader.mistakes);
        let limits = root.and_then(|root| {
            let fields = reader.fields(&root, "a file of limits", &["limits"])?;
            reader.need(&fields, "limits", |reader, node| {
                Some(limit::read(reader, node, &mut Unique::new("limit"), known))
            })
        });
        let Reader { mut mistakes, mut warnings } = reader;
        sort(file, [&mut mistakes, &mut warnings]);
        match limits {
            Some(limits) if mistakes.is_empty() => Ok((limits, warnings)),
            _ => Err(mistakes),
        }
    }

    /// What metering publishes of it, under a price book.
    pub fn policy(&self, book: BookHash) -> Policy {
        Policy {
            tenants: self.tenants.clone(),
            limits: self.limits.clone(),
            models: self.models.clone(),
            access: self.access.clone(),
            proxies: self.proxies.clone(),
            metering: self.metering.clone(),
            book,
            beside: self.beside.clone(),
        }
    }

    /// The same where a process reads it that was started with another: what that keeps until its next start stays as it was.
    pub fn policy_after(&self, started: &Self, book: BookHash) -> Policy {
        let mut policy = self.policy(book);
        let kept = started.beside.iter().filter(|(section, _)| !beside::is_read_again(section));
        policy.beside.extend(kept.map(|(section, digest)| (section.clone(), *digest)));
        policy
    }
}

/// Puts remarks into the order of their file.
fn sort(file: &str, remarks: [&mut Vec<Remark>; 2]) {
    for remarks in remarks {
        remarks.sort_by_key(|remark| remark.at);
        remarks.iter_mut().for_each(|remark| remark.file = file.into());
    }
}

/// The price files that a configuration names, whatever else is wrong with it, so that their mistakes go into the same report.
pub fn price_files(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut reader = Reader::default();
    let Some(Node { value: Value::Map(sections), .. }) = yaml::parse(text, env, &mut reader.mistakes) else {
        return Vec::new();
    };
    let named = sections.iter().filter(|(key, _)| key.name == "prices");
    named.filter_map(|(_, node)| reader.list(node, "prices", store::path)).flatten().collect()
}

/// The sections, in an order in which each comes after those whose names it uses.
fn read(reader: &mut Reader, root: &Node) -> Option<Config> {
    let empty = Node { at: root.at, value: Value::Map(Vec::new()) };
    let root = if matches!(root.value, Value::Null) { &empty } else { root };
    let sections = reader.fields(root, "the configuration", SECTIONS)?;
    let mut in_clear = InClear::default();
    let (known_providers, known_tenants) = (names(sections.get("providers")), names(sections.get("tenants")));
    let known_models = names(sections.get("models"));

    let (listen, tls) = reader.or(&sections, "listen", (Listen::default(), Vec::new()), store::listen);
    let log = reader.or(&sections, "log", Log::default(), store::log);
    let lake = reader.or(&sections, "lake", LakeUrl::Local("./data/lake".into()), store::lake);
    let prices = reader.or(&sections, "prices", Vec::new(), |reader, node| reader.list(node, "prices", store::path));
    let providers = sections.get("providers").map(|node| provider::read(reader, node)).unwrap_or_default();
    let server = reader.or(&sections, "server", Server::default(), server::server);
    let known_limits = names(sections.get("limits"));
    let known = model::Known { providers: &known_providers, limits: &known_limits, cache: server.cache, log: &log };
    let Models { routes, book } =
        sections.get("models").map(|node| model::read(reader, node, known)).unwrap_or_default();
    let known = limit::Known { tenants: &known_tenants, providers: &known_providers, models: &known_models };
    let mut names = Unique::new("limit");
    let mut limits =
        sections.get("limits").map(|node| limit::read(reader, node, &mut names, known)).unwrap_or_default();
    let mut keys = Keys::new(&mut names, known, &mut in_clear);
    let tenants = sections.get("tenants").map(|node| tenant::tenants(reader, node, &mut keys)).unwrap_or_default();
    limits.extend(keys.budgets);
    let metering = reader.or(&sections, "metering", MeteringConfig::default(), server::metering);
    let cors = reader.or(&sections, "cors", Cors::default(), server::cors);
    let access = sections
        .get("access")
        .map(|node| tenant::access(reader, node, &known_tenants, &mut in_clear))
        .unwrap_or_default();
    let proxies =
        sections.get("proxies").map(|node| tenant::proxies(reader, node, &tenants, &mut in_clear)).unwrap_or_default();
    let admins = sections
        .get("admins")
        .map(|node| admin::admins(reader, node, &known_tenants, &mut in_clear))
        .unwrap_or_default();
    let issuers =
        reader.or(&sections, "identity", Vec::new(), |reader, node| identity::identity(reader, node, &known_tenants));
    identity::namesakes(reader, sections.place("identity"), &issuers, &tenants);
    admin::served(reader, &sections, &listen);
    in_clear.warn(reader);
    outlasting(reader, &sections, &metering, (&providers, &routes), &limits);
    sharing(reader, &sections, &providers, &tenants);
    Some(Config {
        listen,
        tls,
        log,
        lake,
        prices,
        providers,
        server,
        models: routes,
        model_book: book,
        tenants,
        limits,
        metering,
        cors,
        access,
        proxies,
        admins,
        issuers,
        beside: beside::of(&sections),
    })
}

/// What is open at a time is let go of when its gateway has been silent for `abandon_after`; calls have to be over by then.
fn outlasting(
    reader: &mut Reader,
    sections: &Fields<'_>,
    metering: &MeteringConfig,
    (providers, models): (&[Provider], &[ModelRoute]),
    limits: &[Limit],
) {
    let most = metering.abandon_after.saturating_sub(metering.outage_budget);
    let longer = providers.iter().find(|provider| provider.timeouts.total > most).map(|provider| &provider.name);
    let targets = || models.iter().flat_map(|model| &model.targets);
    let at_target = || targets().find(|target| target.timeouts.total.is_some_and(|total| total > most));
    let longer = longer.or_else(|| at_target().map(|target| &target.provider));
    if let Some(provider) = longer.filter(|_| limits.iter().any(|limit| limit.unit == Unit::Concurrent)) {
        let what = format!(
            "calls to provider {provider:?} may last longer than abandon_after less outage_budget, and then no longer count as \
             concurrent if their gateway is cut off"
        );
        let at = sections.place("metering").or(sections.place("providers")).unwrap_or_default();
        reader.warn(at, ErrorCode::BadConfigValue, what, "raise abandon_after or lower timeouts.total");
    }
}

/// What a provider stores belongs to its account, and so to every tenant that may call it.
fn sharing(reader: &mut Reader, sections: &Fields<'_>, providers: &[Provider], tenants: &[Tenant]) {
    let stores = |provider: &&Provider| {
        matches!(provider.dialect, Dialect::OpenAi | Dialect::Azure) && !provider.api_key.is_empty()
    };
    if let Some(Provider { name, .. }) = providers.iter().find(stores).filter(|_| tenants.len() > 1) {
        let what = format!(
            "any of the {} tenants that knows the id of a response which provider {name:?} stores may read, continue and delete it",
            tenants.len()
        );
        let remedy =
            "have clients send `store: false`, or give tenants that must not share one gateways with keys of their own";
        reader.warn(sections.place("providers").unwrap_or_default(), ErrorCode::ShareStored, what, remedy);
    }
}

/// The names that a section defines, those of entries with mistakes too, so that one mistake is reported once.
fn names(section: Option<&Node>) -> Vec<String> {
    let Some(Value::List(items)) = section.map(|node| &node.value) else { return Vec::new() };
    let name = |item: &Node| match &item.value {
        Value::Map(entries) => {
            entries.iter().find(|(key, _)| key.name == "name").and_then(|(_, node)| match &node.value {
                Value::Scalar(name) => Some(name.text.clone()),
                _ => None,
            })
        }
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests;
