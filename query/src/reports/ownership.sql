-- Spend under the owners that keys had at the call, and under those that they have now.
-- questions: 19
-- column tenant: The tenant.
-- column team: The team; NULL for none.
-- column as_was_usd [USD]: What the calls cost that were made under it; NULL if none of it has a price.
-- column as_is_usd [USD]: What the calls cost of the keys that are its now; NULL if none of it has a price.
-- column unpriced_quantity [tokens or units]: What has no price, of either.
-- chart: bars as_is_usd tenant team
SELECT tenant, team, CASE WHEN sum(of_was) = 0 THEN 0 ELSE sum(was) END AS as_was_usd, CASE WHEN sum(of_was) = count(*) THEN 0 ELSE sum(is_now) END AS as_is_usd, sum(unpriced) AS unpriced_quantity FROM (
    SELECT tenant, team_was AS team, cost_usd AS was, CAST(NULL AS DECIMAL(28, 12)) AS is_now, unpriced_quantity AS unpriced, 1 AS of_was FROM ownership WHERE day >= $from AND day < $to
    UNION ALL
    SELECT tenant, CASE WHEN key_exists THEN team_is ELSE team_was END, CAST(NULL AS DECIMAL(28, 12)), cost_usd, 0, 0 FROM ownership WHERE day >= $from AND day < $to
) GROUP BY tenant, team ORDER BY tenant, team
