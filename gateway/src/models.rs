//! The list of models that a key may use, in the shape of the client's dialect.
//!
//! Names with `*` stand for what the price book's catalogue knows of their provider. Pure.

use std::collections::BTreeMap;

use schemas::{config::ModelRoute, price::Book};
use serde_json::{Value, json};

use crate::error::Dialect;

/// No list is longer.
const MOST: usize = 5_000;

/// The name under which the catalogue has the sandbox's models.
const SANDBOX: &str = "sandbox/*";

/// The models by name, each with its provider. `vendor` names the vendor whose dialect a provider speaks.
pub(crate) fn names(
    routes: &[ModelRoute],
    book: &Book,
    vendor: impl Fn(&str) -> Option<&'static str>,
) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for route in routes {
        let Some(target) = route.targets.first() else { continue };
        let Some(prefix) = route.name.strip_suffix('*') else {
            names.insert(route.name.clone(), target.provider.clone());
            continue;
        };
        let vendor = vendor(&target.provider);
        for model in book.models() {
            let name = model.model.as_str();
            let is_theirs =
                *model.provider == *target.provider || vendor.is_some_and(|vendor| *model.provider == *vendor);
            let is_exact = !name.contains('*');
            let goes_here = is_exact && ModelRoute::find(routes, name).is_some_and(|found| found.name == route.name);
            if is_theirs && goes_here && name.starts_with(prefix) && names.len() < MOST {
                names.insert(name.to_owned(), target.provider.clone());
            }
            // The sandbox takes any number there; a few show what its names look like.
            if is_theirs && name == SANDBOX && route.name == SANDBOX {
                names.extend(["sandbox/64", "sandbox/1024"].map(|name| (name.to_owned(), target.provider.clone())));
            }
        }
    }
    names
}

/// The list of all.
pub(crate) fn list(names: &BTreeMap<String, String>, dialect: Dialect) -> Value {
    let data: Vec<Value> = names.iter().map(|(name, provider)| one(name, provider, dialect)).collect();
    match dialect {
        Dialect::Gemini | Dialect::Cohere => json!({ "models": data }),
        Dialect::OpenAi | Dialect::Bedrock => json!({ "object": "list", "data": data }),
        Dialect::Anthropic => json!({
            "data": data, "has_more": false,
            "first_id": names.keys().next(), "last_id": names.keys().next_back(),
        }),
    }
}

/// One of them. When a model was made is not known here; the shapes need a time, so it is the first one there is.
pub(crate) fn one(name: &str, provider: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenAi | Dialect::Bedrock => {
            json!({ "id": name, "object": "model", "created": 0, "owned_by": provider })
        }
        Dialect::Gemini => json!({ "name": format!("models/{name}"), "displayName": name }),
        Dialect::Cohere => json!({ "name": name }),
        Dialect::Anthropic => {
            json!({ "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z" })
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::config::Target;

    use super::*;

    #[test]
    fn patterns_stand_for_what_the_catalogue_knows() {
        let route = |name: &str, provider: &str| ModelRoute {
            name: name.into(),
            targets: vec![Target::new(provider.into(), None)],
            ..ModelRoute::default()
        };
        let routes = [route("mine", "openai"), route("claude-*", "anthropic"), route("sandbox/*", "sandbox")];
        let vendor = |provider: &str| ["openai", "anthropic"].into_iter().find(|vendor| *vendor == provider);
        let names = names(&routes, &Book::builtin(), vendor);
        assert_eq!(names.get("mine").map(String::as_str), Some("openai"));
        assert!(names.keys().any(|name| name.starts_with("claude-")), "{names:?}");
        assert!(names.keys().all(|name| !name.contains('*') && !name.starts_with("gpt")), "{names:?}");
        let anthropic = list(&names, Dialect::Anthropic);
        assert_eq!(anthropic["last_id"], "sandbox/64");
        assert_eq!(list(&names, Dialect::OpenAi)["data"].as_array().map(Vec::len), Some(names.len()));
    }
}
