-- What was used in each UTC month, and what is billed in it.
-- questions: 27
-- column month: The UTC month, as YYYY-MM.
-- column tenant: The tenant.
-- column used_usd [USD]: What its calls cost, whenever that became known.
-- column billed_usd [USD]: What is billed in it, of whichever month the calls were.
-- column unpriced_quantity [tokens]: What of its calls has no price.
SELECT month, tenant, sum(used) AS used_usd, sum(billed) AS billed_usd, coalesce(sum(unpriced), 0) AS unpriced_quantity FROM (
    SELECT to_char(time, '%Y-%m') AS month, tenant, cost_usd AS used, CAST(NULL AS DECIMAL(18, 12)) AS billed,
        CASE WHEN cost_usd IS NULL THEN quantity END AS unpriced FROM charges
    UNION ALL
    SELECT billing_period, tenant, CAST(NULL AS DECIMAL(18, 12)), cost_usd, CAST(NULL AS BIGINT) FROM charges
) GROUP BY month, tenant
