-- Latency against cost by model. Statistics.
-- questions: 28
-- column provider: The provider.
-- column model: The model.
-- column attempts: Those that were answered to the end.
-- column ttft_p50_ms [ms, a statistic]: Half of the first bytes came within this.
-- column ttft_p95_ms [ms, a statistic]: 95 of 100.
-- column duration_p50_ms [ms, a statistic]: Half of the answers ended within this; of what other systems tell nobody knows it.
-- column tokens_per_s [a statistic]: Output tokens of streams by their time after the first byte.
-- column usd_per_mtok [USD per million, a statistic]: Cost by all tokens, both with corrections.
-- column unknown_attempts: Of how many nobody knows what they cost, or all of it.
-- chart: bars usd_per_mtok provider model
SELECT provider, model, sum(requests) AS attempts, approx_percentile_cont(CAST(ttft_ms AS DOUBLE), 0.5) AS ttft_p50_ms,
    approx_percentile_cont(CAST(ttft_ms AS DOUBLE), 0.95) AS ttft_p95_ms, approx_percentile_cont(CAST(duration_ms AS DOUBLE), 0.5) AS duration_p50_ms,
    CAST(sum(CASE WHEN is_timed THEN output_tokens END) AS DOUBLE) * 1000 / sum(CASE WHEN is_timed THEN duration_ms - ttft_ms END) AS tokens_per_s,
    CAST(sum(cost_usd) AS DOUBLE) * 1000000 / nullif(sum(CASE WHEN cost_usd IS NOT NULL THEN tokens END), 0) AS usd_per_mtok,
    count(CASE WHEN cost_usd IS NULL OR NOT is_whole THEN 1 END) AS unknown_attempts
FROM (
    SELECT a.*, c.tokens, a.stream AND a.output_tokens IS NOT NULL AND coalesce(a.duration_ms > a.ttft_ms, FALSE) AS is_timed
    FROM attempts a LEFT JOIN (
        SELECT call_id, attempt, time, sum(CASE WHEN token_class IN (units) THEN 0 ELSE quantity END) AS tokens
        FROM charges WHERE time >= $from AND time < $to GROUP BY call_id, attempt, time
    ) c ON c.call_id = a.call_id AND c.attempt = a.attempt AND c.time = a.time
) WHERE time >= $from AND time < $to AND outcome = 'complete' AND NOT cache_hit
GROUP BY provider, model ORDER BY usd_per_mtok, provider, model
