-- What is in no cost, or not surely in full, by UTC day: tokens without a price, and attempts whose usage is not exactly known.
-- questions: 30
-- column day: The UTC day.
-- column tenant: The tenant.
-- column provider: The provider.
-- column model: The model.
-- column token_class: The class; NULL where the usage is not known.
-- column reason: Why: that of `charges.unpriced_reason`, or usage_missing, usage_lower_bound, usage_estimated.
-- column quantity [tokens or units]: How many; NULL where nobody knows.
-- column attempts: How many attempts.
SELECT date_trunc('day', time) AS day, tenant, provider, model, token_class, unpriced_reason AS reason,
    sum(quantity) AS quantity, count(*) AS attempts
FROM (
    SELECT call_id, attempt, time, tenant, provider, model, token_class, unpriced_reason, sum(quantity) AS quantity
    FROM charges WHERE cost_usd IS NULL
    GROUP BY call_id, attempt, time, tenant, provider, model, token_class, unpriced_reason HAVING sum(quantity) <> 0
) GROUP BY date_trunc('day', time), tenant, provider, model, token_class, unpriced_reason
UNION ALL
SELECT date_trunc('day', time), tenant, provider, model, NULL, 'usage_' || completeness, NULL, count(*)
FROM attempts WHERE NOT is_whole
GROUP BY date_trunc('day', time), tenant, provider, model, completeness
