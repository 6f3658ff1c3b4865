-- Tokens a request: the middle and the tail, input by output, and whether contexts grow. All of it statistics.
-- questions: 7
-- param grain (grain) = week: hour, day, week, month or total.
-- column period: The local time at which the period begins.
-- column model: The model.
-- column attempts: Those whose usage is known.
-- column unknown_attempts: Those whose usage is not.
-- column input_by_output [a statistic]: Input tokens for one of output.
-- column input_p50 [tokens, a statistic]: Half of the requests have at most so many.
-- column input_p95 [tokens, a statistic]: 95 of 100.
-- column input_p99 [tokens, a statistic]: 99 of 100.
-- column output_p50 [tokens, a statistic]: Half of the answers have at most so many.
-- column output_p95 [tokens, a statistic]: 95 of 100.
-- chart: lines period input_p50 model
SELECT to_char($grain:time, $grain:format) AS period, model, count(input_tokens) AS attempts, count(*) - count(input_tokens) AS unknown_attempts,
    CAST(sum(input_tokens) AS DOUBLE) / nullif(sum(output_tokens), 0) AS input_by_output,
    approx_percentile_cont(CAST(input_tokens AS DOUBLE), 0.5) AS input_p50, approx_percentile_cont(CAST(input_tokens AS DOUBLE), 0.95) AS input_p95,
    approx_percentile_cont(CAST(input_tokens AS DOUBLE), 0.99) AS input_p99,
    approx_percentile_cont(CAST(output_tokens AS DOUBLE), 0.5) AS output_p50, approx_percentile_cont(CAST(output_tokens AS DOUBLE), 0.95) AS output_p95
FROM usage WHERE time >= $from AND time < $to AND NOT cache_hit
GROUP BY $grain:time, model ORDER BY $grain:time, model
