-- The dearest sessions, that is, conversations or agents as clients name them by x-tollgate-session-id.
-- questions: 2 6
-- param top (count) = 20: How many.
-- column tenant: The tenant.
-- column session_id: The session; NULL where the client named none, and of calls that a crash left open.
-- column calls: Its calls.
-- column cost_usd [USD]: What they cost when they ended.
-- column unknown_calls: Of how many nobody knows what they cost.
-- column tokens [tokens]: Input and output, where known.
-- chart: bars cost_usd tenant session_id
SELECT tenant, session_id, count(*) AS calls, sum(cost_usd) AS cost_usd,
    count(CASE WHEN cost_usd IS NULL THEN 1 END) AS unknown_calls, sum(input_tokens + output_tokens) AS tokens
FROM calls WHERE time >= $from AND time < $to AND recorded_at < $as_of
GROUP BY tenant, session_id ORDER BY cost_usd DESC NULLS LAST, tenant, session_id LIMIT $top
