-- What dashboards ask of a month, as BI tools write it; answered by rollups. `:tenant` stands for one that has many calls.

-- one tenant: spend by day
SELECT date_trunc('day', time) AS day, sum(cost_usd) AS cost_usd, sum(requests) AS requests
FROM usage WHERE tenant = ':tenant' GROUP BY 1 ORDER BY 1;

-- one tenant: spend by model and day
SELECT date_trunc('day', time) AS day, model, sum(cost_usd) AS cost_usd
FROM usage WHERE tenant = ':tenant' GROUP BY 1, 2 ORDER BY 1, 2;

-- one tenant: a week of tokens by hour
SELECT date_trunc('hour', time) AS hour, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM usage WHERE tenant = ':tenant' AND time >= TIMESTAMP '2026-09-21T00:00:00Z' AND time < TIMESTAMP '2026-09-28T00:00:00Z'
GROUP BY 1 ORDER BY 1;

-- one tenant: slowest models
SELECT model, approx_percentile_cont(duration_ms, 0.95) AS p95, count(*) AS calls
FROM usage WHERE tenant = ':tenant' GROUP BY 1 ORDER BY 2 DESC LIMIT 10;

-- one tenant: spend by environment
SELECT tag('env') AS env, sum(cost_usd) AS cost_usd FROM usage WHERE tenant = ':tenant' GROUP BY 1 ORDER BY 2 DESC NULLS LAST;

-- all tenants: spend by day
SELECT date_trunc('day', time) AS day, sum(cost_usd) AS cost_usd, sum(requests) AS requests FROM usage GROUP BY 1 ORDER BY 1;

-- all tenants: the twenty that spend most
SELECT tenant, sum(cost_usd) AS cost_usd FROM usage GROUP BY 1 ORDER BY 2 DESC NULLS LAST LIMIT 20;

-- all tenants: failures by day
SELECT date_trunc('day', time) AS day, count(*) FILTER (WHERE outcome <> 'complete') AS failed, count(*) AS calls
FROM usage GROUP BY 1 ORDER BY 1;

-- all tenants: spend by model
SELECT model, sum(cost_usd) AS cost_usd FROM usage GROUP BY 1 ORDER BY 2 DESC NULLS LAST;

-- all tenants: spend by environment
SELECT tag('env') AS env, sum(cost_usd) AS cost_usd FROM usage GROUP BY 1 ORDER BY 2 DESC NULLS LAST;
