//! What a client asks in headers beside the body, as far as it can change what a call uses or what that costs.
//!
//! Only what goes on to the provider is looked at. Anthropic's betas mostly let a member of the body do something, and bodies are
//! bounded by what they spell out; what a beta does by itself is a larger window. Bedrock's InvokeModel takes tier, latency and guardrail
//! there, since its body is the model's own.

use http::HeaderMap;
use schemas::{
    bound::{Beside, window},
    event::Api,
    price::joined,
};

use crate::meter::TIERS;

/// The header that names a guardrail.
const GUARDRAIL: &str = "x-amzn-bedrock-guardrailidentifier";

/// What the head of a request for this API asks.
pub(crate) fn of(api: Api, headers: &HeaderMap) -> Beside {
    match api {
        Api::AnthropicMessages => {
            let betas = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
            Beside { window: betas.flat_map(|betas| betas.split(',')).filter_map(window).max(), ..Beside::default() }
        }
        Api::BedrockInvoke | Api::BedrockInvokeStream => {
            let named = TIERS.iter().flat_map(|name| headers.get_all(*name));
            let tier =
                named.fold(String::new(), |tier, value| joined(&tier, &String::from_utf8_lossy(value.as_bytes())));
            Beside { tier, guarded: headers.contains_key(GUARDRAIL), window: None }
        }
        _ => Beside::default(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(api: Api, pairs: &[(&'static str, &'static str)], wanted: (&str, bool, Option<u64>)) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let found = of(api, &headers);
        assert_eq!((found.tier.as_str(), found.guarded, found.window), wanted, "{pairs:?}");
    }

    #[test]
    fn headers_name_tiers_guardrails_and_windows() {
        let [tier, latency] = TIERS;
        let invoke = Api::BedrockInvokeStream;
        check(invoke, &[(tier, "priority")], ("priority", false, None));
        check(invoke, &[(tier, "default"), (latency, "standard")], ("default", false, None));
        check(invoke, &[(latency, "optimized"), (tier, "flex"), (tier, "default")], ("flex+optimized", false, None));
        check(invoke, &[(GUARDRAIL, "g-1")], ("", true, None));
        check(Api::BedrockConverse, &[(tier, "priority"), (GUARDRAIL, "g-1")], ("", false, None));
        let beta = |names| [("anthropic-beta", "claude-code-20250219"), ("anthropic-beta", names)];
        let messages = Api::AnthropicMessages;
        check(messages, &beta("interleaved-thinking-2025-05-14,context-management-2025-06-27"), ("", false, None));
        check(messages, &beta("x, context-1m-2025-08-07"), ("", false, Some(1_000_000)));
    }
}
