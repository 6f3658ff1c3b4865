//! Groups that stand together: their sums are those that the engine makes of all rows.

use super::world::{World, charged, everyone, only, unpriced};

/// Questions that are answered by runs, and the same in a form that is not: an expression over another column keeps the rule away.
const PAIRS: [(&str, &str); 6] = [
    (
        "SELECT tenant AS g, {} FROM usage GROUP BY tenant",
        "SELECT tenant || substr(api, 1, 0) AS g, {} FROM usage GROUP BY 1",
    ),
    (
        "SELECT tenant AS g, date_trunc('minute', time) AS m, {} FROM usage GROUP BY 1, 2",
        "SELECT tenant || substr(api, 1, 0) AS g, date_trunc('minute', time) AS m, {} FROM usage GROUP BY 1, 2",
    ),
    (
        "SELECT date_trunc('hour', time) AS g, {} FROM usage WHERE user_id <> 'bob' GROUP BY 1",
        "SELECT date_trunc('hour', time) AS g, {} FROM usage WHERE user_id <> 'bob' GROUP BY 1, substr(api, 1, 0)",
    ),
    (
        "SELECT tenant AS g, {} FROM usage WHERE false GROUP BY 1",
        "SELECT api AS g, {} FROM usage WHERE false GROUP BY 1",
    ),
    (
        "SELECT tenant AS g, time, {} FROM usage GROUP BY 1, 2",
        "SELECT tenant || substr(api, 1, 0) AS g, time, {} FROM usage GROUP BY 1, 2",
    ),
    (
        "SELECT tenant AS g, {} FROM (SELECT * FROM usage UNION ALL SELECT * FROM usage) t GROUP BY 1",
        "SELECT tenant || substr(api, 1, 0) AS g, {} FROM (SELECT * FROM usage UNION ALL SELECT * FROM usage) t GROUP BY 1",
    ),
];

const AGGREGATES: &str = "count(*) AS n, count(cost_usd) AS priced, sum(cost_usd) AS usd, sum(input_tokens) AS tokens, \
    avg(input_tokens) AS mean, min(user_id) AS least, max(time) AS last, sum(requests) FILTER (WHERE user_id = 'alice') AS alice, \
    bool_or(stream) AS s, stddev(duration_ms) IS NULL AS none, approx_percentile_cont(duration_ms, 0.5) AS p";

#[tokio::test(flavor = "multi_thread")]
async fn runs_come_to_what_all_rows_come_to() {
    let tenants = ["acme", "globex", "initech"];
    let entries: Vec<_> = (1..400_u32)
        .map(|number| {
            let tenant = tenants[(number as usize * 7 + number as usize / 11) % 3];
            let user = if number.is_multiple_of(5) { "bob" } else { "alice" };
            match number % 13 {
                0 => unpriced(tenant, number),
                1 => charged(tenant, number, user, None, 0),
                _ => charged(tenant, number * 7, user, Some(u64::from(number)), i128::from(number) * 3),
            }
        })
        .collect();
    for shelved in [0, 150, entries.len()] {
        let world = World::new(&entries, shelved).await;
        for (by_runs, otherwise) in PAIRS {
            for caller in [everyone(), only(&["acme", "globex"])] {
                let of = async |sql: &str| {
                    let sql = format!("SELECT * FROM ({}) t ORDER BY 1, 2", sql.replace("{}", AGGREGATES));
                    world.ask(&caller, &sql).await.unwrap()
                };
                assert_eq!(of(by_runs).await, of(otherwise).await, "{by_runs} with {shelved} shelved");
            }
        }
    }
}
