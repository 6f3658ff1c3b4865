-- What a million tokens really cost, by UTC day, model and class.
-- questions: 5
-- column day: The UTC day.
-- column provider: The provider.
-- column model: The model.
-- column token_class: The class of tokens or units.
-- column quantity [tokens or units]: How many have a price.
-- column cost_usd [USD]: What those cost.
-- column usd_per_mtok [USD per million, a statistic]: Cost by quantity.
-- column unpriced_quantity [tokens or units]: How many have no price.
SELECT day, provider, model, token_class, sum(quantity - unpriced_quantity) AS quantity, known_sum(cost_usd) AS cost_usd,
    CAST(sum(cost_usd) AS DOUBLE) * 1000000 / nullif(sum(quantity - unpriced_quantity), 0) AS usd_per_mtok,
    sum(unpriced_quantity) AS unpriced_quantity
FROM daily_spend GROUP BY day, provider, model, token_class
