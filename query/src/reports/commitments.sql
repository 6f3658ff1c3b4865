-- How far provisioned commitments are used, what is paid for nothing, and whether on demand would have been cheaper.
-- questions: 20
-- column commitment_id: The commitment.
-- column tenant: Whose use it is good for; NULL for everybody's.
-- column provider: The provider.
-- column model: The model; NULL for all of them.
-- column unit: What is committed.
-- column committed [the unit]: How much.
-- column used [the unit]: What was used in its time.
-- column unused [the unit]: What of it was not.
-- column utilisation [a statistic]: Used of committed.
-- column paid_usd [USD]: What is paid for it.
-- column usd_per_unit [USD, a statistic]: What was paid, by what was used of it.
-- column on_demand_usd [USD]: What the use would have cost by the prices in force.
-- column covered_usd [USD, a statistic where more was used]: What of that it covers: all of it, or, where more was used than is committed, that share.
-- column saved_usd [USD]: That less what was paid; less than none if on demand would have been cheaper.
-- column unpriced_quantity [tokens or units]: What was used and has no price.
-- chart: bars utilisation commitment_id
SELECT commitment_id, tenant, provider, model, unit, committed, used, unused, utilisation, paid_usd, usd_per_unit, on_demand_usd, covered_usd,
    covered_usd - paid_usd AS saved_usd, unpriced_quantity
FROM commitment_use WHERE kind = 'provisioned' AND starts < $to AND (ends IS NULL OR ends > $from) ORDER BY commitment_id
