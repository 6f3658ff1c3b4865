-- Attempts at providers, and answers from the cache, with what they cost now: corrections are in, and what nobody knows is NULL.
-- questions: 6 10
-- column call_id: The call.
-- column attempt: The attempt's number in its call, from 1.
-- column time: When it was admitted.
-- column tenant: The tenant of the key.
-- column team: The team of the key.
-- column project: The project of the key.
-- column user_id: The user of the key.
-- column key_name: The key.
-- column tags: The tags as a JSON object.
-- column provider: The provider.
-- column model: The model asked of the provider.
-- column service_tier: The service tier that the answer states.
-- column outcome: How it ended.
-- column status: The provider's HTTP status.
-- column completeness: How sure its counts were when it ended.
-- column is_whole: Whether its usage is known in full: its counts were exact when it ended, or have been stated whole since.
-- column stream: Whether the answer is a stream.
-- column cache_hit: Whether Tollgate's cache answered.
-- column requests: 1, but 0 on what a response in the background used whose attempt has a row of its own: sum it to count attempts.
-- column input_tokens [tokens]: All input, as it was known when it ended.
-- column output_tokens [tokens]: All output, as it was known when it ended.
-- column reasoning_tokens [tokens]: The output that is reasoning.
-- column duration_ms [ms]: From admission to the end; NULL where nobody measured it, as of what other systems tell.
-- column ttft_ms [ms]: From admission to the first byte.
-- column cost_usd [USD]: What it costs with all corrections; NULL if any of it has no price or is not known.
-- column unpriced_quantity [tokens or units]: What of it has no price.
SELECT u.call_id, u.attempt, u.time, u.tenant, u.team, u.project, u.user_id, u.key_name, u.tags, u.provider, u.model,
    u.service_tier, u.outcome, u.status, u.completeness, u.completeness = 'exact' OR coalesce(c.whole, FALSE) AS is_whole, u.stream, u.cache_hit, u.requests, u.input_tokens, u.output_tokens, u.reasoning_tokens,
    u.duration_ms, u.ttft_ms,
    CASE WHEN c.unpriced <> 0 OR c.call_id IS NULL AND u.completeness <> 'exact' THEN NULL
        ELSE coalesce(c.usd, 0) END AS cost_usd,
    c.unpriced AS unpriced_quantity
FROM usage u LEFT JOIN (
    SELECT call_id, attempt, time, sum(cost_usd) AS usd, sum(CASE WHEN cost_usd IS NULL THEN quantity END) AS unpriced,
        bool_or(entry = 'correction' AND completeness = 'exact') AS whole
    FROM charges GROUP BY call_id, attempt, time
) c ON u.call_id = c.call_id AND u.attempt = c.attempt AND u.time = c.time
