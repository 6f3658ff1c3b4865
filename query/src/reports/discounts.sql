-- What is paid against list price.
-- questions: 22
-- column provider: The provider.
-- column model: The model.
-- column list_usd [USD]: What it would have cost at list price; NULL, like what follows, if none of it has a price.
-- column cost_usd [USD]: What it cost.
-- column saved_usd [USD]: The one less the other.
-- column savings_rate [a statistic]: Saved of list.
-- column unpriced_quantity [tokens]: What has no price, and so is in no sum.
-- chart: bars model saved_usd
SELECT provider, model, sum(list_cost_usd) AS list_usd, sum(cost_usd) AS cost_usd,
    sum(list_cost_usd) - sum(cost_usd) AS saved_usd,
    CAST(sum(list_cost_usd) - sum(cost_usd) AS DOUBLE) / nullif(CAST(sum(list_cost_usd) AS DOUBLE), 0) AS savings_rate,
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of GROUP BY provider, model ORDER BY saved_usd DESC NULLS LAST, provider, model
