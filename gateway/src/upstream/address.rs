//! Where a call stands at a provider: the path behind its base, and the query.
//!
//! The dialects differ in where the model's name goes. A name is escaped wherever it becomes part of a path, so that no name leads to
//! another one. Azure has two places: a deployment by its path, and its newer API, for Responses and for who asks for a version by name.
//! Pure.

use std::fmt::Write as _;

use schemas::config::{Dialect, Provider};

use super::sigv4::escaped;
use crate::way::Way;

/// The path and query of a call to `model`, as the provider names it, behind the provider's base.
pub(super) fn of(provider: &Provider, way: &Way, model: &str, query: Option<&str>) -> String {
    // Colons and slashes are part of many names; only Bedrock wants them escaped.
    let name = |also: &[u8]| escaped(model, also);
    let mut address = match (provider.dialect, way.api) {
        (_, api) if api.is_passed_on() => way.path.clone().into_owned(),
        (Dialect::Gemini, _) => format!("/v1beta/models/{}{}", name(b":@"), way.path),
        (Dialect::Vertex, _) => format!("/publishers/google/models/{}{}", name(b":@"), way.path),
        (Dialect::Bedrock, _) => format!("/model/{}{}", name(b""), way.path),
        // What has no deployment in its path has the model in its body.
        (Dialect::Azure, _) if is_newer(provider, way, query) => format!("/openai/v1{}", way.path),
        (Dialect::Azure, _) => format!("/openai/deployments/{}{}", name(b""), way.path),
        (Dialect::OpenAi | Dialect::Anthropic | Dialect::Cohere | Dialect::Sandbox, _) => way.path.clone().into_owned(),
    };
    let mut mark = if address.contains('?') { '&' } else { '?' };
    if let Some(query) = query {
        // Writing to a text cannot fail.
        let _ = write!(address, "{mark}{query}");
        mark = '&';
    }
    let configured = provider.more.api_version.as_deref().filter(|_| stated(query).is_none());
    // A version by date is none of the newer API.
    if let Some(version) = configured.filter(|version| is_name(version) || !is_newer(provider, way, query)) {
        let _ = write!(address, "{mark}api-version={}", escaped(version, b""));
    }
    address
}

/// Whether the path of a call names the model.
pub(super) fn names_model(provider: &Provider, way: &Way, query: Option<&str>) -> bool {
    match provider.dialect {
        Dialect::Gemini | Dialect::Vertex | Dialect::Bedrock => true,
        Dialect::Azure => !is_newer(provider, way, query),
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Cohere | Dialect::Sandbox => false,
    }
}

/// The version of Azure's API that a query states.
fn stated(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("api-version="))
}

/// Whether a version of Azure's is a name and no date: `preview` or `latest`, which its newer API alone has.
fn is_name(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// Whether a call is for Azure's newer API, which wants no version and the model in the body.
fn is_newer(provider: &Provider, way: &Way, query: Option<&str>) -> bool {
    let version = stated(query).or(provider.more.api_version.as_deref());
    way.is_of_responses() || version.is_some_and(is_name)
}
