-- A statement for each tenant of a month: its own spend, and its part of shared costs with how that was split.
-- questions: 17
-- column tenant: Who it is charged to.
-- column item: own use, or the name of the shared cost.
-- column method: How it was split: none, fixed (by the imported share), proportional (by own cost), even (alike among those with own cost).
-- column cost_usd [USD]: The part; NULL if none of the use that it goes by has a price. Shares are rounded to twelve decimals, so those of a cost may add up to a little less or more.
-- column unpriced_quantity [tokens]: Own use that has no price, and so is in no cost.
-- chart: bars tenant cost_usd
WITH own AS (
    SELECT tenant, sum(cost_usd) AS cost_usd, coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced
    FROM charges WHERE billing_period = $month_name AND recorded_at < $as_of GROUP BY tenant
), shares AS (
    SELECT tenant, CAST(cost_usd AS DOUBLE) / nullif(CAST(sum(cost_usd) OVER () AS DOUBLE), 0) AS proportional, CAST(1 AS DOUBLE) / count(*) OVER () AS even FROM own
)
SELECT tenant, 'own use' AS item, 'none' AS method, CAST(cost_usd AS DECIMAL(38, 12)) AS cost_usd, unpriced AS unpriced_quantity FROM own
UNION ALL
SELECT s.tenant, c.name, c.method, CAST(c.cost_usd * CAST(CASE c.method WHEN 'even' THEN s.even ELSE s.proportional END AS DECIMAL(20, 12)) AS DECIMAL(38, 12)), 0
FROM shared_costs c CROSS JOIN shares s WHERE c.period = $month_name AND c.method IN ('even', 'proportional')
UNION ALL
SELECT tenant, name, method, CAST(cost_usd * CAST(share AS DECIMAL(20, 12)) AS DECIMAL(38, 12)), 0
FROM shared_costs WHERE period = $month_name AND method = 'fixed'
ORDER BY tenant, item
