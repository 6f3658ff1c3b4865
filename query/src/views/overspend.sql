-- Windows of limits that more was used in than their amount, and what let it go further.
-- questions: 14
-- column tenant: The tenant; NULL if the limit spans tenants.
-- column limit_name: The limit.
-- column instance: Whose counter of it.
-- column unit: What it counts.
-- column mode: hard, soft or observe.
-- column window_start: The first instant of the window.
-- column window_end: The first instant after it.
-- column amount [the unit]: The amount.
-- column settled [the unit]: What was used.
-- column over [the unit]: By how much that is more.
-- column first_seen: When metering first saw it, where it is an alert.
-- column held_then [the unit]: The most that was held at that time.
-- column why: What let it pass.
WITH passed AS (
    SELECT tenant, limit_name, instance, unit, mode, window_start, window_end, amount, settled, time, held
    FROM alerts WHERE share_percent > 100
    UNION ALL
    SELECT tenant, limit_name, instance, unit, mode, window_start, window_end, amount, settled,
        CAST(NULL AS TIMESTAMP), CAST(NULL AS DECIMAL(38, 12))
    FROM balances WHERE settled > amount
)
SELECT tenant, limit_name, instance, unit, mode, window_start, window_end, max(amount) AS amount, max(settled) AS settled,
    max(settled) - max(amount) AS over, min(time) AS first_seen, max(held) AS held_then,
    CASE mode WHEN 'observe' THEN 'it refuses nothing' WHEN 'soft' THEN 'calls in flight, and balances that were behind'
        ELSE 'use told afterwards, a correction, a lowered amount, or a bill beyond its bound' END AS why
FROM passed GROUP BY tenant, limit_name, instance, unit, mode, window_start, window_end
