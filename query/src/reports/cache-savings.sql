-- What the providers' prompt caches saved: reads less the premium of writes; providers bill no storage apart.
-- questions: 8
-- column tenant: The tenant.
-- column provider: The provider.
-- column model: The model.
-- column hit_share [a statistic]: Of all input, what was read from the cache.
-- column read_tokens [tokens]: Input read from the cache.
-- column saved_usd [USD]: What reads would have cost more as plain input; NULL if nobody knows of any, whatever days without reads there are.
-- column premium_usd [USD]: What writes cost more than plain input; NULL if nobody knows of any.
-- column net_usd [USD]: The one less the other; NULL if nobody knows of any.
-- column unknown_tokens [tokens]: Reads and writes whose plain price is not known.
-- chart: bars net_usd tenant provider model
SELECT tenant, provider, model,
    CAST(sum(read_tokens) AS DOUBLE) / nullif(sum(input_tokens + read_tokens + write_tokens), 0) AS hit_share,
    sum(read_tokens) AS read_tokens,
    CASE WHEN count(saved_usd) = count(*) OR count(saved_usd) FILTER (WHERE read_tokens <> 0) > 0 THEN sum(saved_usd) END AS saved_usd,
    CASE WHEN count(premium_usd) = count(*) OR count(premium_usd) FILTER (WHERE write_tokens <> 0) > 0 THEN sum(premium_usd) END AS premium_usd,
    CASE WHEN count(net_usd) = count(*) OR count(net_usd) FILTER (WHERE read_tokens <> 0 OR write_tokens <> 0) > 0 THEN sum(net_usd) END AS net_usd,
    sum(unknown_tokens) AS unknown_tokens
FROM cache_savings WHERE day >= $from AND day < $to
GROUP BY tenant, provider, model ORDER BY net_usd DESC NULLS LAST, tenant, provider, model
