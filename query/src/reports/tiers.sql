-- Service tiers and regions, and what the same tokens would have cost in the batch tier where the price book has one.
-- questions: 29
-- param tier (text) = batch: The other tier.
-- column provider: The provider.
-- column model: The model.
-- column service_tier: The tier that was used; NULL if not stated.
-- column region: The region; NULL if not stated.
-- column quantity [tokens]: What was used; searches, guarded calls and sessions are units, and in the costs only.
-- column cost_usd [USD]: What it cost.
-- column other_tier_usd [USD]: What that part would have cost in the other tier that has a price there.
-- column available_usd [USD]: What would have been saved on it.
-- column unknown_quantity [tokens or units]: What has no price in the other tier, or none at all.
-- chart: bars available_usd provider model service_tier region
WITH other AS (
    SELECT * FROM other_prices WHERE token_class = charged_class AND service_tier = $tier
), banded AS (
    SELECT DISTINCT c.model FROM (SELECT DISTINCT model, price_id FROM charges WHERE price_id IS NOT NULL) c
    JOIN (SELECT DISTINCT model FROM prices WHERE above_input_tokens > 0) p ON p.model = c.model
        OR p.model LIKE '%*' AND starts_with(c.model, rtrim(p.model, '*')) OR strpos(c.price_id, concat(':', p.model, ':')) > 0
), inputs AS (
    SELECT call_id, attempt, time, entry, recorded_at, model, sum(abs(quantity)) AS input FROM charges
    WHERE time >= $from AND time < $to AND token_class NOT LIKE '%output' AND token_class NOT IN (units)
        AND model IN (SELECT model FROM banded)
    GROUP BY call_id, attempt, time, entry, recorded_at, model
), both AS (
    SELECT c.provider, c.model, c.service_tier, c.region, c.token_class, c.quantity, c.cost_usd, c.quantity * o.price_per_mtok_usd * 0.000001 AS other_usd
    FROM charges c
    LEFT JOIN inputs i ON i.call_id = c.call_id AND i.attempt = c.attempt AND i.time = c.time AND i.entry = c.entry AND i.recorded_at = c.recorded_at
        AND i.model = c.model
    LEFT JOIN other o ON o.price_book = c.price_book AND o.price_id = c.price_id AND o.provider = c.provider AND o.model = c.model
        AND c.time >= o.valid_from AND (o.valid_to IS NULL OR c.time < o.valid_to)
        AND (o.above_input_tokens = 0 OR i.input > o.above_input_tokens)
        AND (o.up_to_input_tokens IS NULL OR coalesce(i.input, 0) <= o.up_to_input_tokens)
    WHERE c.time >= $from AND c.time < $to AND c.recorded_at < $as_of
)
SELECT provider, model, service_tier, region, sum(CASE WHEN token_class IN (units) THEN 0 ELSE quantity END) AS quantity,
    known_sum(cost_usd) AS cost_usd, known_sum(other_usd) AS other_tier_usd,
    known_sum(cost_usd WHERE other_usd IS NOT NULL) - known_sum(other_usd) AS available_usd,
    coalesce(sum(CASE WHEN other_usd IS NULL THEN quantity END), 0) AS unknown_quantity
FROM both GROUP BY provider, model, service_tier, region ORDER BY available_usd DESC NULLS LAST, provider, model, service_tier, region
