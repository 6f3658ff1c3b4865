-- What failures, retries, fallbacks and broken streams cost.
-- questions: 10
-- column tenant: The tenant.
-- column kind: answered (to the end; of an ensemble each of its members), retried (it was not, and another attempt followed), broken_off (the client left, or it was cut), or failed (no answer came of it).
-- column outcome: How the attempt ended.
-- column attempts: How many.
-- column cost_usd [USD]: What they cost, with corrections; NULL if nobody knows of any.
-- column unknown_attempts: Of how many nobody knows what they cost, or all of it.
-- column share [a statistic]: Of all cost of the tenant.
-- chart: bars cost_usd tenant kind outcome
WITH sorted AS (
    SELECT a.time, a.tenant, a.outcome, a.requests, a.cost_usd, a.is_whole, CASE WHEN a.outcome = 'complete' THEN 'answered'
            WHEN a.attempt < max(a.attempt) OVER (PARTITION BY a.call_id) THEN 'retried' WHEN a.outcome IN ('client_gone', 'cut') THEN 'broken_off' ELSE 'failed' END AS kind
    FROM attempts a WHERE time >= $from AND time < $to + INTERVAL '1 day'
), summed AS (
    SELECT tenant, kind, outcome, sum(requests) AS attempts, sum(cost_usd) AS cost_usd,
        count(CASE WHEN cost_usd IS NULL OR NOT is_whole THEN 1 END) AS unknown_attempts
    FROM sorted WHERE time < $to GROUP BY tenant, kind, outcome
)
SELECT tenant, kind, outcome, attempts, cost_usd, unknown_attempts,
    CAST(cost_usd AS DOUBLE) / nullif(CAST(sum(cost_usd) OVER (PARTITION BY tenant) AS DOUBLE), 0) AS share
FROM summed ORDER BY tenant, cost_usd DESC NULLS LAST, kind, outcome
