-- Who spends most, and who spends more or less than in the period of the same length before, or, while it lasts, than in as much of that.
-- questions: 3
-- param by (dimensions) = tenant: What to group by, as in spend.
-- param top (count) = 20: How many of those who spend most, and of those whose spend changed most.
-- column by: One column for each dimension.
-- column cost_usd [USD]: What it cost; NULL if something was used and none of it has a price.
-- column before_usd [USD]: The same of the period before, of one that is not over in as much of it.
-- column change_usd [USD]: The one less the other.
-- column share [a statistic]: Of all cost.
-- column unpriced_quantity [tokens or units]: What has no price, in both periods.
-- chart: bars change_usd by
WITH spent AS (
    SELECT $by:select, known_sum(cost_usd WHERE time >= $from) AS now_usd, known_sum(cost_usd WHERE time < $from) AS then_usd,
        coalesce(sum(CASE WHEN time >= $from AND cost_usd IS NULL THEN quantity END), 0) AS now_unpriced,
        coalesce(sum(CASE WHEN time < $from AND cost_usd IS NULL THEN quantity END), 0) AS then_unpriced
    FROM charges WHERE time >= $before AND time < $to AND recorded_at < $as_of $so_far GROUP BY $by:group
), known AS (
    SELECT $by:names, CASE WHEN now_usd IS NOT NULL OR now_unpriced = 0 THEN coalesce(now_usd, 0) END AS cost_usd,
        CASE WHEN then_usd IS NOT NULL OR then_unpriced = 0 THEN coalesce(then_usd, 0) END AS before_usd,
        now_unpriced + then_unpriced AS unpriced_quantity
    FROM spent
), placed AS (
    SELECT *, CAST(cost_usd AS DOUBLE) / nullif(CAST(sum(cost_usd) OVER () AS DOUBLE), 0) AS share,
        row_number() OVER (ORDER BY cost_usd DESC NULLS LAST, $by:names) AS spender,
        row_number() OVER (ORDER BY abs(cost_usd - before_usd) DESC NULLS LAST, $by:names) AS mover
    FROM known
)
SELECT $by:names, cost_usd, before_usd, cost_usd - before_usd AS change_usd, share, unpriced_quantity
FROM placed WHERE spender <= $top OR mover <= $top ORDER BY mover
