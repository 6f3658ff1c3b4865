-- Prepaid credit: what was bought, what is drawn down, and what is left.
-- questions: 21
-- column commitment_id: The purchase.
-- column provider: The provider.
-- column starts: Since when it is good.
-- column ends: The first instant at which it is not; NULL if it stays good.
-- column bought_usd [USD]: What it is good for.
-- column paid_usd [USD]: What was paid for it.
-- column drawn_usd [USD]: What was used of the provider since.
-- column left_usd [USD]: What is left of it.
-- column unpriced_quantity [tokens]: What was used and has no price.
-- chart: bars commitment_id left_usd
SELECT commitment_id, provider, starts, ends, committed AS bought_usd, paid_usd, used AS drawn_usd, unused AS left_usd, unpriced_quantity
FROM commitment_use WHERE kind = 'credit' AND unit = 'usd' ORDER BY starts, commitment_id
