-- Who changed what, and what its tenant spent in the week before and the week after.
-- questions: 31
-- column time: When.
-- column changed_by: Who; NULL for a file.
-- column kind: What kind of change it is.
-- column tenant: Whose it is; NULL if it is nobody's.
-- column name: What was changed.
-- column detail: What it says, as JSON.
-- column refused: Why it was not made; NULL if it was.
-- column before_usd [USD]: What the tenant, or everybody, spent in the seven days before; NULL if none of it has a price.
-- column after_usd [USD]: What they spent in the seven days after, so far where those are not over; NULL if none of it has a price.
-- column unpriced_quantity [tokens or units]: What of both has no price, and so is in no cost.
-- chart: days time
SELECT p.time, p.changed_by, p.kind, p.tenant, p.name, p.detail, p.refused,
    CASE WHEN count(*) FILTER (WHERE c.time < p.time) = 0 THEN 0 ELSE known_sum(c.cost_usd WHERE c.time < p.time) END AS before_usd,
    CASE WHEN count(*) FILTER (WHERE c.time >= p.time) = 0 THEN 0 ELSE known_sum(c.cost_usd WHERE c.time >= p.time) END AS after_usd,
    coalesce(sum(c.quantity) FILTER (WHERE c.cost_usd IS NULL), 0) AS unpriced_quantity
FROM policy_changes p LEFT JOIN charges c ON (p.tenant IS NULL OR c.tenant = p.tenant)
    AND c.time >= p.time - INTERVAL '7 days' AND c.time < p.time + INTERVAL '7 days'
WHERE p.time >= $from AND p.time < $to
GROUP BY p.time, p.changed_by, p.kind, p.tenant, p.name, p.detail, p.refused ORDER BY p.time, p.kind, p.name
