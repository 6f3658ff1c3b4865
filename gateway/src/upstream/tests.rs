//! How addresses are joined, and which providers can be used.

use http::Method;
use schemas::config::{Secret, Timeouts, UsageInStream};

use super::*;

fn provider(url: &str, dialect: schemas::config::Dialect) -> Provider {
    Provider {
        name: "p".into(),
        dialect,
        base_url: Some(BaseUrl::parse(url).unwrap()),
        api_key: Secret::new("sk-1"),
        timeouts: Timeouts::default(),
        http2: false,
        max_connections: 10,
        allow_private: false,
        usage_in_stream: UsageInStream::Ask,
        forward: Vec::new(),
        frame_delay: Duration::ZERO,
        more: schemas::config::More::default(),
    }
}

fn upstream(provider: Provider) -> Result<Upstream, BadProvider> {
    let world = Arc::new(World::new(&Surroundings::default()).unwrap());
    let source = Source::new(&provider, &world).map_err(|why| BadProvider::new(&provider, why))?;
    Upstream::new(Arc::new(provider), Arc::new(source), None)
}

#[tokio::test]
async fn every_dialect_has_its_addresses() {
    use schemas::config::Dialect::{Anthropic, Azure, Bedrock, Cohere, Gemini, OpenAi, Vertex};
    let gemini = "/v1beta/models/g:generateContent";
    for (url, dialect, path, query, wanted) in [
        (
            "https://api.openai.com/v1",
            OpenAi,
            "/v1/chat/completions",
            None,
            "https://api.openai.com/v1/chat/completions",
        ),
        ("http://127.0.0.1:9/v1/", OpenAi, "/v1/embeddings", Some("a=b"), "http://127.0.0.1:9/v1/embeddings?a=b"),
        (
            "https://api.anthropic.com",
            Anthropic,
            "/v1/messages/count_tokens",
            Some("beta=true"),
            "https://api.anthropic.com/v1/messages/count_tokens?beta=true",
        ),
        (
            "https://g.test",
            Gemini,
            gemini,
            Some("alt=sse"),
            "https://g.test/v1beta/models/m:1/2:generateContent?alt=sse",
        ),
        (
            "https://v.test/v1/projects/p/locations/l",
            Vertex,
            gemini,
            None,
            "https://v.test/v1/projects/p/locations/l/publishers/google/models/m:1/2:generateContent",
        ),
        ("https://b.test", Bedrock, "/model/x/converse", None, "https://b.test/model/m%3A1%2F2/converse"),
        ("https://c.test", Cohere, "/v2/rerank", None, "https://c.test/v2/rerank"),
        (
            "https://a.test",
            Azure,
            "/v1/chat/completions",
            None,
            "https://a.test/openai/deployments/m%3A1%2F2/chat/completions?api-version=2026-01-01",
        ),
        ("https://a.test", Azure, "/v1/responses", None, "https://a.test/openai/v1/responses"),
        (
            "https://a.test",
            Azure,
            "/v1/embeddings",
            Some("api-version=1"),
            "https://a.test/openai/deployments/m%3A1%2F2/embeddings?api-version=1",
        ),
        (
            "https://a.test",
            Azure,
            "/openai/v1/chat/completions",
            Some("api-version=preview"),
            "https://a.test/openai/v1/chat/completions?api-version=preview",
        ),
        ("https://o.test/v1", OpenAi, "/passthrough/p/files", None, "https://o.test/v1/files"),
    ] {
        let mut provider = provider(url, dialect);
        provider.more.api_version = (dialect == Azure).then(|| "2026-01-01".to_owned());
        let upstream = upstream(provider).unwrap();
        let Kind::Http(remote) = &upstream.kind else { panic!("not the network") };
        let way = Way::of(&Method::POST, path).unwrap();
        let found = remote.base.join(&address::of(&upstream.provider, &way, "m:1/2", query)).to_string();
        assert_eq!(found.replace("m:1%2F2", "m:1/2"), wanted);
        assert_eq!(upstream.lack(), None);
    }
}

#[tokio::test]
async fn a_provider_is_called_with_a_key_a_signature_or_nothing_if_it_wants_nothing() {
    use schemas::config::{AwsKeys, Dialect};
    let keys = AwsKeys {
        region: "us-east-1".into(),
        access_key_id: Secret::new("id"),
        secret_access_key: Secret::new("key"),
        session_token: Secret::default(),
    };
    for (key, keyless, aws, has) in
        [("", false, None, false), ("", true, None, true), ("", false, Some(keys), true), ("sk", false, None, true)]
    {
        let mut provider = provider("https://b.test", Dialect::Bedrock);
        provider.api_key = Secret::new(key);
        (provider.more.keyless, provider.more.aws) = (keyless, aws);
        assert_eq!(upstream(provider).unwrap().lack().is_none(), has);
    }
}

#[tokio::test]
async fn a_private_address_has_to_be_meant() {
    let mut provider = provider("https://10.0.0.1/v1", schemas::config::Dialect::OpenAi);
    assert!(upstream(provider.clone()).is_err());
    provider.allow_private = true;
    assert!(upstream(provider).is_ok());
}
