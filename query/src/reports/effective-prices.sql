-- What a million tokens really cost by model and class, and over all classes, over time.
-- questions: 5
-- param grain (grain) = month: hour, day, week, month or total.
-- column period: The local time at which the period begins.
-- column provider: The provider.
-- column model: The model.
-- column token_class: The class; NULL for all classes together, the blended price.
-- column quantity [tokens]: How many have a price.
-- column cost_usd [USD]: What those cost.
-- column usd_per_mtok [USD per million, a statistic]: Cost by quantity.
-- column unpriced_quantity [tokens]: How many have no price.
-- chart: lines period usd_per_mtok provider model all:token_class
WITH used AS (
    SELECT $grain:time AS at, provider, model, token_class, coalesce(sum(CASE WHEN cost_usd IS NOT NULL THEN quantity END), 0) AS quantity,
        sum(cost_usd) AS cost_usd, coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
    FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of
        AND token_class NOT IN (units)
    GROUP BY $grain:time, provider, model, token_class
), both AS (
    SELECT * FROM used
    UNION ALL
    SELECT at, provider, model, NULL, sum(quantity), sum(cost_usd), sum(unpriced_quantity) FROM used GROUP BY at, provider, model
)
SELECT to_char(at, $grain:format) AS period, provider, model, token_class, quantity,
    CASE WHEN cost_usd = 0 AND quantity = 0 AND unpriced_quantity <> 0 THEN NULL ELSE cost_usd END AS cost_usd,
    CAST(cost_usd AS DOUBLE) * 1000000 / nullif(quantity, 0) AS usd_per_mtok, unpriced_quantity
FROM both ORDER BY at, provider, model, token_class NULLS FIRST
