-- Demand that limits refused: how many calls, and what they could have cost.
-- questions: 11
-- column tenant: The tenant.
-- column limit_name: The limit.
-- column code: The error code.
-- column refused: Calls that were refused.
-- column would_be: Calls that passed, and a limit that observes would have refused.
-- column could_have_cost_usd [USD]: What all that were refused could have cost at most, where that is known.
-- column unknown_calls: Refused calls of rows of which it is not known.
-- chart: bars refused tenant limit_name code
SELECT tenant, limit_name, code, coalesce(sum(CASE WHEN NOT observed THEN calls END), 0) AS refused,
    coalesce(sum(CASE WHEN observed THEN calls END), 0) AS would_be,
    sum(CASE WHEN NOT observed THEN could_have_cost_usd END) AS could_have_cost_usd,
    coalesce(sum(CASE WHEN NOT observed THEN unknown_calls END), 0) AS unknown_calls
FROM refused_demand WHERE day >= $from AND day < $to
GROUP BY tenant, limit_name, code ORDER BY refused DESC, tenant, limit_name, code
