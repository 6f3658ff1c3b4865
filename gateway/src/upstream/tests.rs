//! How addresses are joined, and which providers can be used.

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
    }
}

#[tokio::test]
async fn an_openai_base_ends_in_v1_and_an_anthropic_one_does_not() {
    use schemas::config::Dialect::{Anthropic, OpenAi};
    for (url, dialect, api, query, wanted) in [
        ("https://api.openai.com/v1", OpenAi, Api::OpenAiChat, None, "https://api.openai.com/v1/chat/completions"),
        ("http://127.0.0.1:9/v1/", OpenAi, Api::OpenAiEmbeddings, Some("a=b"), "http://127.0.0.1:9/v1/embeddings?a=b"),
        (
            "https://api.anthropic.com",
            Anthropic,
            Api::AnthropicCountTokens,
            Some("beta=true"),
            "https://api.anthropic.com/v1/messages/count_tokens?beta=true",
        ),
    ] {
        let upstream = Upstream::new(Arc::new(provider(url, dialect)), None).unwrap();
        let Kind::Http(remote) = &upstream.kind else { panic!("not the network") };
        assert_eq!(remote.base.join(api, query).to_string(), wanted);
        assert!(upstream.has_key());
    }
}

#[tokio::test]
async fn a_private_address_has_to_be_meant() {
    let mut provider = provider("https://10.0.0.1/v1", schemas::config::Dialect::OpenAi);
    assert!(Upstream::new(Arc::new(provider.clone()), None).is_err());
    provider.allow_private = true;
    assert!(Upstream::new(Arc::new(provider), None).is_ok());
}
