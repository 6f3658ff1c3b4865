//! What is billed, how it is split, and what became known after its month.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_billed_is_split_and_nothing_of_it_is_lost() {
    check(&[
        // Billed in November: acme 0.00335, initech 0.0035, and the correction of globex 0.00025; in all 0.0071.
        (
            "showback",
            november(),
            &[],
            &["tenant", "item", "method", "cost_usd", "unpriced_quantity"],
            &[
                "acme gateway even 1 0",
                "acme license fixed 2.5 0",
                "acme own use none 0.00335 7",
                "acme support proportional 0.293641975309 0",
                "globex gateway even 1 0",
                "globex own use none 0.00125 0",
                "globex support proportional 0.109567901234 0",
                "initech gateway even 1 0",
                "initech own use none 0.0035 0",
                "initech support proportional 0.306790123457 0",
                "null license not split 7.5 0",
            ],
        ),
        // Alice used 0.00085 of the 0.00335 of acme.
        (
            "showback",
            november(),
            &[("by", "tenant,user_id")],
            &["tenant", "user_id", "item", "cost_usd"],
            &[
                "acme alice gateway 0.253731343284",
                "acme alice license 0.634328358209",
                "acme alice own use 0.00085",
                "acme alice support 0.07450617284",
                "acme bob gateway 0.746268656716",
                "acme bob license 1.865671641791",
                "acme bob own use 0.0025",
                "acme bob support 0.219135802469",
                "globex carol gateway 1",
                "globex carol own use 0.00125",
                "globex carol support 0.109567901234",
                "initech carol gateway 1",
                "initech carol own use 0.0035",
                "initech carol support 0.306790123457",
                "null null license 7.5",
            ],
        ),
        // Nobody used anything in September, and three is not lost.
        (
            "showback",
            Span { from: Some("2026-09-01".into()), ..Span::default() },
            &[],
            &["tenant", "item", "method", "cost_usd"],
            &["null gateway not split 3"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_known_later_is_told_apart() {
    check(&[
        (
            "corrections",
            november(),
            &[],
            &[
                "billing_period",
                "charge_month",
                "tenant",
                "attempts",
                "taken_back_usd",
                "charged_anew_usd",
                "change_usd",
                "of_closed_month",
            ],
            &["2026-11 2026-10 globex 1 -0.0005 0.00075 0.00025 true"],
        ),
        (
            "cash-and-accrual",
            span("2026-10-01", "2026-12-01"),
            &[],
            &["month", "tenant", "used_usd", "billed_usd", "difference_usd"],
            &[
                "2026-10 globex 0.00175 0.0005 -0.00125",
                "2026-11 acme 0.00335 0.00335 0",
                "2026-11 globex 0 0.00125 0.00125",
                "2026-11 initech 0.0035 0.0035 0",
            ],
        ),
        (
            "completeness",
            span("2026-10-20", "2026-11-04"),
            &[],
            &["day", "tenant", "attempts", "is_complete", "late_day", "after_close", "unknown_attempts"],
            &[
                "2026-10-20 globex 1 true 1 1 0",
                "2026-11-01 acme 2 true 0 0 0",
                "2026-11-02 acme 1 true 0 0 1",
                "2026-11-03 acme 3 true 0 0 1",
                "2026-11-03 globex 1 true 0 0 1",
            ],
        ),
        (
            "policy-changes",
            november(),
            &[],
            &["changed_by", "kind", "tenant", "before_usd", "after_usd"],
            &["ops limit.update acme 0.00335 0"],
        ),
        (
            "as-of",
            Span { as_of: Some("2026-11-04".into()), ..span("2026-10-01", "2026-11-01") },
            &[],
            &["month", "tenant", "then_usd", "now_usd", "change_usd"],
            &["2026-10 globex 0.0005 0.00175 0.00125"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_month_of_focus_never_changes_and_the_next_one_has_what_came_later() {
    let entries = month::entries();
    let then: Vec<_> = entries.iter().filter(|entry| entry.recorded_at < month::at(4, 0)).cloned().collect();
    let (then, now) = (World::new(&then, 3).await, month::world().await);
    let october = crate::focus::Month::parse("2026-10").unwrap();
    let rows = then.ask(&everyone(), &october.sql()).await.unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(now.ask(&everyone(), &october.sql()).await.unwrap(), rows);
    let row = &rows[0];
    assert_eq!(
        (
            &row["BilledCost"],
            &row["PricingQuantity"],
            &row["ListUnitPrice"],
            &row["ConsumedQuantity"],
            &row["ChargeClass"]
        ),
        (
            &json!("0.000500000000"),
            &json!("0.002000000000"),
            &json!("0.250000000000"),
            &json!("2000.000000000000"),
            &json!(null)
        )
    );
    let details: Value = serde_json::from_str(row["SkuPriceDetails"].as_str().unwrap()).unwrap();
    assert_eq!(
        details,
        json!({"x_ModelId": "gpt-5-mini", "x_TokenDirection": "Input", "x_TokenCacheAction": "Uncached"})
    );

    // Ledger rows: the correction takes back and charges anew, and a call of October came after the month was closed.
    let later = "SELECT x_Entry AS entry, billedcost AS usd, consumedquantity AS q, to_char(ChargePeriodStart, '%m-%d') AS day FROM focus \
        WHERE BillingPeriodStart = TIMESTAMP '2026-11-01T00:00:00Z' AND CHARGECLASS = 'Correction' ORDER BY entry";
    let later = now.ask(&everyone(), later).await.unwrap();
    let told: Vec<String> = later
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["entry", "usd", "q", "day"].map(|name| shown(&row[name])).join(" "))
        .collect();
    assert_eq!(told, ["correction 0.00075 3000 10-15", "original 0.001 4000 10-20", "reversal -0.0005 -2000 10-15"]);
    let whole = now
        .ask(&everyone(), "SELECT (SELECT sum(BilledCost) FROM focus) - (SELECT sum(cost_usd) FROM charges) AS apart")
        .await
        .unwrap();
    assert_eq!(shown(&whole[0]["apart"]), "0");
    // The table and the view go by one rule.
    let by_view = "SELECT to_char(BillingPeriodStart, '%Y-%m') AS month, SubAccountId AS tenant, sum(BilledCost) AS usd FROM focus GROUP BY 1, 2";
    let by_table = "SELECT billing_period AS month, tenant, sum(cost_usd) AS usd FROM charges WHERE cost_usd IS NOT NULL GROUP BY 1, 2";
    let mut months = Vec::new();
    for sql in [by_view, by_table] {
        let rows = now.ask(&everyone(), &format!("SELECT * FROM ({sql}) ORDER BY month, tenant")).await.unwrap();
        let row = |row: &Value| ["month", "tenant", "usd"].map(|name| shown(&row[name])).join(" ");
        months.push(rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>());
    }
    assert_eq!(months[0], months[1]);
}
