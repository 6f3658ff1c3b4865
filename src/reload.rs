//! SIGHUP: the configuration is read again, and the policy that it makes is put in force while calls go on.
//!
//! A file with a mistake changes nothing, and what has not changed is not published. What a process has held since it started
//! (addresses, log, lake, providers, what the gateway takes) it keeps until it starts again, and says so.

use std::path::Path;

use schemas::config::Config;

use crate::{
    load::{Loaded, load},
    publish::SHARED,
    roles::Roles,
};

/// Reads the file again. What it says goes to the terminal, as at the start.
pub(crate) fn reload(file: &Path, before: &Loaded, roles: &Roles) {
    let Ok(loaded) = load(file) else {
        eprintln!("nothing was changed: the configuration that was in force stays so");
        return;
    };
    if let Some((model, provider)) = unknown(&before.config, &loaded.config) {
        eprintln!(
            "error: model `{model}` goes to provider `{provider}`, which is new, and providers change at the next start: nothing was \
             changed; start again, or leave the model as it is until then"
        );
        return;
    }
    let published = roles.publish(&loaded, &before.config);
    if let Err(error) = &published
        && error.code() == Some(SHARED)
    {
        eprintln!("error: {error}: nothing was changed");
        return;
    }
    let kept = kept(&before.config, &loaded.config);
    if !kept.is_empty() {
        eprintln!("warning: {} changed, which takes effect at the next start", kept.join(", "));
    }
    if roles.trust(&loaded.config) {
        eprintln!("the issuers of tokens are those of the configuration that was read now");
    }
    if roles.admit(&loaded.config) {
        eprintln!("the admins are those of the configuration that was read now");
    }
    match published {
        Ok(Some(true)) => eprintln!("the configuration was read again; its policy is in force"),
        Ok(Some(false)) => eprintln!("the configuration was read again; its policy was in force already"),
        Ok(None) => {
            eprintln!("nothing was changed: tenants, limits, models and prices are published where metering runs")
        }
        Err(error) => eprintln!("error: the policy could not be published, and the one in force stays so: {error}"),
    }
}

/// The first model that goes to a provider which this process has only when it starts again.
fn unknown<'a>(before: &Config, after: &'a Config) -> Option<(&'a str, &'a str)> {
    let is_new = |name: &&str| before.providers.iter().all(|provider| provider.name != **name);
    after.models.iter().find_map(|model| {
        let judge = model.judge.iter().map(|judge| &judge.target);
        let mut providers = model.targets.iter().chain(judge).map(|target| target.provider.as_str());
        providers.find(is_new).map(|provider| (model.name.as_str(), provider))
    })
}

/// The sections that differ and that a process keeps.
fn kept(before: &Config, after: &Config) -> Vec<&'static str> {
    let differ = [
        ("listen", before.listen != after.listen || before.tls != after.tls),
        ("log", before.log != after.log),
        ("lake", before.lake != after.lake),
        ("providers", before.providers != after.providers),
        ("server", before.server != after.server),
        ("cors", before.cors != after.cors),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}
