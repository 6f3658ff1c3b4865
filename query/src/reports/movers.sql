-- Who spends most, and who spends more or less than in the period of the same length before.
-- questions: 3
-- param by (dimensions) = tenant: What to group by, as in spend.
-- param top (number) = 20: How many.
-- column by: One column for each dimension.
-- column cost_usd [USD]: What it cost.
-- column before_usd [USD]: What it cost in the period before.
-- column change_usd [USD]: The one less the other.
-- column share [a statistic]: Of all cost.
-- column unpriced_quantity [tokens]: What has no price, in both periods.
-- chart: bars by change_usd
WITH spent AS (
    SELECT $by:select, coalesce(sum(CASE WHEN time >= $from THEN cost_usd END), 0) AS cost_usd,
        coalesce(sum(CASE WHEN time < $from THEN cost_usd END), 0) AS before_usd,
        coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
    FROM charges WHERE time >= $before AND time < $to AND recorded_at < $as_of GROUP BY $by:group
)
SELECT $by:names, cost_usd, before_usd, cost_usd - before_usd AS change_usd,
    CAST(cost_usd AS DOUBLE) / nullif(CAST(sum(cost_usd) OVER () AS DOUBLE), 0) AS share, unpriced_quantity
FROM spent ORDER BY abs(cost_usd - before_usd) DESC, $by:names LIMIT $top
