//! A profile of Amazon's shared files: a login, keys, a program that gives some, or roles that are assumed one from another until there
//! are some.
//!
//! `credentials` goes before `config`, and of what one profile has a login before keys and those before a program, as Amazon's command
//! line has it. A profile that was named has to be there; the one called `default` need not.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Given, Got, Role, World, assume, container, environment, instance, keys, process,
    sso::{self, Login},
    web_identity,
};

/// The most roles one from another.
const MOST_ROLES: usize = 5;

/// What a section says.
type Says = BTreeMap<String, String>;

/// The sections of both files by their names.
#[derive(Default)]
struct Files {
    profiles: BTreeMap<String, Says>,
    /// What profiles share that somebody logs in for.
    sessions: BTreeMap<String, Says>,
}

/// What the profile gives; nothing where there is none and none was named.
pub(super) async fn fetch(world: &World, region: &str) -> Result<Option<Got>, String> {
    let named = world.var("AWS_PROFILE");
    let Files { profiles, sessions } = read(world).await?;
    let mut name = named.clone().unwrap_or_else(|| "default".into());
    let mut roles = Vec::new();
    let base = loop {
        let Some(profile) = profiles.get(&name) else {
            if named.is_none() && roles.is_empty() {
                return Ok(None);
            }
            return Err(format!("the profile {name:?} is in none of Amazon's shared files"));
        };
        let says = |key: &str| profile.get(key).map(String::as_str);
        // A profile may take its own keys to its own role.
        let is_own = roles.last().is_some_and(|(_, of): &(Role, String)| *of == name);
        let Some(arn) = says("role_arn").filter(|_| !is_own) else {
            let session = |called: &str| sessions.get(called).map(|says| |key: &str| says.get(key).map(String::as_str));
            match (Login::stated(&name, says, session)?, own(region, says), says("credential_process")) {
                (Some(login), ..) => break sso::fetch(world, region, &login).await?,
                (None, Some(got), _) => break got,
                (None, None, Some(command)) => break process::fetch(region, command).await?,
                (None, None, None) if named.is_none() && roles.is_empty() => return Ok(None),
                (None, None, None) => {
                    return Err(format!("the profile {name:?} has neither keys nor a role, nor what gives some"));
                }
            }
        };
        let role = Role {
            arn: arn.into(),
            session: says("role_session_name").map(Into::into),
            external_id: says("external_id").map(Into::into),
        };
        if let Some(file) = says("web_identity_token_file") {
            break web_identity(world, region, file, &role).await?;
        }
        if roles.len() == MOST_ROLES {
            return Err(format!("more than {MOST_ROLES} profiles take their role from another"));
        }
        roles.push((role, name.clone()));
        match (says("source_profile"), says("credential_source")) {
            (Some(source), _) => name = source.into(),
            (None, Some(source)) => break sourced(world, region, source).await?,
            (None, None) => return Err(format!("the profile {name:?} has a role and no source_profile")),
        }
    };
    let mut got = base;
    for (role, _) in roles.iter().rev() {
        let Given::Aws(keys) = &got.given else { return Err("a role is assumed with keys".into()) };
        got = assume(world, region, keys, role).await?;
    }
    Ok(Some(got))
}

/// The keys that stand in a profile.
fn own<'p>(region: &str, says: impl Fn(&str) -> Option<&'p str>) -> Option<Got> {
    let (id, key) = (says("aws_access_key_id")?, says("aws_secret_access_key")?);
    Some(keys(region, (id, key, says("aws_session_token").unwrap_or_default()), None))
}

/// What a role is assumed with where no profile is.
async fn sourced(world: &World, region: &str, source: &str) -> Result<Got, String> {
    match source {
        "Environment" => environment(world, region).ok_or_else(|| "the environment has no keys".into()),
        "EcsContainer" => container(world, region).await?.ok_or_else(|| "this is no container of Amazon's".into()),
        "Ec2InstanceMetadata" => instance(world, region).await,
        _ => Err("credential_source is Environment, EcsContainer or Ec2InstanceMetadata".into()),
    }
}

/// What both files say together. A file that is at its usual place may be missing; one that was named may not.
async fn read(world: &World) -> Result<Files, String> {
    let mut all = Files::default();
    for (variable, usual, is_config) in
        [("AWS_CONFIG_FILE", ".aws/config", true), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false)]
    {
        let text = match (world.var(variable), world.at_home(usual)) {
            (Some(named), _) => world.file(PathBuf::from(named)).await?,
            (None, Some(path)) => match world.file(path).await {
                Ok(text) => text,
                Err(_) => continue,
            },
            (None, None) => continue,
        };
        parse(&text, is_config, &mut all);
    }
    Ok(all)
}

/// Takes what a file has: a section each, which in `config` is called `profile NAME` unless it is the default, or `sso-session NAME`.
fn parse(text: &str, is_config: bool, all: &mut Files) {
    let mut current: Option<&mut Says> = None;
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = bare.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let (section, Files { profiles, sessions }) = (section.trim(), &mut *all);
            let named = |kind| section.strip_prefix(kind).filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim);
            let place = match (is_config, named("profile"), named("sso-session")) {
                (true, Some(name), _) => Some((profiles, name)),
                (true, None, Some(name)) => Some((sessions, name)),
                (true, None, None) => Some((profiles, section)).filter(|(_, name)| *name == "default"),
                (false, ..) => Some((profiles, section)),
            };
            current = place.map(|(sections, name)| sections.entry(name.to_owned()).or_default());
        } else if let (Some(says), Some((key, value)), false) =
            (&mut current, bare.split_once('='), line.starts_with([' ', '\t']))
        {
            let value = value.split_once(" #").map_or(value, |(value, _)| value);
            says.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_profiles_by_their_own_rules() {
        let config = "# mine\n[default]\nregion = eu-west-1\ns3 =\n  role_arn = nested\n[profile  a]\nROLE_ARN=r # why\n[b]\nrole_arn = x\n[sso-session s]\nsso_start_url = u\n";
        let mut found = Files::default();
        parse(config, true, &mut found);
        assert_eq!(found.profiles.keys().collect::<Vec<_>>(), ["a", "default"]);
        assert_eq!((found.profiles["a"]["role_arn"].as_str(), found.profiles["default"].get("role_arn")), ("r", None));
        assert_eq!(found.sessions["s"]["sso_start_url"], "u");
        parse("[b]\naws_access_key_id = id\n; no\naws_secret_access_key = a/b+c=\n", false, &mut found);
        assert_eq!(found.profiles["b"]["aws_secret_access_key"], "a/b+c=");
    }
}
