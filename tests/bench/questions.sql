-- The ten questions of BENCHMARKS.md, as raw SQL over `usage` and `prices`. `:tenant`, `:call` and the times stand for values that the
-- script puts in. Where DuckDB writes it otherwise its text follows, under the same name.

-- cost by tenant, model and day
SELECT tenant, model, date_trunc('day', time) AS day, sum(cost_usd) AS cost_usd, sum(requests) AS requests
FROM usage GROUP BY tenant, model, day;

-- a week of one tenant by hour
SELECT project, model, date_trunc('hour', time) AS hour, sum(cost_usd) AS cost_usd, sum(output_tokens) AS output_tokens
FROM usage
WHERE tenant = ':tenant' AND time >= TIMESTAMP '2026-09-21T00:00:00Z' AND time < TIMESTAMP '2026-09-28T00:00:00Z'
GROUP BY project, model, hour;
-- duckdb
SELECT project, model, date_trunc('hour', time) AS hour, sum(cost_usd) AS cost_usd, sum(output_tokens) AS output_tokens
FROM usage
WHERE tenant = ':tenant' AND time >= TIMESTAMPTZ '2026-09-21T00:00:00Z' AND time < TIMESTAMPTZ '2026-09-28T00:00:00Z'
GROUP BY project, model, hour;

-- top twenty with their share
SELECT tenant, cost_usd, cast(cost_usd AS DOUBLE) / cast(sum(cost_usd) OVER () AS DOUBLE) AS share
FROM (SELECT tenant, sum(cost_usd) AS cost_usd FROM usage GROUP BY tenant)
ORDER BY cost_usd DESC NULLS LAST LIMIT 20;

-- distinct users and what one costs
SELECT tenant, count(DISTINCT user_id) AS users, cast(sum(cost_usd) AS DOUBLE) / count(DISTINCT user_id) AS per_user
FROM usage GROUP BY tenant;

-- latency percentiles by model (approximate)
SELECT model, approx_percentile_cont(duration_ms, 0.5) AS p50, approx_percentile_cont(duration_ms, 0.95) AS p95,
       approx_percentile_cont(duration_ms, 0.99) AS p99
FROM usage GROUP BY model;
-- duckdb
SELECT model, approx_quantile(duration_ms, 0.5) AS p50, approx_quantile(duration_ms, 0.95) AS p95,
       approx_quantile(duration_ms, 0.99) AS p99
FROM usage GROUP BY model;

-- one call by its id
SELECT * FROM usage WHERE call_id = ':call';

-- the month at the prices of a book
SELECT tenant, sum((u.input_tokens - u.cache_read_tokens - u.cache_write_tokens) * b.input + u.cache_read_tokens * b.cache_read
                   + u.cache_write_tokens * b.cache_write + u.output_tokens * b.output) / 1000000 AS rated_usd,
       sum(u.cost_usd) AS cost_usd
FROM usage u JOIN (
  SELECT provider, model, valid_from, valid_to,
         max(CASE WHEN token_class = 'input' THEN price_per_mtok_usd END) AS input,
         max(CASE WHEN token_class = 'cache_read' THEN price_per_mtok_usd END) AS cache_read,
         max(CASE WHEN token_class = 'cache_write_5m' THEN price_per_mtok_usd END) AS cache_write,
         max(CASE WHEN token_class = 'output' THEN price_per_mtok_usd END) AS output
  FROM prices GROUP BY 1, 2, 3, 4
) b ON u.provider = b.provider AND u.model = b.model AND u.time >= b.valid_from AND (u.time < b.valid_to OR b.valid_to IS NULL)
GROUP BY tenant;

-- month over month by tag
SELECT tag('cost_center') AS cost_center,
       sum(CASE WHEN time < TIMESTAMP '2026-10-01T00:00:00Z' THEN cost_usd END) AS september,
       sum(CASE WHEN time >= TIMESTAMP '2026-10-01T00:00:00Z' THEN cost_usd END) AS october
FROM usage GROUP BY 1;
-- duckdb
SELECT tags ->> '$.cost_center' AS cost_center,
       sum(CASE WHEN time < TIMESTAMPTZ '2026-10-01T00:00:00Z' THEN cost_usd END) AS september,
       sum(CASE WHEN time >= TIMESTAMPTZ '2026-10-01T00:00:00Z' THEN cost_usd END) AS october
FROM usage GROUP BY 1;

-- the month burnt down by hour
SELECT hour, cost_usd, sum(cost_usd) OVER (ORDER BY hour) AS so_far
FROM (SELECT date_trunc('hour', time) AS hour, sum(cost_usd) AS cost_usd FROM usage GROUP BY 1);

-- daily anomaly over the week before
SELECT tenant, day, cost_usd,
       (cost_usd - avg(cost_usd) OVER w) / nullif(stddev(cost_usd) OVER w, 0) AS score
FROM (SELECT tenant, date_trunc('day', time) AS day, cast(sum(cost_usd) AS DOUBLE) AS cost_usd FROM usage GROUP BY 1, 2)
WINDOW w AS (PARTITION BY tenant ORDER BY day ROWS BETWEEN 7 PRECEDING AND 1 PRECEDING);
