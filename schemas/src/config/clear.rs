//! The keys and tokens that a development configuration holds in clear, for commands that call as its tenants do.
//!
//! [`super::Config`] keeps hashes only; this reads the text once more and gives the secrets out as [`Secret`].

use super::{Secret, reader::Reader, yaml};

/// A key in clear.
#[derive(Clone, Debug)]
pub struct ClearKey {
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// The key.
    pub key: Secret,
}

/// What stands in clear.
#[derive(Clone, Debug, Default)]
pub struct InTheClear {
    /// Keys of tenants, in the order of the file.
    pub keys: Vec<ClearKey>,
    /// The first token that may read every tenant.
    pub token: Option<Secret>,
}

/// Reads what stands in clear out of a configuration that is known to parse.
pub fn in_the_clear(text: &str, env: &dyn Fn(&str) -> Option<String>) -> InTheClear {
    let mut reader = Reader::default();
    let mut found = InTheClear::default();
    let Some(root) = yaml::parse(text, env, &mut reader.mistakes) else { return found };
    let Some(sections) = reader.any_fields(&root, "the configuration") else { return found };
    if let Some(tenants) = sections.get("tenants") {
        let keys = reader.list(tenants, "tenants", |reader, tenant| {
            let tenant = reader.any_fields(tenant, "a tenant")?;
            let owner = reader.text(tenant.get("name")?)?;
            reader.list(tenant.get("keys")?, "keys", |reader, key| {
                let key = reader.any_fields(key, "a key")?;
                let name = reader.text(key.get("name")?)?;
                let secret = Secret::new(reader.text(key.get("key")?)?);
                Some(ClearKey { tenant: owner.clone(), name, key: secret })
            })
        });
        found.keys = keys.into_iter().flatten().flatten().collect();
    }
    if let Some(access) = sections.get("access") {
        let tokens = reader.list(access, "access", |reader, entry| {
            let entry = reader.any_fields(entry, "an access entry")?;
            let tenants = reader.list(entry.get("tenants")?, "tenants", Reader::text)?;
            let token = reader.text(entry.get("token")?)?;
            tenants.iter().any(|tenant| tenant == "*").then(|| Secret::new(token))
        });
        found.token = tokens.into_iter().flatten().next();
    }
    found
}
