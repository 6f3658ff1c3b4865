//! The ways in: which API a request asks for, by its method and path, and where that API stands at a provider.
//!
//! One table has every API with its paths; what has a name in its path is read from the path itself. A path says all that it says
//! before a body is looked at: the model, if it stands there, and whether the answer streams. To serve another path is a line here.

use std::borrow::Cow;

use http::Method;
use schemas::event::Api;

use crate::{authenticate::unescaped, error::Dialect, route};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) api: Api,
    pub(crate) method: Method,
    /// The model that the path names.
    pub(crate) model: Option<String>,
    /// Whether the path, and not the body, says that the answer streams.
    pub(crate) streams: Option<bool>,
    /// Where at the provider: behind the model, if the path names one, else behind the root of the dialect.
    pub(crate) path: Cow<'static, str>,
    /// The provider that the path names.
    pub(crate) provider: Option<String>,
}

/// The paths that name nothing, and where they stand at a provider: OpenAI's base ends in `/v1` already.
const FIXED: [(&str, Api, &str); 24] = [
    ("/v1/chat/completions", Api::OpenAiChat, "/chat/completions"),
    ("/v1/completions", Api::OpenAiCompletions, "/completions"),
    ("/v1/embeddings", Api::OpenAiEmbeddings, "/embeddings"),
    ("/v1/responses", Api::OpenAiResponses, "/responses"),
    ("/v1/responses/compact", Api::OpenAiResponsesCompact, "/responses/compact"),
    ("/v1/responses/input_tokens", Api::OpenAiResponsesInputTokens, "/responses/input_tokens"),
    ("/v1/images/generations", Api::OpenAiImages, "/images/generations"),
    ("/v1/images/edits", Api::OpenAiImages, "/images/edits"),
    ("/v1/images/variations", Api::OpenAiImages, "/images/variations"),
    ("/v1/audio/speech", Api::OpenAiSpeech, "/audio/speech"),
    ("/v1/audio/transcriptions", Api::OpenAiTranscriptions, "/audio/transcriptions"),
    ("/v1/audio/translations", Api::OpenAiTranscriptions, "/audio/translations"),
    ("/v1/moderations", Api::OpenAiModerations, "/moderations"),
    ("/v1/rerank", Api::OpenAiRerank, "/rerank"),
    ("/v1/messages", Api::AnthropicMessages, "/v1/messages"),
    ("/v1/messages/count_tokens", Api::AnthropicCountTokens, "/v1/messages/count_tokens"),
    ("/v1/complete", Api::AnthropicComplete, "/v1/complete"),
    ("/v2/chat", Api::CohereChat, "/v2/chat"),
    ("/v2/embed", Api::CohereEmbed, "/v2/embed"),
    ("/v2/rerank", Api::CohereRerank, "/v2/rerank"),
    ("/v1/chat", Api::CohereV1Chat, "/v1/chat"),
    ("/v1/generate", Api::CohereV1Chat, "/v1/generate"),
    ("/v1/embed", Api::CohereEmbed, "/v1/embed"),
    ("/cohere/v1/rerank", Api::CohereRerank, "/v1/rerank"),
];

/// Gemini's verbs, and what they stream.
const GEMINI: [(&str, Api, bool); 6] = [
    (":generateContent", Api::GeminiGenerateContent, false),
    (":streamGenerateContent", Api::GeminiGenerateContent, true),
    (":countTokens", Api::GeminiCountTokens, false),
    (":embedContent", Api::GeminiEmbeddings, false),
    (":batchEmbedContents", Api::GeminiEmbeddings, false),
    (":predict", Api::GeminiEmbeddings, false),
];

/// Bedrock's verbs.
const BEDROCK: [(&str, Api, bool); 5] = [
    ("/converse", Api::BedrockConverse, false),
    ("/converse-stream", Api::BedrockConverseStream, true),
    ("/invoke", Api::BedrockInvoke, false),
    ("/invoke-with-response-stream", Api::BedrockInvokeStream, true),
    ("/count-tokens", Api::BedrockCountTokens, false),
];

