-- Billed against used, by UTC month.
-- questions: 27
-- column month: The UTC month.
-- column tenant: The tenant.
-- column used_usd [USD]: What its calls cost; NULL if none of it has a price.
-- column billed_usd [USD]: What is billed in it; NULL if none of it has a price.
-- column difference_usd [USD]: Billed less used.
-- column unpriced_quantity [tokens or units]: What of its calls has no price.
-- chart: lines month billed_usd tenant
SELECT month, tenant, used_usd, billed_usd, billed_usd - used_usd AS difference_usd, unpriced_quantity
FROM cash_and_accrual WHERE month >= to_char($from, '%Y-%m') AND month <= to_char($to - INTERVAL '1 second', '%Y-%m') ORDER BY month, tenant
