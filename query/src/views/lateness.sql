-- How late attempts were recorded after they ended, by UTC day: what came twice is not here, since it is dropped before the ledger.
-- questions: 30
-- column day: The UTC day of the call.
-- column tenant: The tenant.
-- column attempts: How many.
-- column late_minute: How many of them more than a minute after they ended.
-- column late_day: How many of them more than a day after.
-- column after_close: How many of them more than three days after their UTC month was over, too late for its bill.
-- column latest: When the last of them was recorded.
SELECT date_trunc('day', time) AS day, tenant, count(*) AS attempts,
    count(CASE WHEN recorded_at > settled_at + INTERVAL '1 minute' THEN 1 END) AS late_minute,
    count(CASE WHEN recorded_at > settled_at + INTERVAL '1 day' THEN 1 END) AS late_day,
    count(CASE WHEN recorded_at >= date_trunc('month', time) + INTERVAL '1 month' + INTERVAL '3 days' THEN 1 END) AS after_close,
    max(recorded_at) AS latest
FROM usage GROUP BY date_trunc('day', time), tenant
