-- Calls that limits refused, or would have refused, by UTC day.
-- questions: 11
-- column day: The UTC day.
-- column tenant: The tenant.
-- column limit_name: The limit; NULL if none was the reason.
-- column code: The error code.
-- column model: The model that was asked for; NULL where one key asked for more in a second than have rows of their own.
-- column observed: Whether they passed all the same.
-- column calls: How many.
-- column could_have_cost_usd [USD]: All of them together at most, where that is known.
-- column unknown_calls: How many stand in rows of which it is not known what all of their calls could have cost.
SELECT date_trunc('day', time) AS day, tenant, limit_name, code, model_requested AS model, observed, sum("count") AS calls,
    sum(estimated_cost_usd) AS could_have_cost_usd,
    coalesce(sum(CASE WHEN estimated_cost_usd IS NULL THEN "count" END), 0) AS unknown_calls
FROM refusals GROUP BY date_trunc('day', time), tenant, limit_name, code, model_requested, observed
