-- Spend by UTC day and everything that it is attributed to, corrections included. What has no price stands in rows of its own.
-- questions: 1 2 3
-- column day: The UTC day.
-- column tenant: The tenant.
-- column team: The team; NULL if the key names none.
-- column project: The project; NULL if the key names none.
-- column user_id: The user; NULL if the key names none.
-- column key_name: The key.
-- column provider: The provider.
-- column model: The model.
-- column service_tier: The service tier.
-- column region: The region.
-- column token_class: The class of tokens or units.
-- column quantity [tokens or units]: How many.
-- column requests: Attempts.
-- column cost_usd [USD]: What they cost; NULL if they have none.
-- column list_cost_usd [USD]: The same at list price.
-- column unpriced_quantity [tokens or units]: As many, if they have no price; else none.
SELECT date_trunc('day', time) AS day, tenant, team, project, user_id, key_name, provider, model, service_tier, region,
    token_class, sum(quantity) AS quantity, sum(requests) AS requests, sum(cost_usd) AS cost_usd,
    sum(list_cost_usd) AS list_cost_usd, coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges
GROUP BY date_trunc('day', time), tenant, team, project, user_id, key_name, provider, model, service_tier, region, token_class, cost_usd IS NULL
