-- What a request, a successful request, a session and an imported business metric cost, over time.
-- questions: 6
-- param metric (text) = : The name of the metric in the imported table business_metrics; empty for none.
-- param grain (grain) = month: hour, day, week, month or total.
-- column period: The local time at which the period begins.
-- column tenant: The tenant.
-- column cost_usd [USD]: What all attempts cost, with corrections; NULL if nobody knows of any, none if there were none.
-- column told_usd [USD]: Of it, what is of no client call that ended here, such as what other systems tell; NULL if nobody knows of any.
-- column unknown_attempts: Of how many nobody knows what they cost, or all of it; what is not known is in no cost.
-- column requests: Client calls.
-- column successes: Those that were answered to the end.
-- column sessions: Sessions that clients named; of calls that a crash left open none is known.
-- column metric_value: The sum of the metric; NULL if it was not imported for this period and tenant.
-- column usd_per_request [USD, a statistic]: Cost, but for told_usd, by requests.
-- column usd_per_success [USD, a statistic]: The same by successful requests: failures are paid for too.
-- column usd_per_session [USD, a statistic]: What of it is of calls that name a session, by sessions.
-- column usd_per_metric [USD, a statistic]: All cost by the metric.
-- chart: lines period usd_per_metric|usd_per_request tenant
WITH tried AS (
    SELECT $grain:time AS at, a.tenant, a.cost_usd, a.cost_usd IS NULL OR NOT a.is_whole AS is_unknown, c.call_id IS NOT NULL AS is_asked,
        c.session_id IS NOT NULL AS is_named
    FROM (SELECT * FROM attempts WHERE time >= $from AND time < $to) a
    LEFT JOIN (SELECT call_id, max(session_id) AS session_id FROM calls WHERE time >= $from - INTERVAL '1 day' AND time < $to GROUP BY call_id) c
        ON c.call_id = a.call_id
), spent AS (
    SELECT at, tenant, sum(cost_usd) AS cost_usd, count(CASE WHEN is_unknown THEN 1 END) AS unknown_attempts,
        CASE WHEN count(*) FILTER (WHERE NOT is_asked) = 0 THEN 0 ELSE sum(cost_usd) FILTER (WHERE NOT is_asked) END AS told_usd,
        sum(cost_usd) FILTER (WHERE is_asked) AS asked_usd, sum(cost_usd) FILTER (WHERE is_named) AS named_usd
    FROM tried GROUP BY at, tenant
), asked AS (
    SELECT $grain:time AS at, tenant, sum(requests) AS requests, sum(CASE WHEN outcome = 'complete' THEN requests END) AS successes,
        count(DISTINCT session_id) AS sessions
    FROM calls WHERE time >= $from AND time < $to GROUP BY $grain:time, tenant
), measured AS (
    SELECT $grain:time AS at, tenant, sum(value) AS metric_value
    FROM business_metrics WHERE time >= $from AND time < $to AND metric = $metric AND tenant IS NOT NULL GROUP BY $grain:time, tenant
), places AS (
    SELECT at, tenant FROM spent UNION SELECT at, tenant FROM asked UNION SELECT at, tenant FROM measured
)
SELECT to_char(p.at, $grain:format) AS period, p.tenant, CASE WHEN s.at IS NULL THEN 0 ELSE s.cost_usd END AS cost_usd,
    CASE WHEN s.at IS NULL THEN 0 ELSE s.told_usd END AS told_usd, coalesce(s.unknown_attempts, 0) AS unknown_attempts,
    coalesce(a.requests, 0) AS requests, coalesce(a.successes, 0) AS successes, coalesce(a.sessions, 0) AS sessions, m.metric_value,
    CAST(s.asked_usd AS DOUBLE) / nullif(a.requests, 0) AS usd_per_request,
    CAST(s.asked_usd AS DOUBLE) / nullif(a.successes, 0) AS usd_per_success,
    CAST(s.named_usd AS DOUBLE) / nullif(a.sessions, 0) AS usd_per_session,
    CAST(CASE WHEN s.at IS NULL THEN 0 ELSE s.cost_usd END AS DOUBLE) / nullif(CAST(m.metric_value AS DOUBLE), 0) AS usd_per_metric
FROM places p LEFT JOIN spent s ON s.at = p.at AND s.tenant = p.tenant LEFT JOIN asked a ON a.at = p.at AND a.tenant = p.tenant
LEFT JOIN measured m ON m.at = p.at AND m.tenant = p.tenant
ORDER BY p.at, p.tenant
