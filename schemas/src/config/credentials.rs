//! Where the credential of a provider comes from, where it does not stand in the configuration itself.
//!
//! Here it is only said; a gateway asks there, and asks again in time. A provider has one source.

use std::{fmt, path::PathBuf};

use super::{
    provider::{Dialect, Provider},
    reader::{Fields, Reader},
    yaml::Node,
};

/// Who is asked for the credential of a provider, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// A file that holds what would stand as `api_key`; it may change at any time.
    File(PathBuf),
    /// Amazon's default chain; requests are signed for the region.
    Aws {
        /// The region that is called.
        region: String,
    },
    /// Google's application default credentials.
    Gcp,
    /// Azure's environment, workload identity or managed identity.
    Azure,
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "api_key_file {}", path.display()),
            Self::Aws { region } => write!(f, "credentials aws, signed for {region}"),
            Self::Gcp => f.write_str("credentials gcp"),
            Self::Azure => f.write_str("credentials azure"),
        }
    }
}

impl Provider {
    /// Where its credential comes from, for the operator; nothing of the credential.
    pub fn credential_from(&self) -> String {
        match &self.more.credentials {
            Some(source) => source.to_string(),
            None if self.dialect == Dialect::Sandbox => "none is needed".into(),
            None if !self.api_key.is_empty() => "api_key".into(),
            None if self.more.aws.is_some() => "access_key_id and secret_access_key".into(),
            None if self.more.keyless => "none is needed".into(),
            None => "none; its models cannot be called".into(),
        }
    }
}

/// Which other keys say a credential.
const STATED: [&str; 4] = ["api_key", "access_key_id", "secret_access_key", "session_token"];

/// The source of a provider that is in the fields; nothing where there is none. `region` is what its requests are signed for.
pub(super) fn read(
    reader: &mut Reader,
    fields: &Fields<'_>,
    dialect: Option<Dialect>,
    region: Option<String>,
) -> Option<CredentialSource> {
    // What else is wrong with a provider is told of it as a whole.
    let dialect = dialect.filter(|dialect| *dialect != Dialect::Sandbox)?;
    let file = reader.maybe(fields, "api_key_file", |reader, node| {
        let scalar = reader.scalar(node)?;
        if scalar.text.is_empty() {
            reader.bad(node.at, "api_key_file names no file", "write the path of a file that holds the key");
            return None;
        }
        Some(CredentialSource::File(PathBuf::from(&scalar.text)))
    });
    let cloud = reader.maybe(fields, "credentials", |reader, node| cloud(reader, node, dialect, region));
    let (named, at) = match (fields.get("api_key_file"), fields.get("credentials")) {
        (Some(_), Some(node)) => {
            reader.bad(node.at, "the provider has both api_key_file and credentials", "keep one of them");
            return None;
        }
        (Some(node), None) => ("api_key_file", node.at),
        (None, Some(node)) => ("credentials", node.at),
        (None, None) => return None,
    };
    // An empty one, as of a variable that is not set, says nothing.
    let is_stated = |name: &&&str| {
        let node = fields.get(name);
        node.is_some_and(|node| reader.scalar(node).is_some_and(|scalar| !scalar.text.is_empty()))
    };
    if let Some(other) = STATED.iter().find(is_stated) {
        reader.bad(at, format!("the provider has both {other} and {named}"), "keep one of them");
        return None;
    }
    file.or(cloud)
}

/// The identity that is asked for; each goes with the dialects of its own cloud.
fn cloud(reader: &mut Reader, node: &Node, dialect: Dialect, region: Option<String>) -> Option<CredentialSource> {
    let kind = reader.one_of(node, &[("aws", "aws"), ("gcp", "gcp"), ("azure", "azure")])?;
    let source = match (kind, dialect) {
        ("aws", Dialect::Bedrock) => match region {
            Some(region) => CredentialSource::Aws { region },
            None => {
                let what = "requests are signed for a region, and none is named";
                reader.bad(node.at, what, "say region: us-east-1, or which it is");
                return None;
            }
        },
        ("gcp", Dialect::Vertex | Dialect::Gemini) => CredentialSource::Gcp,
        ("azure", Dialect::Azure) => CredentialSource::Azure,
        _ => {
            let what = format!("credentials: {kind} does not go with this dialect");
            reader.bad(node.at, what, "aws goes with bedrock, gcp with vertex and gemini, azure with azure");
            return None;
        }
    };
    Some(source)
}
