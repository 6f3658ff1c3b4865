//! Who spent what, what a thing costs, and what of it was saved or wasted.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_spent_what() {
    let berlin = Span { zone: Some("Europe/Berlin".into()), ..Span::default() };
    let known = Span { as_of: Some("2026-11-02".into()), ..Span::default() };
    let (spent, by_day) = (
        ["tenant", "cost_usd", "share", "requests", "tokens", "unpriced_quantity"],
        ["period", "tenant", "cost_usd", "unpriced_quantity"],
    );
    check(&[
        // 0.00045 + 0.0025 + 0.0001 + 0.0002 + 0.0001, and 0.0015 + 0.002.
        (
            "spend",
            november(),
            &[("grain", "total")],
            &spent,
            &["initech 0.0035 0.510949 4 6000 0", "acme 0.00335 0.489051 6 5457 7"],
        ),
        // Half past eleven in the evening is the next day in Berlin.
        (
            "spend",
            berlin,
            &[],
            &by_day,
            &[
                "2026-11-01 acme 0.00045 0",
                "2026-11-02 acme 0.0025 7",
                "2026-11-03 acme 0.0004 0",
                "2026-11-06 initech 0.0015 0",
                "2026-11-07 initech 0.002 0",
            ],
        ),
        ("spend", known, &[("grain", "month")], &by_day, &["2026-11 acme 0.00295 0"]),
        (
            "spend",
            november(),
            &[("grain", "total"), ("by", "team,tag:env")],
            &["team", "tag:env", "cost_usd"],
            &["null prod 0.0035", "search null 0.0025", "search prod 0.00085"],
        ),
        (
            "sessions",
            november(),
            &[("top", "1")],
            &["tenant", "session_id", "calls", "cost_usd"],
            &["initech null 4 0.0035"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_more_and_what_is_nobodys() {
    check(&[
        (
            "movers",
            november(),
            &[],
            &["tenant", "cost_usd", "before_usd", "change_usd"],
            // On the eleventh October is looked at up to its own.
            &["initech 0.0035 0 0.0035", "acme 0.00335 0 0.00335"],
        ),
        (
            "movers",
            span("2026-10-21", "2026-11-05"),
            &[],
            &["tenant", "cost_usd", "before_usd", "change_usd"],
            &["acme 0.00335 0 0.00335", "globex 0 0.00175 -0.00175"],
        ),
        // Who spends most is told of as who moved most is.
        (
            "movers",
            span("2026-11-02", "2026-11-07"),
            &[("top", "1")],
            &["tenant", "cost_usd", "before_usd", "change_usd"],
            &["acme 0.0004 0.00295 -0.00255", "initech 0.0015 0 0.0015"],
        ),
        // Five days of 24 are over: of the 24 before the first five have a call of the fifteenth, and not that of the twentieth.
        (
            "movers",
            span("2026-11-06", "2026-11-30"),
            &[],
            &["tenant", "cost_usd", "before_usd", "change_usd"],
            &["initech 0.0035 0 0.0035", "globex 0 0.00075 -0.00075"],
        ),
        (
            "variance",
            span("2026-11-06", "2026-11-30"),
            &[],
            &["tenant", "before_usd", "cost_usd", "change_usd"],
            &["initech 0 0.0035 0.0035", "globex 0.00075 0 -0.00075"],
        ),
        (
            "pace",
            november(),
            &[],
            &["tenant", "month_usd", "same_point_usd", "last_month_usd"],
            &["initech 0.0035 0 0", "acme 0.00335 0 0", "globex 0 0 0.00175"],
        ),
        (
            "untagged",
            november(),
            &[],
            &["tenant", "cost_usd", "untagged_usd", "no_team_usd", "no_user_usd"],
            &["acme 0.00335 0.0025 0 0", "initech 0.0035 0 0.0035 0"],
        ),
        (
            "ownership",
            november(),
            &[],
            &["tenant", "team", "as_was_usd", "as_is_usd", "unpriced_quantity"],
            &["acme growth 0 0.00335 0", "acme search 0.00335 0 7", "initech null 0.0035 0.0035 0"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thing_costs() {
    check(&[
        (
            "effective-prices",
            november(),
            &[],
            &["model", "token_class", "quantity", "cost_usd", "usd_per_mtok", "unpriced_quantity"],
            &[
                "gpt-5 null 5100 0.005 0.980392 0",
                "gpt-5 cache_read 2000 0.00025 0.125 0",
                "gpt-5 input 3000 0.00375 1.25 0",
                "gpt-5 output 100 0.001 10 0",
                "gpt-5-mini null 6350 0.00185 0.291339 0",
                "gpt-5-mini input 6200 0.00155 0.25 0",
                "gpt-5-mini output 150 0.0003 2 0",
                "gpt-unheard null 0 null null 7",
                "gpt-unheard input 0 null null 7",
            ],
        ),
        (
            "unit-economics",
            november(),
            &[("metric", "tickets")],
            &[
                "tenant",
                "cost_usd",
                "unknown_attempts",
                "requests",
                "successes",
                "sessions",
                "usd_per_session",
                "metric_value",
                "usd_per_metric",
            ],
            // Two of its six calls name the session: 0.00045 + 0.0025.
            &[
                "acme 0.00335 2 6 5 1 0.00295 5 0.00067",
                "globex null 1 1 0 0 null null null",
                "initech 0.0035 0 4 4 0 null null null",
            ],
        ),
        (
            "tokens",
            november(),
            &[("grain", "month")],
            &["model", "attempts", "unknown_attempts", "input_by_output"],
            &["gpt-5 3 0 50", "gpt-5-mini 6 1 41.333333", "gpt-unheard 1 0 null"],
        ),
        (
            "discounts",
            november(),
            &[],
            &["model", "list_usd", "cost_usd", "saved_usd", "unpriced_quantity"],
            &["gpt-5 0.005 0.005 0 0", "gpt-5-mini 0.00185 0.00185 0 0", "gpt-unheard null null null 7"],
        ),
        (
            "frontier",
            november(),
            &[],
            &["model", "attempts", "ttft_p50_ms", "duration_p50_ms", "usd_per_mtok", "unknown_attempts"],
            &["gpt-5-mini 4 100 2000 0.297297 0", "gpt-5 3 100 2000 0.980392 0", "gpt-unheard 1 100 2000 null 1"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_would_have_cost_otherwise_and_why_it_cost_more() {
    check(&[
        (
            "tiers",
            november(),
            &[],
            &["model", "cost_usd", "other_tier_usd", "available_usd", "unknown_quantity"],
            &["gpt-5 0.005 0.0025 0.0025 0", "gpt-5-mini 0.00185 0.000925 0.000925 0", "gpt-unheard null null null 7"],
        ),
        (
            "what-if",
            november(),
            &[("model", "gpt-5")],
            &["tenant", "quantity", "cost_usd", "other_usd", "change_usd", "unknown_quantity"],
            &["acme 3100 0.0025 0.0005 -0.002 0", "initech 2000 0.0025 0.0005 -0.002 0"],
        ),
        (
            "what-if",
            november(),
            &[("model", "gpt-unheard")],
            &["tenant", "cost_usd", "other_usd", "unknown_quantity"],
            &["acme null null 7"],
        ),
        (
            "variance",
            span("2026-11-07", "2026-11-08"),
            &[],
            &["tenant", "before_usd", "cost_usd", "change_usd", "price_usd", "volume_usd", "mix_usd"],
            &["initech 0.0015 0.002 0.0005 0 0.0015 -0.001"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_and_what_was_wasted() {
    check(&[
        // 2,000 tokens at 1.25 less 0.125 a million.
        (
            "cache-savings",
            november(),
            &[],
            &["tenant", "model", "hit_share", "read_tokens", "saved_usd", "net_usd", "unknown_tokens"],
            &[
                "acme gpt-5 0.666667 2000 0.00225 0.00225 0",
                "acme gpt-5-mini 0 0 0 0 0",
                "acme gpt-unheard 0 0 0 0 0",
                "initech gpt-5 0 0 0 0 0",
                "initech gpt-5-mini 0 0 0 0 0",
            ],
        ),
        (
            "response-cache",
            november(),
            &[],
            &["tenant", "model", "hits", "asked", "avoided_usd", "unknown_hits"],
            &["acme gpt-5-mini 1 4 0.00045 0"],
        ),
        (
            "failures",
            november(),
            &[],
            &["tenant", "kind", "outcome", "attempts", "cost_usd", "unknown_attempts"],
            &[
                "acme answered complete 5 0.00315 1",
                "acme broken_off client_gone 1 0.0001 1",
                "acme retried provider_error 1 0.0001 0",
                "globex failed timeout 1 null 1",
                "initech answered complete 4 0.0035 0",
            ],
        ),
        (
            "refused",
            november(),
            &[],
            &["limit_name", "code", "refused", "would_be", "could_have_cost_usd", "unknown_calls"],
            &["acme-month TG2001 5 5 0.02 3"],
        ),
        (
            "reasoning",
            span("2026-11-01", "2026-11-02"),
            &[],
            &["model", "output_tokens", "reasoning_tokens", "share", "reasoning_usd", "unpriced_tokens"],
            &["gpt-5 100 40 0.4 0.0004 0", "gpt-5-mini 100 0 0 0 0"],
        ),
        (
            "commitments",
            november(),
            &[],
            &["commitment_id", "committed", "used", "unused", "utilisation", "paid_usd", "on_demand_usd", "saved_usd"],
            &["ptu 6200 3100 3100 0.5 1 0.0025 -0.9975"],
        ),
        // All that openai was used for since October: 0.00335 + 0.0035 + 0.00175.
        (
            "credits",
            november(),
            &[],
            &["commitment_id", "bought", "paid_usd", "drawn", "remaining", "unpriced_quantity"],
            &["credit-1 10 9 0.0086 9.9914 7"],
        ),
    ])
    .await;
}
