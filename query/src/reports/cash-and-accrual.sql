-- Billed against used, by UTC month.
-- questions: 27
-- column month: The UTC month.
-- column tenant: The tenant.
-- column used_usd [USD]: What its calls cost.
-- column billed_usd [USD]: What is billed in it.
-- column difference_usd [USD]: Billed less used.
-- column unpriced_quantity [tokens]: What of its calls has no price.
-- chart: lines month billed_usd tenant
SELECT month, tenant, coalesce(used_usd, 0) AS used_usd, coalesce(billed_usd, 0) AS billed_usd,
    coalesce(billed_usd, 0) - coalesce(used_usd, 0) AS difference_usd, unpriced_quantity
FROM cash_and_accrual WHERE month >= to_char($from, '%Y-%m') AND month <= to_char($to - INTERVAL '1 second', '%Y-%m') ORDER BY month, tenant
