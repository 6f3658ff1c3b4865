-- Is it final? By UTC day: whether every call is in, how late they came, and what is not known of it.
-- questions: 30
-- column day: The UTC day.
-- column tenant: The tenant.
-- column attempts: How many are in.
-- column is_complete: Whether nothing of the day is still to come from a gateway; what other systems tell may always be late.
-- column late_minute: How many came more than a minute after they ended.
-- column late_day: How many came more than a day after.
-- column after_close: How many came too late for the bill of their month.
-- column unknown_attempts: Of how many nobody knows exactly what they used, whatever was told since, or there is no price.
-- chart: lines day attempts tenant
SELECT to_char(l.day, '%Y-%m-%d') AS day, l.tenant, l.attempts, coalesce(l.day + INTERVAL '1 day' <= w.complete_through, FALSE) AS is_complete,
    l.late_minute, l.late_day, l.after_close, coalesce(u.attempts, 0) AS unknown_attempts
FROM lateness l CROSS JOIN watermark w
LEFT JOIN (SELECT date_trunc('day', time) AS day, tenant, count(*) AS attempts FROM attempts WHERE cost_usd IS NULL OR NOT is_whole
    GROUP BY date_trunc('day', time), tenant) u ON u.day = l.day AND u.tenant = l.tenant
WHERE l.day >= $from AND l.day < $to ORDER BY 1, 2
