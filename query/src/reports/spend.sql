-- Cost, tokens and requests by whatever they are attributed to, over time, in any time zone.
-- questions: 1 2
-- param by (dimensions) = tenant: What to group by: columns such as team, user_id, key_name, model, provider, token_class, and tags as tag:NAME.
-- param grain (grain) = day: hour, day, week, month or total.
-- column period: The local time at which the period begins.
-- column by: One column for each dimension.
-- column cost_usd [USD]: What it cost; NULL if none of it has a price.
-- column share [a statistic]: Of the cost of that period.
-- column requests: Attempts.
-- column tokens [tokens or units]: All of them; searches, guarded calls and sessions by their number (by token_class they are told apart).
-- column unpriced_quantity [tokens or units]: What has no price, and so is in no cost.
-- chart: lines period cost_usd by
WITH spent AS (
    SELECT $grain:time AS at, $by:select, known_sum(cost_usd) AS cost_usd, sum(requests) AS requests,
        sum(quantity) AS tokens,
        coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
    FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of
    GROUP BY $grain:time, $by:group
)
SELECT to_char(at, $grain:format) AS period, $by:names, cost_usd,
    CAST(cost_usd AS DOUBLE) / nullif(CAST(sum(cost_usd) OVER (PARTITION BY at) AS DOUBLE), 0) AS share,
    requests, tokens, unpriced_quantity
FROM spent ORDER BY at, cost_usd DESC NULLS LAST, $by:names
