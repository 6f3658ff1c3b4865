-- What the providers' prompt caches saved, by UTC day: against the price of plain input beside the one that was charged.
-- questions: 8
-- column day: The UTC day.
-- column tenant: The tenant.
-- column provider: The provider.
-- column model: The model.
-- column input_tokens [tokens]: Input at the plain price.
-- column read_tokens [tokens]: Input read from the cache.
-- column write_tokens [tokens]: Input written to the cache.
-- column saved_usd [USD]: What reads would have cost more as plain input; NULL if nobody knows of any, 0 of a day without reads.
-- column premium_usd [USD]: What writes cost more than plain input; NULL if nobody knows of any, 0 of a day without writes.
-- column net_usd [USD]: The one less the other; NULL if nobody knows of any, 0 of a day without either.
-- column unknown_tokens [tokens]: Reads and writes whose plain price is not known; they are in no sum.
WITH price AS (
    SELECT price_book, price_id, token_class, price_per_mtok_usd, valid_from, valid_to,
        provider || ' ' || model || ' ' || coalesce(service_tier, '') || ' ' || CAST(coalesce(above_input_tokens, 0) AS VARCHAR) AS place
    FROM prices
), cached AS (
    SELECT c.time, c.tenant, c.provider, c.model, c.token_class, c.quantity,
        c.quantity * (plain.price_per_mtok_usd - c.price_per_mtok_usd) * 0.000001 AS less_usd
    FROM charges c
    LEFT JOIN (SELECT DISTINCT price_book, price_id, place FROM price) own ON own.price_book = c.price_book AND own.price_id = c.price_id
    LEFT JOIN (SELECT DISTINCT price_book, place, price_per_mtok_usd, valid_from, valid_to FROM price WHERE token_class = 'input') plain
        ON plain.price_book = own.price_book AND plain.place = own.place
        AND c.time >= plain.valid_from AND (plain.valid_to IS NULL OR c.time < plain.valid_to)
    WHERE c.token_class IN ('input', 'cache_read', 'cache_write_5m', 'cache_write_1h')
)
SELECT date_trunc('day', time) AS day, tenant, provider, model,
    coalesce(sum(CASE WHEN token_class = 'input' THEN quantity END), 0) AS input_tokens,
    coalesce(sum(CASE WHEN token_class = 'cache_read' THEN quantity END), 0) AS read_tokens,
    coalesce(sum(CASE WHEN token_class LIKE 'cache_write%' THEN quantity END), 0) AS write_tokens,
    CASE WHEN count(*) FILTER (WHERE token_class = 'cache_read') = 0 THEN 0 ELSE sum(CASE WHEN token_class = 'cache_read' THEN less_usd END) END AS saved_usd,
    CASE WHEN count(*) FILTER (WHERE token_class LIKE 'cache_write%') = 0 THEN 0 ELSE 0 - sum(CASE WHEN token_class LIKE 'cache_write%' THEN less_usd END) END AS premium_usd,
    CASE WHEN count(*) FILTER (WHERE token_class <> 'input') = 0 THEN 0 ELSE sum(CASE WHEN token_class <> 'input' THEN less_usd END) END AS net_usd,
    coalesce(sum(CASE WHEN token_class <> 'input' AND less_usd IS NULL THEN quantity END), 0) AS unknown_tokens
FROM cached GROUP BY date_trunc('day', time), tenant, provider, model
