-- What a request, a successful request, a session and an imported business metric cost, over time.
-- questions: 6
-- param metric (text) = : The name of the metric in the imported table business_metrics; empty for none.
-- param grain (grain) = month: hour, day, week, month or total.
-- column period: The local time at which the period begins.
-- column tenant: The tenant.
-- column cost_usd [USD]: What all attempts cost, with corrections; NULL if nobody knows of any.
-- column unknown_attempts: Of how many nobody knows what they cost, or all of it; they are in no cost.
-- column requests: Client calls.
-- column successes: Those that were answered to the end.
-- column sessions: Sessions that clients named.
-- column metric_value: The sum of the metric; NULL if it was not imported for this period and tenant.
-- column usd_per_request [USD, a statistic]: Cost by requests.
-- column usd_per_success [USD, a statistic]: Cost by successful requests: failures are paid for too.
-- column usd_per_session [USD, a statistic]: Cost by sessions.
-- column usd_per_metric [USD, a statistic]: Cost by the metric.
-- chart: lines period usd_per_metric tenant
WITH spent AS (
    SELECT $grain:time AS at, tenant, sum(cost_usd) AS cost_usd, count(CASE WHEN cost_usd IS NULL THEN 1 END) AS unknown_attempts
    FROM attempts WHERE time >= $from AND time < $to GROUP BY $grain:time, tenant
), asked AS (
    SELECT $grain:time AS at, tenant, sum(requests) AS requests, sum(CASE WHEN outcome = 'complete' THEN requests END) AS successes,
        count(DISTINCT session_id) AS sessions
    FROM calls WHERE time >= $from AND time < $to GROUP BY $grain:time, tenant
), measured AS (
    SELECT $grain:time AS at, tenant, sum(value) AS metric_value
    FROM business_metrics WHERE time >= $from AND time < $to AND metric = $metric GROUP BY $grain:time, tenant
)
SELECT to_char(s.at, $grain:format) AS period, s.tenant, s.cost_usd, s.unknown_attempts, coalesce(a.requests, 0) AS requests,
    coalesce(a.successes, 0) AS successes, coalesce(a.sessions, 0) AS sessions, m.metric_value,
    CAST(s.cost_usd AS DOUBLE) / nullif(a.requests, 0) AS usd_per_request,
    CAST(s.cost_usd AS DOUBLE) / nullif(a.successes, 0) AS usd_per_success,
    CAST(s.cost_usd AS DOUBLE) / nullif(a.sessions, 0) AS usd_per_session,
    CAST(s.cost_usd AS DOUBLE) / nullif(CAST(m.metric_value AS DOUBLE), 0) AS usd_per_metric
FROM spent s LEFT JOIN asked a ON a.at = s.at AND a.tenant = s.tenant LEFT JOIN measured m ON m.at = s.at AND m.tenant = s.tenant
ORDER BY s.at, s.tenant
