-- This month so far against the last one up to the same time of the month, and the whole of it.
-- questions: 4
-- param by (dimensions) = tenant: What to group by, as in spend.
-- column by: One column for each dimension.
-- column month_usd [USD]: This month so far.
-- column same_point_usd [USD]: The last month, up to as long after its beginning.
-- column change_usd [USD]: The one less the other.
-- column last_month_usd [USD]: The whole last month.
-- column unpriced_quantity [tokens]: What has no price, in both months.
-- chart: bars by month_usd
SELECT $by:select, coalesce(sum(CASE WHEN time >= $month THEN cost_usd END), 0) AS month_usd,
    coalesce(sum(CASE WHEN time < $same_point THEN cost_usd END), 0) AS same_point_usd,
    coalesce(sum(CASE WHEN time >= $month THEN cost_usd END), 0) - coalesce(sum(CASE WHEN time < $same_point THEN cost_usd END), 0) AS change_usd,
    coalesce(sum(CASE WHEN time < $month THEN cost_usd END), 0) AS last_month_usd,
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges WHERE time >= $last_month AND time < $now AND recorded_at < $as_of
GROUP BY $by:group ORDER BY month_usd DESC, $by:names
