-- What the month will come to: what is spent, and for the days that are left the mean of the last 28 days, with an interval. Statistics.
-- questions: 15
-- param by (dimensions) = tenant: What to group by, as in spend.
-- column by: One column for each dimension.
-- column spent_usd [USD]: What this month cost so far; NULL if none of it has a price.
-- column daily_usd [USD, a statistic]: The mean of the 28 days before today; days without spend count as such. NULL, like what follows, if something was used in them and none of it has a price.
-- column forecast_usd [USD, a statistic]: What the month will come to.
-- column low_usd [USD, a statistic]: 95 of 100 months end above this, if days are independent and alike.
-- column high_usd [USD, a statistic]: 95 of 100 months end below this.
-- column unpriced_quantity [tokens or units]: What has no price, and so is in no sum.
-- chart: bars forecast_usd by
WITH daily AS (
    SELECT date_trunc('day', time AT TIME ZONE $zone) AS day, $by:select, known_sum(cost_usd) AS usd,
        coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced,
        known_sum(cost_usd WHERE time >= $month) AS of_month, count(*) FILTER (WHERE time >= $month) AS in_month
    FROM charges WHERE time >= $days28 AND time < $now AND recorded_at < $as_of OR time >= $month AND time < $now AND recorded_at < $as_of
    GROUP BY date_trunc('day', time AT TIME ZONE $zone), $by:group
), summed AS (
    SELECT $by:names, CASE WHEN sum(in_month) = 0 THEN 0 ELSE sum(of_month) END AS spent_usd, sum(unpriced) AS unpriced_quantity,
        CASE WHEN count(*) FILTER (WHERE day >= $days28 AND day < $today) = 0 THEN 0
            ELSE sum(CASE WHEN day >= $days28 AND day < $today THEN CAST(usd AS DOUBLE) END) / 28 END AS mean,
        CASE WHEN count(*) FILTER (WHERE day >= $days28 AND day < $today) = 0 THEN 0
            ELSE sum(CASE WHEN day >= $days28 AND day < $today THEN CAST(usd AS DOUBLE) * CAST(usd AS DOUBLE) END) / 28 END AS square
    FROM daily GROUP BY $by:names
)
SELECT $by:names, spent_usd, mean AS daily_usd, CAST(spent_usd AS DOUBLE) + mean * $days_left AS forecast_usd,
    CASE WHEN mean IS NOT NULL THEN
        CAST(spent_usd AS DOUBLE) + greatest(mean * $days_left - 1.645 * sqrt(greatest(square - mean * mean, 0) * $days_left), 0) END AS low_usd,
    CAST(spent_usd AS DOUBLE) + mean * $days_left + 1.645 * sqrt(greatest(square - mean * mean, 0) * $days_left) AS high_usd, unpriced_quantity
FROM summed ORDER BY forecast_usd DESC NULLS LAST, $by:names
