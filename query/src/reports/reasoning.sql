-- How much of the output is reasoning, and what that cost at the price, as it stands now, of the output that it is part of.
-- questions: 12
-- column tenant: The tenant.
-- column model: The model.
-- column output_tokens [tokens]: All output.
-- column reasoning_tokens [tokens]: The part that is reasoning.
-- column share [a statistic]: The one by the other.
-- column reasoning_usd [USD]: What the reasoning cost; NULL if none of it has a price.
-- column unpriced_tokens [tokens]: Reasoning that has no price.
-- chart: bars reasoning_usd tenant model
WITH priced AS (
    SELECT u.tenant, u.model, u.output_tokens, u.reasoning_tokens, u.reasoning_tokens * c.price * 0.000001 AS usd
    FROM usage u LEFT JOIN (
        SELECT call_id, attempt, time, max(price) AS price FROM (
            SELECT call_id, attempt, time, price_per_mtok_usd AS price FROM charges WHERE token_class = 'output'
            GROUP BY call_id, attempt, time, price_per_mtok_usd HAVING sum(quantity) <> 0
        ) GROUP BY call_id, attempt, time
    ) c ON c.call_id = u.call_id AND c.attempt = u.attempt AND c.time = u.time
    WHERE u.time >= $from AND u.time < $to AND u.output_tokens > 0
)
SELECT tenant, model, sum(output_tokens) AS output_tokens, sum(reasoning_tokens) AS reasoning_tokens,
    CAST(sum(reasoning_tokens) AS DOUBLE) / nullif(sum(output_tokens), 0) AS share, sum(usd) AS reasoning_usd,
    coalesce(sum(CASE WHEN usd IS NULL THEN reasoning_tokens END), 0) AS unpriced_tokens
FROM priced GROUP BY tenant, model ORDER BY reasoning_usd DESC NULLS LAST, tenant, model
