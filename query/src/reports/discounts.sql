-- What is paid against list price.
-- questions: 22
-- column provider: The provider.
-- column model: The model.
-- column list_usd [USD]: What it would have cost at list price, that of the built-in price book; NULL, like what follows, if none of it has one.
-- column cost_usd [USD]: What that cost.
-- column saved_usd [USD]: The one less the other.
-- column savings_rate [a statistic]: Saved of list.
-- column unlisted_usd [USD]: What cost something for which the built-in book has no price, and so is in none of these; NULL if there is none.
-- column unpriced_quantity [tokens or units]: What has no price, and so is in no sum.
-- chart: bars saved_usd|cost_usd provider model
WITH priced AS (
    SELECT provider, model, known_sum(list_cost_usd) AS list_usd, known_sum(cost_usd WHERE list_cost_usd IS NOT NULL) AS paid_usd,
        known_sum(cost_usd WHERE list_cost_usd IS NULL) AS unlisted_usd,
        coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
    FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of GROUP BY provider, model
), beside AS (SELECT *, CASE WHEN list_usd IS NOT NULL THEN paid_usd END AS cost_usd FROM priced)
SELECT provider, model, list_usd, cost_usd, list_usd - cost_usd AS saved_usd,
    CAST(list_usd - cost_usd AS DOUBLE) / nullif(CAST(list_usd AS DOUBLE), 0) AS savings_rate, unlisted_usd, unpriced_quantity
FROM beside ORDER BY saved_usd DESC NULLS LAST, provider, model
