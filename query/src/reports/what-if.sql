-- What the same would have cost with another model at its standard tier, by the prices in force now; images cost what text does where it has
-- no price for them. `tiers` answers for other tiers, `tollgate rerate` for another price file.
-- questions: 23
-- param model (text) = *: The model that is replaced; * for each of them.
-- param provider (text) = openai: Who sells the other model, as the table prices names it.
-- param to_model (text) = gpt-5-mini: The other model.
-- column tenant: The tenant.
-- column model: The model that was used.
-- column quantity [tokens]: What was used; searches, guarded calls and sessions are units, and in the costs only.
-- column cost_usd [USD]: What it cost; NULL, like what follows, if none of it has a price on both sides.
-- column other_usd [USD]: What that would have cost with the other model at its standard tier, also what was a batch or came first.
-- column change_usd [USD]: The one less the other.
-- column unknown_quantity [tokens or units]: What has no price, or would have none; it is in neither sum.
-- chart: bars change_usd tenant model
WITH used AS (
    SELECT call_id, attempt, time, tenant, model, token_class, sum(quantity) AS quantity, sum(cost_usd) AS cost_usd,
        sum(CASE WHEN cost_usd IS NULL THEN quantity END) AS unpriced,
        sum(sum(CASE WHEN token_class LIKE '%output' OR token_class IN (units) THEN 0 ELSE quantity END)) OVER (PARTITION BY call_id, attempt, model) AS input
    FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of AND ($model = '*' OR model = $model)
    GROUP BY call_id, attempt, time, tenant, model, token_class
), sold AS (
    SELECT DISTINCT model, token_class, service_tier, coalesce(above_input_tokens, 0) AS above, price_per_mtok_usd, valid_from,
        coalesce(valid_to, TIMESTAMP '2262-01-01T00:00:00Z') AS valid_to
    FROM prices WHERE in_force_to IS NULL AND in_force_from IS NOT NULL AND provider = $provider
        AND (model = $to_model OR model LIKE '%*' AND starts_with($to_model, rtrim(model, '*')))
), price AS (
    SELECT model, token_class, above, price_per_mtok_usd, valid_from, valid_to FROM sold WHERE service_tier IS NULL
    UNION ALL
    SELECT s.model, i.image AS token_class, s.above, s.price_per_mtok_usd, s.valid_from, s.valid_to
    FROM sold s JOIN (VALUES ('input', 'image_input'), ('output', 'image_output')) AS i (plain, image) ON i.plain = s.token_class
    LEFT JOIN (SELECT DISTINCT token_class FROM sold) own ON own.token_class = i.image
    WHERE s.service_tier IS NULL AND own.token_class IS NULL
), found AS (
    SELECT u.*, p.price_per_mtok_usd AS price, row_number() OVER (PARTITION BY u.call_id, u.attempt, u.model, u.token_class
        ORDER BY p.model = $to_model DESC, length(p.model) DESC, p.above DESC, p.valid_from DESC) AS place
    FROM used u LEFT JOIN price p ON p.token_class = u.token_class AND (p.above = 0 OR u.input > p.above)
        AND u.time >= p.valid_from AND u.time < p.valid_to
), rated AS (
    SELECT tenant, model, token_class, quantity, CASE WHEN coalesce(unpriced, 0) = 0 AND price IS NOT NULL THEN cost_usd END AS cost_usd,
        CASE WHEN coalesce(unpriced, 0) = 0 THEN CAST(quantity AS DECIMAL(20, 0)) * price * 0.000001 END AS other_usd
    FROM found WHERE place = 1
)
SELECT tenant, model, sum(CASE WHEN token_class IN (units) THEN 0 ELSE quantity END) AS quantity,
    sum(cost_usd) AS cost_usd, sum(other_usd) AS other_usd,
    sum(other_usd) - sum(cost_usd) AS change_usd,
    coalesce(sum(CASE WHEN cost_usd IS NULL OR other_usd IS NULL THEN quantity END), 0) AS unknown_quantity
FROM rated GROUP BY tenant, model ORDER BY change_usd NULLS LAST, tenant, model