/// The names that a path may begin with, each for the dialects of whose clients it is the base.
const PREFIXES: [&str; 5] = ["/openai", "/anthropic", "/gemini", "/bedrock", "/cohere"];

impl Way {
    /// The way that a request asks for; nothing where it is not served. `path` is as it was sent.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/passthrough/") {
            return Self::through(method, rest);
        }
        let bare =
            PREFIXES.into_iter().find_map(|prefix| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')));
        // Azure's clients leave the version to a parameter.
        let versionless = || Self::served(method, &format!("/v1/{}", path.strip_prefix("/openai/")?));
        Self::served(method, path).or_else(|| Self::served(method, bare?)).or_else(versionless)
    }

    /// Which methods a path takes, where it is one of a way in.
    pub(crate) fn allow(path: &str) -> Option<&'static str> {
        match (Self::of(&Method::POST, path), Self::of(&Method::GET, path)) {
            (Some(way), _) if way.api.is_passed_on() => None,
            (Some(_), None) => Some("POST"),
            (None, Some(_)) if Self::of(&Method::DELETE, path).is_some() => Some("GET, DELETE"),
            (None, Some(_)) => Some("GET"),
            _ => None,
        }
    }

    fn served(method: &Method, path: &str) -> Option<Self> {
        let fixed = FIXED.iter().find(|(served, ..)| *served == path).filter(|_| method == Method::POST);
        if let Some((_, api, at)) = fixed {
            return Some(Self::new(*api, method, Cow::Borrowed(*at)));
        }
        Self::response(method, path)
            .or_else(|| Self::gemini(method, path))
            .or_else(|| Self::bedrock(method, path))
            .or_else(|| Self::deployment(method, path))
    }

    fn new(api: Api, method: &Method, path: impl Into<Cow<'static, str>>) -> Self {
        Self { api, method: method.clone(), model: None, streams: None, path: path.into(), provider: None }
    }

    /// A response that exists already.
    fn response(method: &Method, path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/responses/")?;
        let (id, verb) = rest.split_once('/').map_or((rest, ""), |(id, verb)| (id, verb));
        if !is_id(id) {
            return None;
        }
        let served = match verb {
            "" => method == Method::GET || method == Method::DELETE,
            "cancel" => method == Method::POST,
            "input_items" => method == Method::GET,
            _ => false,
        };
        served.then(|| Self::new(Api::OpenAiResponsesRetrieve, method, format!("/responses/{rest}")))
    }

    /// `/v1beta/models/{model}:verb`, and the same at Vertex, behind project and place.
    fn gemini(method: &Method, path: &str) -> Option<Self> {
        let rest = ["/v1beta/", "/v1/", "/v1beta1/", "/v1alpha/"]
            .into_iter()
            .find_map(|version| path.strip_prefix(version))?;
        let rest = match rest.strip_prefix("models/") {
            Some(rest) => rest,
            None => rest.strip_prefix("projects/")?.split_once("/publishers/google/models/")?.1,
        };
        let found =
            GEMINI.iter().find_map(|(verb, api, streams)| Some((rest.strip_suffix(verb)?, *verb, *api, *streams)));
        let (model, verb, api, streams) = found.filter(|_| method == Method::POST)?;
        let model = named(model)?;
        Some(Self { model: Some(model), streams: Some(streams), ..Self::new(api, method, verb) })
    }

    /// `/model/{id}/verb`.
    fn bedrock(method: &Method, path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/model/")?;
        let found =
            BEDROCK.iter().find_map(|(verb, api, streams)| Some((rest.strip_suffix(verb)?, *verb, *api, *streams)));
        let (model, verb, api, streams) = found.filter(|_| method == Method::POST)?;
        let model = named(model)?;
        Some(Self { model: Some(model), streams: Some(streams), ..Self::new(api, method, verb) })
    }

    /// `/openai/deployments/{model}/…`, as Azure's clients ask.
    fn deployment(method: &Method, path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/openai/deployments/").or_else(|| path.strip_prefix("/deployments/"))?;
        let (model, rest) = rest.split_at_checked(rest.find('/')?)?;
        let (_, api, at) = FIXED.iter().find(|(_, api, at)| *at == rest && api.vendor() == "openai")?;
        let way = Self::new(*api, method, *at);
        (method == Method::POST).then_some(Self { model: named(model), ..way })
    }

    /// `/passthrough/{provider}/…`: whatever it is, at a provider that is named.
    fn through(method: &Method, rest: &str) -> Option<Self> {
        let (provider, _) = rest.split_once('/')?;
        let at = rest.get(provider.len()..)?.to_owned();
        // A path that climbs is not the one that it seems.
        let climbs = unescaped(&at).split(['/', '\\']).any(|step| step == ".." || step == ".");
        let api = if only_reads(method, &at) { Api::PassthroughRetrieve } else { Api::Passthrough };
        let way = Self { provider: named(provider), ..Self::new(api, method, at) };
        Some(way).filter(|way| way.provider.is_some() && !climbs)
    }

    /// What Cohere's own clients mean by the same path; nothing where it is none of Cohere's.
    pub(crate) fn of_cohere(&self) -> Option<Self> {
        let is_it = self.api == Api::OpenAiRerank;
        is_it.then(|| Self { api: Api::CohereRerank, path: Cow::Borrowed("/v1/rerank"), ..self.clone() })
    }

    /// Whether it is of OpenAI's Responses.
    pub(crate) const fn is_of_responses(&self) -> bool {
        matches!(
            self.api,
            Api::OpenAiResponses
                | Api::OpenAiResponsesCompact
                | Api::OpenAiResponsesInputTokens
                | Api::OpenAiResponsesRetrieve
        )
    }

    /// The dialect in which it is answered.
    pub(crate) fn dialect(&self) -> Dialect {
        route::dialect(self.api)
    }
}

