-- Who changed what, and what its tenant spent in the week before and the week after.
-- questions: 31
-- column time: When.
-- column changed_by: Who; NULL for a file.
-- column kind: What kind of change it is.
-- column tenant: Whose it is; NULL if it is nobody's.
-- column name: What was changed.
-- column detail: What it says, as JSON.
-- column refused: Why it was not made; NULL if it was.
-- column before_usd [USD]: What the tenant, or everybody, spent in the seven days before.
-- column after_usd [USD]: What they spent in the seven days after.
SELECT p.time, p.changed_by, p.kind, p.tenant, p.name, p.detail, p.refused,
    coalesce(sum(CASE WHEN c.time < p.time THEN c.cost_usd END), 0) AS before_usd,
    coalesce(sum(CASE WHEN c.time >= p.time THEN c.cost_usd END), 0) AS after_usd
FROM policy_changes p LEFT JOIN charges c ON (p.tenant IS NULL OR c.tenant = p.tenant)
    AND c.time >= p.time - INTERVAL '7 days' AND c.time < p.time + INTERVAL '7 days'
WHERE p.time >= $from AND p.time < $to
GROUP BY p.time, p.changed_by, p.kind, p.tenant, p.name, p.detail, p.refused ORDER BY p.time, p.kind, p.name
