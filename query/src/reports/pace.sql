-- This month so far against the last one up to the same time of the month, and the whole of it.
-- questions: 4
-- param by (dimensions) = tenant: What to group by, as in spend.
-- column by: One column for each dimension.
-- column month_usd [USD]: This month so far; NULL if something was used and none of it has a price.
-- column same_point_usd [USD]: What the last month had cost as long after its beginning; NULL if something was used by then and none of it has a price.
-- column change_usd [USD]: The one less the other.
-- column last_month_usd [USD]: The whole last month; NULL if something was used and none of it has a price.
-- column unpriced_quantity [tokens or units]: What has no price, in both months.
-- chart: bars month_usd by
WITH spent AS (
    SELECT $by:select, known_sum(cost_usd WHERE time >= $month) AS now_usd, known_sum(cost_usd WHERE time < $month) AS last_usd,
        known_sum(cost_usd WHERE time < $same_point) AS point_usd,
        coalesce(sum(CASE WHEN time < $same_point AND cost_usd IS NULL THEN quantity END), 0) AS point_unpriced,
        coalesce(sum(CASE WHEN time >= $month AND cost_usd IS NULL THEN quantity END), 0) AS now_unpriced,
        coalesce(sum(CASE WHEN time < $month AND cost_usd IS NULL THEN quantity END), 0) AS last_unpriced
    FROM charges WHERE time >= $last_month AND time < $now AND recorded_at < $as_of GROUP BY $by:group
), known AS (
    SELECT $by:names, CASE WHEN now_usd IS NOT NULL OR now_unpriced = 0 THEN coalesce(now_usd, 0) END AS month_usd,
        CASE WHEN point_usd IS NOT NULL OR point_unpriced = 0 THEN coalesce(point_usd, 0) END AS same_point_usd,
        CASE WHEN last_usd IS NOT NULL OR last_unpriced = 0 THEN coalesce(last_usd, 0) END AS last_month_usd,
        now_unpriced + last_unpriced AS unpriced_quantity
    FROM spent
)
SELECT $by:names, month_usd, same_point_usd, month_usd - same_point_usd AS change_usd, last_month_usd, unpriced_quantity
FROM known ORDER BY month_usd DESC NULLS LAST, $by:names
