//! Where a call stands at a provider: the path behind its base, and the query.
//!
//! The dialects differ in where the model's name goes. A name is escaped wherever it becomes part of a path, so that no name leads to
//! another one. Pure.

use std::fmt::Write as _;

use schemas::{
    config::{Dialect, Provider},
    event::Api,
};

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
        (Dialect::Azure, api) if is_newer(api) => format!("/openai/v1{}", way.path),
        (Dialect::Azure, _) => format!("/openai/deployments/{}{}", name(b""), way.path),
        (Dialect::OpenAi | Dialect::Anthropic | Dialect::Cohere | Dialect::Sandbox, _) => way.path.clone().into_owned(),
    };
    let mut mark = if address.contains('?') { '&' } else { '?' };
    if let Some(query) = query {
        // Writing to a text cannot fail.
        let _ = write!(address, "{mark}{query}");
        mark = '&';
    }
    let stated = query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("api-version=")));
    if let (Some(version), false) = (&provider.more.api_version, stated || is_newer(way.api)) {
        let _ = write!(address, "{mark}api-version={}", escaped(version, b""));
    }
    address
}

/// Whether the path of a call names the model.
pub(super) const fn names_model(provider: &Provider, way: &Way) -> bool {
    match provider.dialect {
        Dialect::Gemini | Dialect::Vertex | Dialect::Bedrock => true,
        Dialect::Azure => !is_newer(way.api),
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Cohere | Dialect::Sandbox => false,
    }
}

/// Whether Azure has it in its API without versions.
const fn is_newer(api: Api) -> bool {
    matches!(
        api,
        Api::OpenAiResponses
            | Api::OpenAiResponsesCompact
            | Api::OpenAiResponsesInputTokens
            | Api::OpenAiResponsesRetrieve
    )
}
