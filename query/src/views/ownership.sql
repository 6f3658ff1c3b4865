-- Spend by UTC day under the team and project that the key had at the call, and under those that it has now.
-- questions: 19
-- column day: The UTC day.
-- column tenant: The tenant.
-- column key_name: The key.
-- column team_was: The team at the call.
-- column team_is: The team now; NULL also if there is no such key any more.
-- column project_was: The project at the call.
-- column project_is: The project now.
-- column key_exists: Whether the key is in force.
-- column cost_usd [USD]: What the calls cost.
-- column unpriced_quantity [tokens or units]: What of them has no price.
SELECT s.day, s.tenant, s.key_name, s.team AS team_was, k.team AS team_is, s.project AS project_was, k.project AS project_is,
    k.key_name IS NOT NULL AS key_exists, known_sum(s.cost_usd) AS cost_usd, sum(s.unpriced_quantity) AS unpriced_quantity
FROM daily_spend s
LEFT JOIN (SELECT tenant, key_name, team, project FROM keys WHERE valid_to IS NULL) k
    ON k.tenant = s.tenant AND k.key_name = s.key_name
GROUP BY s.day, s.tenant, s.key_name, s.team, k.team, s.project, k.project, k.key_name
