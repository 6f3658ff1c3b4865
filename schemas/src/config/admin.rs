//! Who may read and change the policy while it is in force. None of this is published: it holds where the admin API is served.

use super::{
    reader::{Fields, Reader},
    store::Listen,
    tenant::{InClear, MANAGES, digest, own_name, some_tenants},
    unique::Unique,
    yaml::Node,
};
use crate::{
    error_code::ErrorCode,
    policy::{Digest, Tenants},
};

/// Somebody who may use the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// What its changes are signed with.
    pub name: String,
    /// The SHA-256 of the token.
    pub token_sha256: Digest,
    /// What it may do.
    pub role: Role,
    /// Whose keys and limits it may see and change.
    pub tenants: Tenants,
}

/// What an admin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Read,
    /// Look and change.
    Write,
}

/// Reads the section `admins`; `known` are the tenants that the file defines.
pub(super) fn admins(reader: &mut Reader, node: &Node, known: &[String], in_clear: &mut InClear) -> Vec<Admin> {
    let (mut names, mut hashes) = (Unique::new("admin"), Unique::new("token"));
    let admins = reader.list(node, "admins", |reader, item| {
        let fields = reader.fields(item, "an admin", &["name", "token_sha256", "token", "role", "tenants"])?;
        let name = reader.need(&fields, "name", |reader, node| own_name(reader, node, &mut names));
        let token_sha256 = digest(reader, &fields, ["token_sha256", "token"], &mut hashes, in_clear);
        let roles = [("read", Role::Read), ("write", Role::Write)];
        let role = reader.need(&fields, "role", |reader, node| reader.one_of(node, &roles));
        let tenants = reader.need(&fields, "tenants", |reader, node| some_tenants(reader, node, known, &MANAGES));
        Some(Admin { name: name?, token_sha256: token_sha256?, role: role?, tenants: tenants? })
    });
    admins.unwrap_or_default()
}

/// Says which of the two stands without the other.
pub(super) fn served(reader: &mut Reader, sections: &Fields<'_>, listen: &Listen) {
    let (what, at, remedy) = match (sections.place("admins"), listen.admin) {
        (Some(at), None) => ("nobody can be an admin without listen.admin", at, "say where the admin API listens"),
        (None, Some(_)) => {
            let at = sections.place("listen").unwrap_or_default();
            ("the admin API listens, and nobody may use it", at, "name somebody under admins, or take it out")
        }
        _ => return,
    };
    reader.warn(at, ErrorCode::ConfigHasNoEffect, what, remedy);
}
