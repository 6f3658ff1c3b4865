-- Cost and usage in the terms of FOCUS 1.2, by hour. What has no price is not here but in the view unpriced, since FOCUS has no unknown cost.
-- A month is closed three days after its end: what becomes known later is billed in the month in which it does, as ledger rows that take
-- back and charge anew. Amounts are exact decimals of at most 12 places.
-- questions: 1 22 26 27
-- column BillingAccountId: Whom the provider bills: its account where one is stated, else the provider as configured.
-- column BillingAccountName: Not known here.
-- column BillingAccountType: Always Provider Account.
-- column BillingCurrency: Always USD.
-- column BillingPeriodStart: The UTC month that it is billed in.
-- column BillingPeriodEnd: The first instant after it.
-- column ChargeCategory: Always Usage.
-- column ChargeClass: Correction where the month of the call was closed before this became known.
-- column ChargeDescription: The model and the meter.
-- column ChargeFrequency: Always Usage-Based.
-- column ChargePeriodStart: The UTC hour of the call.
-- column ChargePeriodEnd: The first instant after it.
-- column BilledCost: What it costs.
-- column EffectiveCost: The same: nothing is amortised.
-- column ListCost: What it costs at the list price of the built-in price book; as it was charged where that has none, since FOCUS wants a number.
-- column ContractedCost: What it costs by the price in force.
-- column ListUnitPrice: Dollars for a pricing unit at list price; NULL where there is none.
-- column ContractedUnitPrice: The same.
-- column PricingQuantity: How many pricing units.
-- column PricingUnit: What the price is for.
-- column PricingCategory: Always Standard.
-- column PricingCurrency: Always USD.
-- column PricingCurrencyListUnitPrice: As ListUnitPrice.
-- column PricingCurrencyContractedUnitPrice: As ContractedUnitPrice.
-- column PricingCurrencyEffectiveCost: As EffectiveCost.
-- column ConsumedQuantity: How many tokens or units.
-- column ConsumedUnit: Tokens, Searches, Requests that a guardrail looked at, or Sessions of code.
-- column ProviderName: The provider as configured.
-- column PublisherName: The same.
-- column InvoiceIssuerName: The same.
-- column InvoiceId: Not known here.
-- column ServiceCategory: Always AI and Machine Learning.
-- column ServiceSubcategory: Always Generative AI.
-- column ServiceName: The provider's API.
-- column SkuId: Provider, model, token class and tier.
-- column SkuMeter: Such as Input Tokens or Cache Read Input Tokens.
-- column SkuPriceId: The SKU and the band of input that the price is for; not the version of the price.
-- column SkuPriceDetails: The model, the direction of its tokens and what was done with the cache, as JSON; x_ until FOCUS has the names.
-- column SubAccountId: The tenant.
-- column SubAccountName: The tenant.
-- column SubAccountType: Always Tenant.
-- column RegionId: The region that the answer states.
-- column RegionName: The same.
-- column AvailabilityZone: Not known here.
-- column ResourceId: None.
-- column ResourceName: None.
-- column ResourceType: None.
-- column Tags: The tags as JSON, and the team and project of the key.
-- column CapacityReservationId: None.
-- column CapacityReservationStatus: None.
-- column CommitmentDiscountCategory: None.
-- column CommitmentDiscountId: None.
-- column CommitmentDiscountName: None.
-- column CommitmentDiscountQuantity: None.
-- column CommitmentDiscountStatus: None.
-- column CommitmentDiscountType: None.
-- column CommitmentDiscountUnit: None.
-- column x_PrincipalId: The name of the key.
-- column x_EndUserId: The user of the key.
-- column x_TokenClass: The token class of the table charges.
-- column x_Entry: On corrections whether it takes back (reversal), charges anew (correction), or came late (original).
-- column x_RequestCount: Attempts.
-- column x_PriceBookVersion: The hash of the price book.
-- column x_PriceSource: Where the price was read.
WITH billed AS (
    SELECT *, date_trunc('hour', time) AS hour, token_class IN (units) AS unit,
        CASE WHEN entry = 'original' AND recorded_at < date_trunc('month', time) + INTERVAL '1 month' + INTERVAL '3 days'
            THEN date_trunc('month', time) ELSE date_trunc('month', recorded_at) END AS period,
        CASE WHEN lower(service_tier) IN ('default', 'standard', 'auto', 'on_demand') THEN NULL ELSE service_tier END AS tier,
        CASE WHEN strpos(price_id, ':above-') > 0 THEN concat(':above-', split_part(split_part(price_id, ':above-', 2), '@', 1)) ELSE '' END AS band,
        CAST(list_cost_usd / nullif(quantity, 0) AS DECIMAL(38, 12)) AS list_each
    FROM charges WHERE cost_usd IS NOT NULL
), summed AS (
    SELECT period, hour, CASE WHEN period > date_trunc('month', hour) THEN 'Correction' END AS class,
        CASE WHEN period > date_trunc('month', hour) THEN entry END AS entry,
        provider, provider_account, tenant, team, project, user_id, key_name, tags, model, region, tier, band, token_class, unit, price_book,
        price_source, price_per_mtok_usd, list_each, sum(quantity) AS quantity, sum(requests) AS requests,
        CAST(sum(cost_usd) AS DECIMAL(38, 12)) AS cost, CAST(sum(coalesce(list_cost_usd, cost_usd)) AS DECIMAL(38, 12)) AS list
    FROM billed
    GROUP BY period, hour, CASE WHEN period > date_trunc('month', hour) THEN entry END, provider, provider_account, tenant, team, project,
        user_id, key_name, tags, model, region, tier, band, token_class, unit, price_book, price_source, price_per_mtok_usd, list_each
    HAVING sum(quantity) <> 0
), named AS (
    SELECT *, CAST(CASE WHEN unit THEN price_per_mtok_usd * 0.000001 ELSE price_per_mtok_usd END AS DECIMAL(38, 12)) AS price,
        CAST(CASE WHEN unit THEN list_each ELSE list_each * 1000000 END AS DECIMAL(38, 12)) AS list_price,
        CASE WHEN token_class LIKE '%output' THEN 'Output' WHEN NOT unit THEN 'Input' END AS direction,
        CASE WHEN token_class LIKE 'cache_read%' THEN 'Read' WHEN token_class LIKE 'cache_write%' THEN 'Write'
            WHEN token_class = 'input' THEN 'Uncached' END AS cache,
        CASE token_class WHEN 'input' THEN 'Input Tokens' WHEN 'cache_read' THEN 'Cache Read Input Tokens'
            WHEN 'cache_write_5m' THEN 'Cache Write Input Tokens' WHEN 'cache_write_1h' THEN 'Cache Write Input Tokens (1 hour)'
            WHEN 'output' THEN 'Output Tokens' WHEN 'audio_input' THEN 'Audio Input Tokens' WHEN 'audio_output' THEN 'Audio Output Tokens'
            WHEN 'image_input' THEN 'Image Input Tokens' WHEN 'image_output' THEN 'Image Output Tokens'
            WHEN 'cache_read_audio' THEN 'Cache Read Audio Input Tokens' WHEN 'guardrail' THEN 'Guarded Calls' WHEN 'code_session' THEN 'Code Sessions'
            ELSE 'Searches' END AS meter,
        concat_ws(':', provider, model, token_class, tier) AS sku
    FROM summed
)
SELECT coalesce(provider_account, provider) AS "BillingAccountId",
    CAST(NULL AS VARCHAR) AS "BillingAccountName",
    'Provider Account' AS "BillingAccountType",
    'USD' AS "BillingCurrency",
    period AS "BillingPeriodStart",
    period + INTERVAL '1 month' AS "BillingPeriodEnd",
    'Usage' AS "ChargeCategory",
    class AS "ChargeClass",
    concat(model, ' ', meter) AS "ChargeDescription",
    'Usage-Based' AS "ChargeFrequency",
    hour AS "ChargePeriodStart",
    hour + INTERVAL '1 hour' AS "ChargePeriodEnd",
    cost AS "BilledCost",
    cost AS "EffectiveCost",
    list AS "ListCost",
    cost AS "ContractedCost",
    list_price AS "ListUnitPrice",
    price AS "ContractedUnitPrice",
    CASE WHEN unit THEN CAST(quantity AS DECIMAL(38, 12)) ELSE CAST(quantity * 0.000001 AS DECIMAL(38, 12)) END AS "PricingQuantity",
    CASE WHEN token_class = 'guardrail' THEN 'Requests' WHEN token_class = 'code_session' THEN 'Sessions' WHEN unit THEN 'Searches'
        ELSE '1000000 Tokens' END AS "PricingUnit",
    'Standard' AS "PricingCategory",
    'USD' AS "PricingCurrency",
    list_price AS "PricingCurrencyListUnitPrice",
    price AS "PricingCurrencyContractedUnitPrice",
    cost AS "PricingCurrencyEffectiveCost",
    CAST(quantity AS DECIMAL(38, 12)) AS "ConsumedQuantity",
    CASE WHEN token_class = 'guardrail' THEN 'Requests' WHEN token_class = 'code_session' THEN 'Sessions' WHEN unit THEN 'Searches'
        ELSE 'Tokens' END AS "ConsumedUnit",
    provider AS "ProviderName",
    provider AS "PublisherName",
    provider AS "InvoiceIssuerName",
    CAST(NULL AS VARCHAR) AS "InvoiceId",
    'AI and Machine Learning' AS "ServiceCategory",
    'Generative AI' AS "ServiceSubcategory",
    concat(provider, ' API') AS "ServiceName",
    sku AS "SkuId",
    meter AS "SkuMeter",
    concat(sku, band) AS "SkuPriceId",
    json_object(NULL, 'x_ModelId', model, 'x_TokenDirection', direction, 'x_TokenCacheAction', cache, 'x_ServiceTier', tier, 'x_ContextBand', nullif(band, '')) AS "SkuPriceDetails",
    tenant AS "SubAccountId",
    tenant AS "SubAccountName",
    'Tenant' AS "SubAccountType",
    region AS "RegionId",
    region AS "RegionName",
    CAST(NULL AS VARCHAR) AS "AvailabilityZone",
    CAST(NULL AS VARCHAR) AS "ResourceId",
    CAST(NULL AS VARCHAR) AS "ResourceName",
    CAST(NULL AS VARCHAR) AS "ResourceType",
    json_object(tags, 'tollgate/team', team, 'tollgate/project', project) AS "Tags",
    CAST(NULL AS VARCHAR) AS "CapacityReservationId",
    CAST(NULL AS VARCHAR) AS "CapacityReservationStatus",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountCategory",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountId",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountName",
    CAST(NULL AS DECIMAL(38, 12)) AS "CommitmentDiscountQuantity",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountStatus",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountType",
    CAST(NULL AS VARCHAR) AS "CommitmentDiscountUnit",
    key_name AS "x_PrincipalId",
    user_id AS "x_EndUserId",
    token_class AS "x_TokenClass",
    entry AS "x_Entry",
    requests AS "x_RequestCount",
    price_book AS "x_PriceBookVersion",
    price_source AS "x_PriceSource"
FROM named
