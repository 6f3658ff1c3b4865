-- Limits of a day and longer in the window that lasts: what is left, and when it will be used up at the pace so far.
-- questions: 13
-- column tenant: The tenant; NULL if the limit spans tenants.
-- column limit_name: The limit.
-- column instance: Whose counter of it.
-- column unit: What it counts.
-- column mode: hard, soft or observe.
-- column amount [the unit]: How much there is in a window.
-- column settled [the unit]: What is used.
-- column held [the unit]: What is held for calls that run or whose use is not known.
-- column remaining [the unit]: What is left of it.
-- column window_start: The first instant of the window.
-- column window_end: The first instant after it; NULL if it never ends.
-- column used_share [a statistic]: What is used, as a share of the amount.
-- column elapsed_share [a statistic]: The share of the window that is over.
-- column projected [the unit, a statistic]: What will be used at its end, at the pace so far.
-- column exhausted_at: When nothing is left at that pace; NULL if that is not within the window.
WITH live AS (
    SELECT *, CAST(to_unixtime(now()) - to_unixtime(window_start) AS DOUBLE) AS elapsed,
        CAST(to_unixtime(window_end) - to_unixtime(window_start) AS DOUBLE) AS whole
    FROM balances
    WHERE limit_window IN ('day', 'week', 'month', 'total') AND window_start <= now()
        AND (window_end IS NULL OR window_end > now())
)
SELECT tenant, limit_name, instance, unit, mode, amount, settled, held, amount - settled - coalesce(held, 0) AS remaining,
    window_start, window_end, CAST(settled AS DOUBLE) / CAST(amount AS DOUBLE) AS used_share, elapsed / whole AS elapsed_share,
    CAST(settled AS DOUBLE) * whole / elapsed AS projected,
    CASE WHEN settled > 0 AND elapsed * CAST(amount AS DOUBLE) < whole * CAST(settled AS DOUBLE)
        THEN to_timestamp_seconds(to_unixtime(window_start) + CAST(elapsed * CAST(amount AS DOUBLE) / CAST(settled AS DOUBLE) AS BIGINT))
    END AS exhausted_at
FROM live
