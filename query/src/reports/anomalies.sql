-- Days that cost much more or less than the 28 days before them, those without use and cheap ones once they are over: by how many standard deviations. Statistics.
-- questions: 16
-- param by (dimensions) = tenant,model: What to group by, as in spend.
-- param least (number) = 3: How many standard deviations make an anomaly.
-- column day: The local day.
-- column by: One column for each dimension.
-- column cost_usd [USD]: What the day cost; none where nothing was used.
-- column mean_usd [USD, a statistic]: The mean of those of the 28 days before that have a price; days without use cost nothing, and are of them.
-- column score [a statistic]: How many standard deviations the day is from it; NULL if those days were all alike.
-- column unpriced_quantity [tokens or units]: What of the day has no price, and so is in no sum.
-- chart: bars cost_usd day by
WITH daily AS (
    SELECT date_trunc('day', time AT TIME ZONE $zone) AS day, $by:select, known_sum(cost_usd) AS cost_usd,
        coalesce(sum(quantity) FILTER (WHERE cost_usd IS NULL), 0) AS unpriced_quantity
    FROM charges WHERE time >= $from28 AND time < $to AND recorded_at < $as_of
    GROUP BY date_trunc('day', time AT TIME ZONE $zone), $by:group
), ten AS (
    SELECT column1 AS n FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))
), calendar AS (
    SELECT $first_day + a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS at FROM ten a CROSS JOIN ten b CROSS JOIN ten c CROSS JOIN ten d
), told AS (
    SELECT CAST(CAST(CAST(day AS DATE) AS INTEGER) AS BIGINT) AS at, $by:names, cost_usd, unpriced_quantity, 1 AS uses FROM daily
    UNION ALL
    SELECT c.at, $by:names, CAST(NULL AS DECIMAL(28, 12)), 0, 0
    FROM calendar c CROSS JOIN (SELECT DISTINCT $by:names FROM daily) WHERE c.at < $over_day
), filled AS (
    SELECT at, $by:names, CASE WHEN sum(uses) = 0 THEN 0 ELSE sum(cost_usd) END AS cost_usd, sum(unpriced_quantity) AS unpriced_quantity
    FROM told GROUP BY at, $by:names
), before AS (
    SELECT *, count(cost_usd) OVER w AS days, sum(cost_usd) OVER w AS total, min(cost_usd) OVER w AS least, max(cost_usd) OVER w AS most,
        sum(CAST(cost_usd AS DOUBLE) * CAST(cost_usd AS DOUBLE)) OVER w AS squares
    FROM filled WINDOW w AS (PARTITION BY $by:names ORDER BY at RANGE BETWEEN 28 PRECEDING AND 1 PRECEDING)
), scored AS (
    SELECT *, CASE WHEN least < most THEN CAST(days * cost_usd - total AS DOUBLE)
        / nullif(sqrt(greatest(days * squares - CAST(total AS DOUBLE) * CAST(total AS DOUBLE), 0)), 0) END AS score FROM before
)
SELECT to_char(CAST(CAST(at AS INTEGER) AS DATE), '%Y-%m-%d') AS day, $by:names, cost_usd, CAST(total AS DOUBLE) / days AS mean_usd, score,
    unpriced_quantity
FROM scored WHERE at >= $from_day AND (at < $over_day OR days * cost_usd > total)
    AND (abs(score) >= $least OR least = most AND cost_usd <> least)
ORDER BY at, abs(score) DESC NULLS FIRST, $by:names
