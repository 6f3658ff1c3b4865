-- What answers from Tollgate's own cache saved, by the prices of the time.
-- questions: 9
-- column tenant: The tenant.
-- column model: The model whose answer was given again.
-- column hits: Answers from the cache.
-- column asked: Attempts at the provider, whatever came of them.
-- column avoided_usd [USD]: What the hits would have cost; NULL if nobody knows of any.
-- column unknown_hits: Hits of which nobody knows what they would have cost.
-- chart: bars avoided_usd tenant model
SELECT tenant, model, count(CASE WHEN cache_hit THEN 1 END) AS hits, coalesce(sum(CASE WHEN NOT cache_hit THEN requests END), 0) AS asked,
    sum(CASE WHEN cache_hit THEN avoided_cost_usd END) AS avoided_usd,
    count(CASE WHEN cache_hit AND avoided_cost_usd IS NULL THEN 1 END) AS unknown_hits
FROM usage WHERE time >= $from AND time < $to AND recorded_at < $as_of
GROUP BY tenant, model HAVING count(CASE WHEN cache_hit THEN 1 END) > 0 ORDER BY avoided_usd DESC NULLS LAST, tenant, model
