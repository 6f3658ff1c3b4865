-- What a model that was charged costs in every class, tier and band of input by the book that it was charged by: of the prices that fit it the one
-- that holds, as rating chooses: the provider's own before its vendor's, a name before patterns and longer patterns before shorter ones. One that
-- holds for long may stand in several rows, one behind the other.
-- questions: 8 29
-- column price_book: The hash of the book.
-- column price_id: The price that was charged.
-- column provider: The provider.
-- column model: The model asked of the provider.
-- column charged_class: The class that was charged.
-- column charged_tier: The service tier that was charged; NULL for the standard one.
-- column token_class: The class of this price.
-- column service_tier: Its service tier; NULL for the standard one.
-- column above_input_tokens [tokens]: It holds for requests with more input than this; 0 for all.
-- column up_to_input_tokens [tokens]: And with no more than this; NULL if nothing else holds for more.
-- column valid_from: The first admission time that it prices.
-- column valid_to: The first admission time after those; NULL if there is none.
-- column price_per_mtok_usd [USD per million]: The price.
WITH charged AS (
    SELECT *, max(other) OVER (PARTITION BY price_book, provider) AS vendor FROM (
        SELECT DISTINCT c.price_book, c.price_id, c.provider, c.model, nullif(own.provider, c.provider) AS other, own.model AS pattern,
            own.token_class AS charged_class, coalesce(own.service_tier, '') AS charged_tier
        FROM (SELECT DISTINCT price_book, price_id, provider, model FROM charges WHERE price_id IS NOT NULL) c
        JOIN prices own ON own.price_book = c.price_book AND own.price_id = c.price_id
    )
), price AS (
    SELECT DISTINCT price_book, provider, model, token_class, coalesce(service_tier, '') AS tier, coalesce(above_input_tokens, 0) AS above,
        price_per_mtok_usd, valid_from, coalesce(valid_to, TIMESTAMP '2262-01-01T00:00:00Z') AS valid_to
    FROM prices
), turns AS (
    SELECT price_book, token_class, tier, at, lead(at) OVER (PARTITION BY price_book, token_class, tier ORDER BY at) AS until
    FROM (
        SELECT DISTINCT price_book, token_class, tier, CASE side WHEN 0 THEN valid_from ELSE valid_to END AS at
        FROM price CROSS JOIN (VALUES (0), (1)) AS sides (side)
    )
), fitting AS (
    SELECT c.price_book, c.price_id, c.provider, c.model, c.charged_class, c.charged_tier, p.token_class, p.tier, p.above, t.at, t.until,
        p.price_per_mtok_usd, min(p.above) OVER (
            PARTITION BY c.price_book, c.price_id, c.provider, c.model, c.charged_class, c.charged_tier, p.token_class, p.tier, t.at
            ORDER BY p.provider = c.provider DESC, p.model LIKE '%*', length(p.model) DESC, p.above DESC, p.valid_from DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS up_to
    FROM charged c
    JOIN price p ON p.price_book = c.price_book AND (p.provider = c.provider OR p.provider = c.vendor)
        AND (p.model = c.pattern OR (p.model = c.model OR p.model LIKE '%*' AND starts_with(c.model, rtrim(p.model, '*')))
            AND (c.pattern = c.model OR c.pattern LIKE '%*' AND starts_with(c.model, rtrim(c.pattern, '*'))))
    JOIN turns t ON t.price_book = p.price_book AND t.token_class = p.token_class AND t.tier = p.tier AND t.at >= p.valid_from AND t.at < p.valid_to
)
SELECT price_book, price_id, provider, model, charged_class, nullif(charged_tier, '') AS charged_tier, token_class, nullif(tier, '') AS service_tier,
    above AS above_input_tokens, up_to AS up_to_input_tokens, at AS valid_from, nullif(until, TIMESTAMP '2262-01-01T00:00:00Z') AS valid_to,
    price_per_mtok_usd
FROM fitting WHERE up_to IS NULL OR up_to > above
