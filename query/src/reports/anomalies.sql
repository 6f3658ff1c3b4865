-- Days that cost much more or less than the 28 days before them: by how many standard deviations. Statistics.
-- questions: 16
-- param by (dimensions) = tenant,model: What to group by, as in spend.
-- param least (number) = 3: How many standard deviations make an anomaly.
-- column day: The local day.
-- column by: One column for each dimension.
-- column cost_usd [USD]: What the day cost.
-- column mean_usd [USD, a statistic]: The mean of the 28 days before; days without spend count as such.
-- column score [a statistic]: How many standard deviations the day is from it; NULL if those days were all alike.
-- column unpriced_quantity [tokens]: What of the day has no price, and so is in no sum.
-- chart: bars day cost_usd
WITH daily AS (
    SELECT date_trunc('day', time AT TIME ZONE $zone) AS at, $by:select, sum(cost_usd) AS cost_usd, coalesce(sum(quantity) FILTER (WHERE cost_usd IS NULL), 0) AS unpriced_quantity
    FROM charges WHERE time >= $from28 AND time < $to AND recorded_at < $as_of
    GROUP BY date_trunc('day', time AT TIME ZONE $zone), $by:group
), before AS (
    SELECT *, coalesce(sum(CAST(cost_usd AS DOUBLE)) OVER w, 0) / 28 AS mean,
        coalesce(sum(CAST(cost_usd AS DOUBLE) * CAST(cost_usd AS DOUBLE)) OVER w, 0) / 28 AS square
    FROM daily WINDOW w AS (PARTITION BY $by:names ORDER BY at RANGE BETWEEN INTERVAL '28 days' PRECEDING AND INTERVAL '1 day' PRECEDING)
), scored AS (
    SELECT *, (CAST(cost_usd AS DOUBLE) - mean) / nullif(sqrt(greatest(square - mean * mean, 0)), 0) AS score FROM before
)
SELECT to_char(at, '%Y-%m-%d') AS day, $by:names, cost_usd, mean AS mean_usd, score, unpriced_quantity FROM scored
WHERE at >= $from AND (abs(score) >= $least OR score IS NULL AND CAST(cost_usd AS DOUBLE) <> mean) ORDER BY at, abs(score) DESC NULLS FIRST, $by:names
