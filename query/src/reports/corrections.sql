-- Corrections that are billed in a month, and of which months the calls were.
-- questions: 26
-- column billing_period: The month that they are billed in.
-- column charge_month: The UTC month of the calls.
-- column tenant: The tenant.
-- column provider: The provider.
-- column attempts: How many attempts were corrected.
-- column taken_back_usd [USD]: What was taken back; NULL if none of it has a price.
-- column charged_anew_usd [USD]: What was charged anew; NULL if none of it has a price.
-- column change_usd [USD]: What it comes to.
-- column unpriced_quantity [tokens or units]: What of either has no price.
-- column of_closed_month: Whether the month of the calls was over.
-- chart: bars change_usd charge_month tenant provider
SELECT billing_period, charge_month, tenant, provider, count(DISTINCT corrects) AS attempts,
    CASE WHEN count(*) FILTER (WHERE entry = 'reversal') = 0 THEN 0 ELSE sum(cost_usd) FILTER (WHERE entry = 'reversal') END AS taken_back_usd,
    CASE WHEN count(*) FILTER (WHERE entry = 'correction') = 0 THEN 0 ELSE sum(cost_usd) FILTER (WHERE entry = 'correction') END AS charged_anew_usd,
    sum(cost_usd) AS change_usd, coalesce(sum(abs(quantity)) FILTER (WHERE cost_usd IS NULL), 0) AS unpriced_quantity, of_closed_month
FROM corrections WHERE recorded_at >= $from AND recorded_at < $to
GROUP BY billing_period, charge_month, tenant, provider, of_closed_month ORDER BY billing_period, charge_month, tenant, provider
