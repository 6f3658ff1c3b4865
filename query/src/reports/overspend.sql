-- By how much limits were passed, and why: with how old the balances were that calls were admitted by.
-- questions: 14
-- column tenant: The tenant; NULL if the limit spans tenants.
-- column limit_name: The limit.
-- column instance: Whose counter of it.
-- column mode: hard, soft or observe.
-- column unit: What it counts.
-- column amount [the unit]: The amount that was in force; each has a row that was passed.
-- column settled [the unit]: What was used while it was.
-- column over [the unit]: By how much that is more.
-- column over_share [a statistic]: That by the amount; NULL if the amount is none.
-- column held_then [the unit]: The most that was held when metering saw it.
-- column oldest_balance_ms [ms]: The age of the oldest balance that a call which may count in it was admitted by in that window; NULL if there was none.
-- column window_start: The first instant of the window.
-- column why: What let it pass, as far as the ledger tells.
-- chart: bars over_share tenant limit_name instance window_start
SELECT o.tenant, o.limit_name, o.instance, o.mode, o.unit, o.amount, o.settled, o.over,
    CAST(o.over AS DOUBLE) / nullif(CAST(o.amount AS DOUBLE), 0) AS over_share, o.held_then, max(c.balance_age_ms) AS oldest_balance_ms,
    o.window_start, o.why
FROM overspend o LEFT JOIN calls c ON c.tenant = o.tenant AND (o.team IS NULL OR c.team = o.team) AND (o.project IS NULL OR c.project = o.project)
    AND (o.user_id IS NULL OR c.user_id = o.user_id) AND (o.key_name IS NULL OR c.key_name = o.key_name)
    AND c.time >= o.window_start AND (o.window_end IS NULL OR c.time < o.window_end) AND (o.counts_from IS NULL OR c.time >= o.counts_from)
WHERE o.window_start < $to AND (o.window_end IS NULL OR o.window_end > $from)
GROUP BY o.tenant, o.limit_name, o.instance, o.mode, o.unit, o.amount, o.settled, o.over, o.held_then, o.window_start, o.why
ORDER BY o.window_start, o.limit_name, o.instance, o.amount
