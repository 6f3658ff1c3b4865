//! Where a call goes: which dialect a path speaks, and which provider and model a name stands for.
//!
//! Pure: it reads the policy and the names of the providers that this gateway has.

use http::HeaderMap;
use schemas::{config::ModelRoute, error_code::ErrorCode, event::Api};

use crate::error::{Dialect, Fault};

/// What a model's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The provider's configured name.
    pub(crate) provider: &'a str,
    /// The model asked of it.
    pub(crate) model: &'a str,
}

/// The dialect of an API.
pub(crate) fn dialect(api: Api) -> Dialect {
    match api.vendor() {
        "anthropic" => Dialect::Anthropic,
        "google" => Dialect::Gemini,
        "bedrock" => Dialect::Bedrock,
        "cohere" => Dialect::Cohere,
        _ => Dialect::OpenAi,
    }
}

/// The dialect in which a path that has no API of its own is answered.
pub(crate) fn dialect_of_path(path: &str, headers: &HeaderMap) -> Dialect {
    let begins =
        |prefixes: &[&str]| prefixes.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}/")));
    let is_openai = path.ends_with("/v1/chat/completions") || path.ends_with("/v1/embeddings");
    let is_anthropic = begins(&["/anthropic", "/v1/messages", "/openai/v1/messages"]);
    match () {
        () if is_openai => Dialect::OpenAi,
        () if is_anthropic || headers.contains_key("anthropic-version") => Dialect::Anthropic,
        () if begins(&["/gemini", "/v1beta", "/v1beta1", "/v1alpha"]) => Dialect::Gemini,
        () if begins(&["/bedrock", "/model"]) => Dialect::Bedrock,
        () if begins(&["/cohere", "/v2"]) => Dialect::Cohere,
        () => Dialect::OpenAi,
    }
}

/// The target of a model. The first of a route's targets is taken.
pub(crate) fn target<'a>(models: &'a [ModelRoute], name: &'a str) -> Result<Target<'a>, Fault> {
    let route = ModelRoute::find(models, name).and_then(|route| route.targets.first());
    let Some(target) = route else {
        return Err(Fault::new(
            ErrorCode::UnknownModel,
            format!("`{}` is not among the models of this gateway", short(name)),
        ));
    };
    Ok(Target { provider: &target.provider, model: target.model.as_deref().unwrap_or(name) })
}

/// A provider that is named, and not a model.
pub(crate) const fn named<'a>(provider: &'a str, model: &'a str) -> Target<'a> {
    Target { provider, model }
}

/// The first provider of the routes that serves what names no model.
pub(crate) fn any(models: &[ModelRoute], serves: impl Fn(&str) -> bool) -> Result<Target<'_>, Fault> {
    let targets = models.iter().filter_map(|route| route.targets.first());
    let found = targets.map(|target| target.provider.as_str()).find(|provider| serves(provider));
    found
        .map(|provider| named(provider, ""))
        .ok_or_else(|| Fault::new(ErrorCode::UnknownModel, "no provider of this gateway serves this API"))
}

/// A client's text as it may stand in a message.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use schemas::config::Target as Configured;

    use super::*;

    fn route(name: &str, provider: &str, model: Option<&str>) -> ModelRoute {
        let target = Configured { provider: provider.into(), model: model.map(str::to_owned) };
        ModelRoute { name: name.into(), targets: vec![target] }
    }

    #[test]
    fn a_target_keeps_the_clients_name_unless_it_has_its_own() {
        let models = [route("claude-*", "anthropic", None), route("fast", "openai", Some("gpt-5-mini"))];
        let found = |name| target(&models, name).map(|target| (target.provider.to_owned(), target.model.to_owned()));
        assert_eq!(found("claude-x"), Ok(("anthropic".into(), "claude-x".into())));
        assert_eq!(found("fast"), Ok(("openai".into(), "gpt-5-mini".into())));
        assert_eq!(found("slow").map_err(|fault| fault.code), Err(ErrorCode::UnknownModel));
    }

    #[test]
    fn a_path_without_an_api_is_answered_in_the_dialect_that_it_looks_like() {
        let mut headers = HeaderMap::new();
        assert_eq!(dialect_of_path("/v1/whatever", &headers), Dialect::OpenAi);
        assert_eq!(dialect_of_path("/v1/messages/batches", &headers), Dialect::Anthropic);
        assert_eq!(dialect_of_path("/anthropic/v1/x", &headers), Dialect::Anthropic);
        assert_eq!(dialect_of_path("/v1beta/models/x:fly", &headers), Dialect::Gemini);
        assert_eq!(dialect_of_path("/model/x/fly", &headers), Dialect::Bedrock);
        assert_eq!(dialect_of_path("/v2/fly", &headers), Dialect::Cohere);
        headers.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        assert_eq!(dialect_of_path("/v1/models", &headers), Dialect::Anthropic);
        assert_eq!(dialect_of_path("/v1/chat/completions", &headers), Dialect::OpenAi);
    }
}
