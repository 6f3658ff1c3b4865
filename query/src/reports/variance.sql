-- Why the period cost more or less than the one of the same length before, or, while it lasts, than as much of that: prices, volume, or mix. The three add up to the change.
-- questions: 24
-- column tenant: The tenant.
-- column before_usd [USD]: What the period before cost, of one that is not over in as much of it; NULL if none of it has a price.
-- column cost_usd [USD]: What the period cost; NULL if none of it has a price.
-- column change_usd [USD]: The one less the other.
-- column price_usd [USD, a statistic]: Of it, because what was used in both periods had other prices.
-- column volume_usd [USD, a statistic]: Of it, because more or fewer tokens were used, at the blended price of the period before.
-- column mix_usd [USD, a statistic]: Of it, the rest: because other models and classes were used than before.
-- column unpriced_quantity [tokens or units]: What has no price, in both periods, and so is in no sum.
-- chart: bars change_usd tenant
WITH items AS (
    SELECT tenant, provider, model, token_class,
        coalesce(sum(quantity) FILTER (WHERE time >= $from AND cost_usd IS NOT NULL), 0) AS q1,
        coalesce(sum(quantity) FILTER (WHERE time < $from AND cost_usd IS NOT NULL), 0) AS q0,
        sum(cost_usd) FILTER (WHERE time >= $from) AS c1, sum(cost_usd) FILTER (WHERE time < $from) AS c0,
        count(*) FILTER (WHERE time >= $from) AS n1, count(*) FILTER (WHERE time < $from) AS n0,
        coalesce(sum(quantity) FILTER (WHERE time >= $from AND cost_usd IS NULL), 0) AS u1,
        coalesce(sum(quantity) FILTER (WHERE time < $from AND cost_usd IS NULL), 0) AS u0
    FROM charges WHERE time >= $before AND time < $to AND recorded_at < $as_of $so_far GROUP BY tenant, provider, model, token_class
), summed AS (
    SELECT tenant, CASE WHEN sum(n0) = 0 THEN 0 WHEN sum(c0) = 0 AND sum(q0) = 0 AND sum(u0) <> 0 THEN NULL ELSE sum(c0) END AS before_usd,
        CASE WHEN sum(n1) = 0 THEN 0 WHEN sum(c1) = 0 AND sum(q1) = 0 AND sum(u1) <> 0 THEN NULL ELSE sum(c1) END AS cost_usd,
        sum(u0) + sum(u1) AS unpriced_quantity,
        sum(CASE WHEN q0 > 0 AND q1 > 0 THEN c1 - CAST(CAST(c0 AS DOUBLE) * q1 / q0 AS DECIMAL(28, 12)) ELSE 0 END) AS price,
        coalesce(CAST(CAST(sum(c0) AS DOUBLE) * (sum(q1) - sum(q0)) / nullif(sum(q0), 0) AS DECIMAL(28, 12)), 0) AS volume
    FROM items GROUP BY tenant
), known AS (SELECT *, cost_usd - before_usd AS change_usd FROM summed)
SELECT tenant, before_usd, cost_usd, change_usd, CASE WHEN change_usd IS NOT NULL THEN price END AS price_usd,
    CASE WHEN change_usd IS NOT NULL THEN volume END AS volume_usd, change_usd - price - volume AS mix_usd, unpriced_quantity
FROM known ORDER BY abs(change_usd) DESC NULLS LAST, tenant
