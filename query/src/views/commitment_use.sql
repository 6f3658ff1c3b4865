-- Imported commitments and what was used of what they are good for, in their time: all use of the provider and model, or that of their tenant.
-- Each for itself; what is drawn of credits that are good for the same use says the table credit_draws.
-- questions: 20 21
-- column commitment_id: The commitment.
-- column tenant: Whose use it is good for; NULL for everybody's.
-- column kind: provisioned (capacity for a time) or credit (paid before it is used).
-- column provider: The provider.
-- column model: The model; NULL for all of them.
-- column starts: The first instant.
-- column ends: The first instant after it; NULL if it does not end.
-- column unit: What is committed: tokens or usd.
-- column committed [the unit]: How much.
-- column paid_usd [USD]: What is paid for it.
-- column used [the unit]: What was used in its time, in tokens without searches and what else is counted in units; NULL, as what follows from it, where it is in dollars and none of it has a price.
-- column unused [the unit]: What of it was not used.
-- column on_demand_usd [USD]: What the use would have cost by the prices in force; NULL if none of it has a price.
-- column covered_usd [USD, a statistic where more was used]: What of that it covers: all of it, or, where more was used than is committed, that share.
-- column utilisation [a statistic]: Used of committed, at most 1.
-- column usd_per_unit [USD, a statistic]: What was paid, by what was used of it.
-- column unpriced_quantity [tokens or units]: What was used and has no price.
WITH used AS (
    SELECT m.commitment_id, sum(CASE WHEN s.token_class IN (units) THEN 0 ELSE s.quantity END) AS tokens,
        known_sum(s.cost_usd) AS usd, sum(s.unpriced_quantity) AS unpriced
    FROM commitments m JOIN daily_spend s ON s.provider = m.provider AND (m.tenant IS NULL OR s.tenant = m.tenant)
        AND (m.model IS NULL OR s.model = m.model) AND s.day >= m.starts AND (m.ends IS NULL OR s.day < m.ends)
    GROUP BY m.commitment_id
), both AS (
    SELECT m.*, CASE WHEN u.commitment_id IS NULL THEN 0 ELSE u.usd END AS on_demand_usd, coalesce(u.tokens, 0) AS tokens, coalesce(u.unpriced, 0) AS unpriced
    FROM commitments m LEFT JOIN used u ON u.commitment_id = m.commitment_id
), counted AS (
    SELECT *, CASE unit WHEN 'usd' THEN CAST(on_demand_usd AS DECIMAL(38, 12)) ELSE CAST(tokens AS DECIMAL(38, 12)) END AS used FROM both
)
SELECT commitment_id, tenant, kind, provider, model, starts, ends, unit, quantity AS committed, cost_usd AS paid_usd, used,
    CASE WHEN used IS NOT NULL THEN greatest(quantity - used, 0) END AS unused, on_demand_usd,
    CASE WHEN used <= quantity THEN CAST(on_demand_usd AS DECIMAL(38, 12)) WHEN unit = 'usd' AND used > quantity THEN quantity
        ELSE CAST(CAST(on_demand_usd AS DOUBLE) * CAST(quantity AS DOUBLE) / CAST(used AS DOUBLE) AS DECIMAL(38, 12)) END AS covered_usd,
    CAST(CASE WHEN used IS NOT NULL THEN least(used, quantity) END AS DOUBLE) / nullif(CAST(quantity AS DOUBLE), 0) AS utilisation,
    CAST(cost_usd AS DOUBLE) / nullif(CAST(CASE WHEN used IS NOT NULL THEN least(used, quantity) END AS DOUBLE), 0) AS usd_per_unit,
    unpriced AS unpriced_quantity
FROM counted
