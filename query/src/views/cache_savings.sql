-- What the providers' prompt caches saved, by UTC day: against the price of plain input beside the one that was charged.
-- questions: 8
-- column day: The UTC day.
-- column tenant: The tenant.
-- column provider: The provider.
-- column model: The model.
-- column input_tokens [tokens]: Input that is not of a cache: text, audio and images.
-- column read_tokens [tokens]: Input read from the cache.
-- column write_tokens [tokens]: Input written to the cache.
-- column saved_usd [USD]: What reads would have cost more as plain input; NULL if nobody knows of any, 0 of a day without reads.
-- column premium_usd [USD]: What writes cost more than plain input; NULL if nobody knows of any, 0 of a day without writes.
-- column net_usd [USD]: The one less the other; NULL if nobody knows of any, 0 of a day without either.
-- column unknown_tokens [tokens]: Reads and writes whose plain price is not known; they are in no sum.
WITH plain AS (
    SELECT * FROM other_prices WHERE charged_class LIKE 'cache%' AND token_class IN ('input', 'audio_input')
        AND (token_class = 'audio_input') = (charged_class = 'cache_read_audio') AND coalesce(service_tier, '') = coalesce(charged_tier, '')
), banded AS (
    SELECT DISTINCT c.model FROM (SELECT DISTINCT model, price_id FROM charges WHERE price_id IS NOT NULL) c
    JOIN (SELECT DISTINCT model FROM prices WHERE above_input_tokens > 0) p ON p.model = c.model
        OR p.model LIKE '%*' AND starts_with(c.model, rtrim(p.model, '*')) OR strpos(c.price_id, concat(':', p.model, ':')) > 0
), inputs AS (
    SELECT date_trunc('day', time) AS day, tenant, call_id, attempt, entry, recorded_at, model, sum(abs(quantity)) AS input FROM charges
    WHERE token_class NOT LIKE '%output' AND token_class NOT IN (units)
        AND model IN (SELECT model FROM banded)
    GROUP BY date_trunc('day', time), tenant, call_id, attempt, entry, recorded_at, model
), cached AS (
    SELECT c.day, c.tenant, c.provider, c.model, c.token_class, c.quantity,
        c.quantity * (p.price_per_mtok_usd - c.price_per_mtok_usd) * 0.000001 AS less_usd
    FROM (
        SELECT *, date_trunc('day', time) AS day FROM charges
        WHERE token_class IN ('input', 'audio_input', 'image_input', 'cache_read', 'cache_read_audio', 'cache_write_5m', 'cache_write_1h')
    ) c
    LEFT JOIN inputs i ON i.day = c.day AND i.tenant = c.tenant AND i.call_id = c.call_id AND i.attempt = c.attempt AND i.entry = c.entry
        AND i.recorded_at = c.recorded_at AND i.model = c.model
    LEFT JOIN plain p ON p.price_book = c.price_book AND p.price_id = c.price_id AND p.provider = c.provider AND p.model = c.model
        AND c.time >= p.valid_from AND (p.valid_to IS NULL OR c.time < p.valid_to)
        AND (p.above_input_tokens = 0 OR i.input > p.above_input_tokens)
        AND (p.up_to_input_tokens IS NULL OR coalesce(i.input, 0) <= p.up_to_input_tokens)
)
SELECT day, tenant, provider, model,
    coalesce(sum(CASE WHEN token_class NOT LIKE 'cache%' THEN quantity END), 0) AS input_tokens,
    coalesce(sum(CASE WHEN token_class LIKE 'cache_read%' THEN quantity END), 0) AS read_tokens,
    coalesce(sum(CASE WHEN token_class LIKE 'cache_write%' THEN quantity END), 0) AS write_tokens,
    CASE WHEN count(*) FILTER (WHERE token_class LIKE 'cache_read%') = 0 THEN 0 ELSE known_sum(less_usd WHERE token_class LIKE 'cache_read%') END AS saved_usd,
    CASE WHEN count(*) FILTER (WHERE token_class LIKE 'cache_write%') = 0 THEN 0 ELSE 0 - known_sum(less_usd WHERE token_class LIKE 'cache_write%') END AS premium_usd,
    CASE WHEN count(*) FILTER (WHERE token_class LIKE 'cache%') = 0 THEN 0 ELSE known_sum(less_usd WHERE token_class LIKE 'cache%') END AS net_usd,
    coalesce(sum(CASE WHEN token_class LIKE 'cache%' AND less_usd IS NULL THEN quantity END), 0) AS unknown_tokens
FROM cached GROUP BY day, tenant, provider, model
