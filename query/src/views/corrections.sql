-- Corrections and the charges that they take back, and whether they are of a month that was over.
-- questions: 26
-- column billing_period: The month that they are billed in.
-- column charge_month: The UTC month of the call.
-- column recorded_at: When the correction was recorded.
-- column tenant: The tenant.
-- column provider: The provider.
-- column model: The model.
-- column token_class: The class of tokens or units.
-- column corrects: The attempt, as call_id/attempt.
-- column entry: reversal or correction.
-- column quantity [tokens or units]: How many; less than none on a reversal.
-- column cost_usd [USD]: What they cost; NULL if they have no price.
-- column of_closed_month: Whether the call was in an earlier month than they are billed in.
SELECT billing_period, to_char(time, '%Y-%m') AS charge_month, recorded_at, tenant, provider, model, token_class, corrects,
    entry, quantity, cost_usd, to_char(time, '%Y-%m') <> billing_period AS of_closed_month
FROM charges WHERE entry <> 'original'
