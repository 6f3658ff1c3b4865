//! `tollgate check`: whether a configuration can be used, and everything that keeps it from it.

use std::{fs::File, io::Read as _, path::PathBuf, process::ExitCode};

use schemas::{
    config::{Config, CredentialSource, Dialect, Log, Provider},
    time::now,
};

use crate::{
    diff,
    load::{Loaded, load},
};

/// The policy in force could not be read.
const EXIT_NOT_COMPARED: u8 = 2;

/// Say whether a configuration can be used: every mistake at once, with file, line and what to do.
///
/// Reads the file, the environment variables that it names and its price files; starts nothing and connects to nothing.
/// Exits with 0 and prints "ok" and where each provider's credential comes from, or with 64 and prints the mistakes. With --diff it
/// also reads the policy in force from the log and exits with 1 if the file would change anything, at once or at the next start, and
/// with 64 if it gives a key the secret of one that the admin API made.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// Also print what the file would change: + added, ~ changed, - removed, = an admin's change that lies over it.
    #[arg(long)]
    diff: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match load(&args.config) {
        Ok(loaded) => {
            over(&loaded.config).iter().for_each(|key| eprintln!("warning: {}: key {key}", args.config.display()));
            misplaced(&loaded.config).iter().for_each(|model| eprintln!("warning: {}: {model}", args.config.display()));
            println!("ok: {}", summary(&loaded));
            for provider in &loaded.config.providers {
                println!("provider {}: {}", provider.name, provider.credential_from());
                unreadable(provider).into_iter().for_each(|warning| eprintln!("warning: {warning}"));
            }
            if !args.diff {
                return ExitCode::SUCCESS;
            }
            diff::run(&loaded).unwrap_or_else(|error| {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_NOT_COMPARED)
            })
        }
        Err(code) => code,
    }
}

fn summary(Loaded { config, book, .. }: &Loaded) -> String {
    let Config { tenants, limits, models, providers, lake, .. } = config;
    let keys: usize = tenants.iter().map(|tenant| tenant.keys.len()).sum();
    let log = match &config.log {
        Log::Disk { dir, .. } => format!("disk {}", dir.display()),
        Log::Kafka(kafka) => format!("kafka {} in {} lanes", kafka.brokers.join(","), kafka.lanes),
    };
    let parts = [
        count(tenants.len(), "tenant"),
        count(keys, "key"),
        count(limits.len(), "limit"),
        count(models.len(), "model"),
        count(providers.len(), "provider"),
        count(book.rows().len(), "price"),
    ];
    format!("{}; log {log}; lake {lake}", parts.join(", "))
}

/// The keys whose time is over.
fn over(config: &Config) -> Vec<String> {
    let keys = config.tenants.iter().flat_map(|tenant| tenant.keys.iter().map(move |key| (tenant, key)));
    let over = keys.filter_map(|(tenant, key)| Some((tenant, key, key.expires.filter(|expires| *expires <= now())?)));
    over.map(|(tenant, key, expires)| format!("{}/{} has expired at {expires}", tenant.name, key.name)).collect()
}

/// The models of Claude at Vertex, where they are called by paths of their own and not by those of Gemini's dialect.
fn misplaced(config: &Config) -> Vec<String> {
    let is_vertex = |name: &str| {
        config.providers.iter().any(|provider| provider.name == name && provider.dialect == Dialect::Vertex)
    };
    let targets = config.models.iter().flat_map(|model| model.targets.iter().map(move |target| (model, target)));
    let named = targets.map(|(model, target)| (model, target, target.model.as_deref().unwrap_or(&model.name)));
    let found = named.filter(|(_, target, name)| name.contains("claude") && is_vertex(&target.provider));
    let told = found.map(|(model, target, name)| {
        let (model, provider) = (&model.name, &target.provider);
        format!(
            "model {model}: {provider} is asked for {name} in Gemini's dialect, in which Vertex has no model of Claude's; \
             give it a target of anthropic or bedrock, or call it through /passthrough/{provider}/ (passthrough: true)"
        )
    });
    told.collect()
}

/// What keeps the file of a provider's key from being read by whoever checks. It may come later, or be another's to read.
fn unreadable(provider: &Provider) -> Option<String> {
    let Some(CredentialSource::File(path)) = &provider.more.credentials else { return None };
    let error = File::open(path).and_then(|mut file| file.read(&mut [0])).err()?;
    let (name, path) = (&provider.name, path.display());
    Some(format!("provider {name}: {path} cannot be read: {error}; calls to it are refused with TG4008 until it can"))
}

fn count(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}