/// Whether a call of an API that is not known is about what exists already: it is read, deleted or cancelled, which uses nothing.
fn only_reads(method: &Method, at: &str) -> bool {
    let is_about_it = [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method);
    // What a deferred chat of xAI used is told where it is fetched and nowhere else; that can be done once.
    let is_first_told = at.contains("/deferred-completion/");
    is_about_it && !is_first_told || *method == Method::POST && cancels(at)
}

/// Whether a path is that of what cancels something: it ends with an id, as ids are, and the verb. What a provider would take for a way
/// to make something, with more behind it that says nothing to him, is none.
fn cancels(at: &str) -> bool {
    let mut steps = at.rsplit('/');
    let (verb, id) = (steps.next(), steps.next().unwrap_or_default());
    let makes = FIXED.iter().any(|(.., path)| path.rsplit('/').next() == Some(id));
    let runs = BEDROCK.iter().any(|(verb, ..)| verb.strip_prefix('/') == Some(id));
    verb == Some("cancel") && is_id(id) && !makes && !runs
}

/// Whether a step of a path may be an id: it has no mark in it that could mean something to a server.
fn is_id(step: &str) -> bool {
    !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A name in a path, unescaped; nothing where it is none.
fn named(text: &str) -> Option<String> {
    let name = unescaped(text).into_owned();
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_which_api_and_which_model() {
        for (method, path, api, model, streams, at) in [
            ("POST", "/v1/chat/completions", Api::OpenAiChat, None, None, "/chat/completions"),
            ("POST", "/openai/v1/responses", Api::OpenAiResponses, None, None, "/responses"),
            ("POST", "/openai/responses", Api::OpenAiResponses, None, None, "/responses"),
            ("GET", "/openai/responses/resp_1", Api::OpenAiResponsesRetrieve, None, None, "/responses/resp_1"),
            ("POST", "/v1/responses/compact", Api::OpenAiResponsesCompact, None, None, "/responses/compact"),
            ("GET", "/v1/responses/resp_1", Api::OpenAiResponsesRetrieve, None, None, "/responses/resp_1"),
            ("DELETE", "/openai/v1/responses/resp_1", Api::OpenAiResponsesRetrieve, None, None, "/responses/resp_1"),
            (
                "POST",
                "/v1/responses/resp_1/cancel",
                Api::OpenAiResponsesRetrieve,
                None,
                None,
                "/responses/resp_1/cancel",
            ),
            ("POST", "/anthropic/v1/messages", Api::AnthropicMessages, None, None, "/v1/messages"),
            (
                "POST",
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
                Api::GeminiGenerateContent,
                Some("gemini-2.5-flash"),
                Some(true),
                ":streamGenerateContent",
            ),
            (
                "POST",
                "/gemini/v1beta1/projects/p/locations/global/publishers/google/models/g:countTokens",
                Api::GeminiCountTokens,
                Some("g"),
                Some(false),
                ":countTokens",
            ),
            ("POST", "/model/a.b-v1%3A0/converse", Api::BedrockConverse, Some("a.b-v1:0"), Some(false), "/converse"),
            ("POST", "/v2/chat", Api::CohereChat, None, None, "/v2/chat"),
            (
                "POST",
                "/openai/deployments/gpt/chat/completions",
                Api::OpenAiChat,
                Some("gpt"),
                None,
                "/chat/completions",
            ),
            ("PUT", "/passthrough/p/x/y", Api::Passthrough, None, None, "/x/y"),
            ("POST", "/passthrough/p/batches", Api::Passthrough, None, None, "/batches"),
            ("GET", "/passthrough/p/batches/b", Api::PassthroughRetrieve, None, None, "/batches/b"),
            ("POST", "/passthrough/p/batches/b/cancel", Api::PassthroughRetrieve, None, None, "/batches/b/cancel"),
            ("DELETE", "/passthrough/p/files/f", Api::PassthroughRetrieve, None, None, "/files/f"),
            (
                "GET",
                "/passthrough/p/chat/deferred-completion/d",
                Api::Passthrough,
                None,
                None,
                "/chat/deferred-completion/d",
            ),
        ] {
            let method: Method = method.parse().unwrap();
            let way = Way::of(&method, path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((way.api, way.model.as_deref(), way.streams, &*way.path), (api, model, streams, at), "{path}");
            assert_eq!(way.provider.is_some(), api.is_passed_on());
        }
    }

    /// Whatever a lax server makes of it: the step before the verb is an id, and none of a way in.
    #[test]
    fn only_what_is_cancelled_by_its_id_is_free() {
        for (at, is_free) in [
            ("/batches/batch_1/cancel", true),
            ("/v1/responses/9d3c-77/cancel", true),
            ("/chat/completions;/cancel", false),
            ("/chat/completions/cancel", false),
            ("/v1/messages/cancel", false),
            ("/model/m/invoke/cancel", false),
            ("/responses%3Fa/cancel", false),
            ("/responses//cancel", false),
            ("/responses/a;cancel", false),
            ("/responses/a/cancel/", false),
            ("/cancel", false),
        ] {
            let way = Way::of(&Method::POST, &format!("/passthrough/p{at}")).unwrap_or_else(|| panic!("{at}"));
            assert_eq!(way.api == Api::PassthroughRetrieve, is_free, "{at}");
        }
    }

    #[test]
    fn what_is_not_served_has_no_way() {
        for (method, path) in [
            ("GET", "/v1/chat/completions"),
            ("POST", "/v1/responses/resp_1"),
            ("POST", "/v1/responses/../x/cancel"),
            ("GET", "/v1beta/models/gemini:generateContent"),
            ("POST", "/v1beta/models/:generateContent"),
            ("POST", "/v1beta/models/gemini:fly"),
            ("POST", "/model//converse"),
            ("GET", "/passthrough/p"),
            ("GET", "/passthrough/p/a/../b"),
            ("GET", "/passthrough/p/a/%2e%2E/b"),
            ("POST", "/openaiv1/chat/completions"),
        ] {
            assert_eq!(Way::of(&method.parse().unwrap(), path), None, "{path}");
        }
        assert_eq!(Way::allow("/v1/messages"), Some("POST"));
        assert_eq!(Way::allow("/v1/responses/resp_1"), Some("GET, DELETE"));
        assert_eq!(Way::allow("/v1/other"), None);
    }
}
