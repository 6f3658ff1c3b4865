-- Prepaid credit: what was bought, what is drawn down, and what is left. What several are good for is drawn from the one that began first.
-- questions: 21
-- column commitment_id: The purchase.
-- column tenant: Whose use it is good for; NULL for everybody's.
-- column provider: The provider.
-- column model: The model; NULL for all of them.
-- column starts: Since when it is good.
-- column ends: The first instant at which it is not; NULL if it stays good.
-- column unit: What it is good for: tokens or usd.
-- column bought [the unit]: How much.
-- column paid_usd [USD]: What was paid for it.
-- column drawn [the unit]: What is drawn; NULL where it is in dollars and none of the use has a price.
-- column remaining [the unit]: What is left of it.
-- column remaining_share [a statistic]: That by what was bought; NULL if that is none.
-- column unpriced_quantity [tokens or units]: What it is good for and has no price.
-- chart: bars remaining_share commitment_id
SELECT commitment_id, tenant, provider, model, starts, ends, unit, quantity AS bought, cost_usd AS paid_usd, drawn, quantity - drawn AS remaining,
    CAST(quantity - drawn AS DOUBLE) / nullif(CAST(quantity AS DOUBLE), 0) AS remaining_share, unpriced_quantity
FROM credit_draws ORDER BY starts, commitment_id
