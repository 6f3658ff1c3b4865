-- The same months as they were known at another time (--as-of) and as they are known now.
-- questions: 32
-- column month: The month of the calls, by the time zone.
-- column tenant: The tenant.
-- column then_usd [USD]: What they had cost by then.
-- column now_usd [USD]: What they cost by what is known now; NULL if none of it has a price, as beside it.
-- column change_usd [USD]: What came since: late usage and corrections.
-- column unpriced_quantity [tokens or units]: What has no price, by what is known now.
-- chart: bars change_usd|now_usd month tenant
SELECT to_char(date_trunc('month', time AT TIME ZONE $zone), '%Y-%m') AS month, tenant,
    CASE WHEN count(*) FILTER (WHERE recorded_at < $as_of) = 0 THEN 0 ELSE known_sum(cost_usd WHERE recorded_at < $as_of) END AS then_usd,
    known_sum(cost_usd) AS now_usd, CASE WHEN count(*) FILTER (WHERE recorded_at >= $as_of) = 0 THEN 0 ELSE known_sum(cost_usd WHERE recorded_at >= $as_of) END AS change_usd,
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges WHERE time >= $from AND time < $to GROUP BY date_trunc('month', time AT TIME ZONE $zone), tenant ORDER BY month, tenant
