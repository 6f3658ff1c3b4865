-- The same months as they were known at another time (--as-of) and as they are known now.
-- questions: 32
-- column month: The UTC month of the calls.
-- column tenant: The tenant.
-- column then_usd [USD]: What they had cost by then.
-- column now_usd [USD]: What they cost by what is known now.
-- column change_usd [USD]: What came since: late usage and corrections.
-- column unpriced_quantity [tokens]: What has no price, by what is known now.
-- chart: bars month change_usd
SELECT to_char(time, '%Y-%m') AS month, tenant, coalesce(sum(CASE WHEN recorded_at < $as_of THEN cost_usd END), 0) AS then_usd,
    coalesce(sum(cost_usd), 0) AS now_usd, coalesce(sum(CASE WHEN recorded_at >= $as_of THEN cost_usd END), 0) AS change_usd,
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges WHERE time >= $from AND time < $to GROUP BY to_char(time, '%Y-%m'), tenant ORDER BY month, tenant
