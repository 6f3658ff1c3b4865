-- A statement of a month for each tenant, or for each of its cost centres: its own spend, and its part of shared costs with how that was split.
-- questions: 17
-- param by (owners) = tenant: Who it is charged to: tenant, team, project, user_id, key_name, and tags as tag:NAME.
-- column by: One column for each of them; NULL for what is not split.
-- column item: own use, or the name of the shared cost.
-- column method: How it was split: none, fixed (by the imported share), proportional (by own cost), even (alike among tenants with use); within a tenant always by own cost. not split is what is left: of a month without use, and of fixed shares that are not the whole, less than none where they are more.
-- column cost_usd [USD]: The part; the parts of a cost add up to all of it. NULL if nobody knows.
-- column unpriced_quantity [tokens or units]: Own use that has no price, and so is in no cost.
-- chart: bars cost_usd by item
WITH own AS (
    SELECT $by:select, CAST(known_sum(cost_usd) AS DECIMAL(38, 12)) AS cost_usd, coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced
    FROM charges WHERE billing_period = $month_name GROUP BY $by:group
), parts AS (
    SELECT $by:select, name, CASE WHEN tenant IS NULL THEN 'not split' ELSE method END AS method, sum(cost_usd) AS cost_usd
    FROM shared_cost_parts WHERE period = $month_name GROUP BY $by:group, name, CASE WHEN tenant IS NULL THEN 'not split' ELSE method END
)
SELECT $by:names, 'own use' AS item, 'none' AS method, cost_usd, unpriced AS unpriced_quantity FROM own
UNION ALL
SELECT $by:names, name, method, cost_usd, 0 FROM parts
ORDER BY $by:names, item, method
