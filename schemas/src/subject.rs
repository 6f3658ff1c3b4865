//! Who makes a call.

/// The authenticated owner of a key, as the key's record in the policy says; clients cannot choose any of it but tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The tenant: the unit of isolation and billing.
    pub tenant: String,
    /// The team, empty if the key names none.
    pub team: String,
    /// The project, empty if the key names none.
    pub project: String,
    /// The user, empty if the key names none.
    pub user: String,
    /// The name of the key, unique in its tenant; never the key.
    pub key: String,
    /// Tags sorted by name: the key's own, then those of the call that the key does not set.
    pub tags: Vec<(String, String)>,
}

impl Subject {
    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }
}
