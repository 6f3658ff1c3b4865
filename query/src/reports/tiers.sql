-- Service tiers and regions, and what the same tokens would have cost in the batch tier where the price book has one.
-- questions: 29
-- param tier (text) = batch: The other tier.
-- column provider: The provider.
-- column model: The model.
-- column service_tier: The tier that was used; NULL if not stated.
-- column region: The region; NULL if not stated.
-- column quantity [tokens]: What was used.
-- column cost_usd [USD]: What it cost.
-- column other_tier_usd [USD]: What that part would have cost in the other tier that has a price there.
-- column available_usd [USD]: What would have been saved on it.
-- column unknown_quantity [tokens]: What has no price in the other tier, or none at all.
-- chart: bars model available_usd
WITH price AS (
    SELECT DISTINCT price_book, price_id, token_class, service_tier, price_per_mtok_usd, valid_from, valid_to,
        provider || ' ' || model || ' ' || CAST(coalesce(above_input_tokens, 0) AS VARCHAR) AS place
    FROM prices
), both AS (
    SELECT c.provider, c.model, c.service_tier, c.region, c.quantity, c.cost_usd,
        c.quantity * other.price_per_mtok_usd * 0.000001 AS other_usd
    FROM charges c
    LEFT JOIN (SELECT DISTINCT price_book, price_id, place, token_class FROM price) own ON own.price_book = c.price_book AND own.price_id = c.price_id
    LEFT JOIN price other ON other.price_book = own.price_book AND other.place = own.place AND other.token_class = own.token_class
        AND other.service_tier = $tier AND c.time >= other.valid_from
        AND (other.valid_to IS NULL OR c.time < other.valid_to)
    WHERE c.time >= $from AND c.time < $to AND c.recorded_at < $as_of
)
SELECT provider, model, service_tier, region, sum(quantity) AS quantity, sum(cost_usd) AS cost_usd, sum(other_usd) AS other_tier_usd,
    sum(CASE WHEN other_usd IS NOT NULL THEN cost_usd END) - sum(other_usd) AS available_usd,
    coalesce(sum(CASE WHEN other_usd IS NULL THEN quantity END), 0) AS unknown_quantity
FROM both GROUP BY provider, model, service_tier, region ORDER BY available_usd DESC NULLS LAST, provider, model, service_tier, region
