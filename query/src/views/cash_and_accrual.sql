-- What was used in each UTC month, and what is billed in it.
-- questions: 27
-- column month: The UTC month, as YYYY-MM.
-- column tenant: The tenant.
-- column used_usd [USD]: What its calls cost, whenever that became known; NULL if none of it has a price.
-- column billed_usd [USD]: What is billed in it, of whichever month the calls were; NULL if none of it has a price.
-- column unpriced_quantity [tokens or units]: What of its calls has no price.
SELECT month, tenant, CASE WHEN sum(uses) = 0 THEN 0 ELSE known_sum(used WHERE uses = 1) END AS used_usd, CASE WHEN sum(bills) = 0 THEN 0 ELSE known_sum(billed WHERE bills = 1) END AS billed_usd,
    coalesce(sum(unpriced), 0) AS unpriced_quantity FROM (
    SELECT to_char(time, '%Y-%m') AS month, tenant, cost_usd AS used, CAST(NULL AS DECIMAL(18, 12)) AS billed,
        CASE WHEN cost_usd IS NULL THEN quantity END AS unpriced, quantity, 1 AS uses, 0 AS bills FROM charges
    UNION ALL
    SELECT billing_period, tenant, CAST(NULL AS DECIMAL(18, 12)), cost_usd, CAST(NULL AS BIGINT), quantity, 0, 1 FROM charges
) GROUP BY month, tenant
