-- Why the period cost more or less than the one of the same length before: prices, volume, or mix. The three add up to the change.
-- questions: 24
-- column tenant: The tenant.
-- column before_usd [USD]: What the period before cost.
-- column cost_usd [USD]: What the period cost.
-- column change_usd [USD]: The one less the other.
-- column price_usd [USD]: Of it, because what was used in both periods had other prices.
-- column volume_usd [USD]: Of it, because more or fewer tokens were used, at the blended price of the period before.
-- column mix_usd [USD]: Of it, the rest: because other models and classes were used than before.
-- column unpriced_quantity [tokens]: What has no price, in both periods, and so is in no sum.
-- chart: bars tenant change_usd
WITH items AS (
    SELECT tenant, provider, model, token_class,
        coalesce(sum(CASE WHEN time >= $from AND cost_usd IS NOT NULL THEN quantity END), 0) AS q1,
        coalesce(sum(CASE WHEN time < $from AND cost_usd IS NOT NULL THEN quantity END), 0) AS q0,
        coalesce(sum(CASE WHEN time >= $from THEN cost_usd END), 0) AS c1, coalesce(sum(CASE WHEN time < $from THEN cost_usd END), 0) AS c0,
        coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced
    FROM charges WHERE time >= $before AND time < $to AND recorded_at < $as_of GROUP BY tenant, provider, model, token_class
), summed AS (
    SELECT tenant, sum(c0) AS before_usd, sum(c1) AS cost_usd, sum(unpriced) AS unpriced_quantity,
        sum(CASE WHEN q0 > 0 AND q1 > 0 THEN c1 - CAST(CAST(c0 AS DOUBLE) * q1 / q0 AS DECIMAL(28, 12)) ELSE 0 END) AS price_usd,
        coalesce(CAST(CAST(sum(c0) AS DOUBLE) * (sum(q1) - sum(q0)) / nullif(sum(q0), 0) AS DECIMAL(28, 12)), 0) AS volume_usd
    FROM items GROUP BY tenant
)
SELECT tenant, before_usd, cost_usd, cost_usd - before_usd AS change_usd, price_usd, volume_usd,
    cost_usd - before_usd - price_usd - volume_usd AS mix_usd, unpriced_quantity
FROM summed ORDER BY abs(cost_usd - before_usd) DESC, tenant
