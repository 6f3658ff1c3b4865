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
-- column used_share [a statistic]: What is used, as a share of the amount; NULL if the amount is none.
-- column elapsed_share [a statistic]: The share of the window that is over; NULL if it never ends.
-- column projected [the unit, a statistic]: What will be used at its end, at the pace since the limit counts; use of before then that was told afterwards makes it too high. NULL if it never ends.
-- column exhausted_at: When nothing is left at the pace since the limit counts in the window, which without `backfill` is not before it came into force; NULL if that is not within the window, or of one that never ends not within a hundred years. Where nothing is left already, when an alert first said so; NULL if none did.
WITH live AS (
    SELECT b.*, r.reached, CASE WHEN b.window_end IS NULL OR s.since > b.window_start AND s.filled = 0 THEN s.since ELSE b.window_start END AS begun
    FROM balances b
    LEFT JOIN (
        SELECT w.limit_id, w.window_start, min(l.valid_from) AS since, max(strpos(l.definition, '"backfill":true')) AS filled
        FROM (SELECT DISTINCT limit_id, window_start FROM balances) w
        JOIN limits l ON l.limit_id = w.limit_id AND l.valid_from <= now() AND (l.valid_to IS NULL OR l.valid_to > w.window_start)
        GROUP BY w.limit_id, w.window_start
    ) s ON s.limit_id = b.limit_id AND s.window_start = b.window_start
    LEFT JOIN (
        SELECT instance_id, window_start, min(time) AS reached FROM alerts WHERE settled >= amount GROUP BY instance_id, window_start
    ) r ON r.instance_id = b.instance_id AND r.window_start = b.window_start
    WHERE b.limit_window IN ('day', 'week', 'month', 'total') AND b.window_start <= now() AND (b.window_end IS NULL OR b.window_end > now())
), paced AS (
    SELECT *, CAST(to_unixtime(now()) - to_unixtime(begun) AS DOUBLE) AS elapsed, CAST(to_unixtime(window_end) - to_unixtime(begun) AS DOUBLE) AS whole,
        CAST(to_unixtime(now()) - to_unixtime(window_start) AS DOUBLE) / CAST(to_unixtime(window_end) - to_unixtime(window_start) AS DOUBLE) AS elapsed_share
    FROM live
)
SELECT tenant, limit_name, instance, unit, mode, amount, settled, held, amount - settled - coalesce(held, 0) AS remaining, window_start, window_end,
    CAST(settled AS DOUBLE) / nullif(CAST(amount AS DOUBLE), 0) AS used_share, elapsed_share,
    CAST(settled AS DOUBLE) * whole / nullif(elapsed, 0) AS projected,
    CASE WHEN settled >= amount THEN reached
        WHEN settled > 0 AND elapsed * CAST(amount AS DOUBLE) < coalesce(whole, CAST(3155760000 AS DOUBLE)) * CAST(settled AS DOUBLE)
        THEN to_timestamp_seconds(to_unixtime(begun) + CAST(floor(elapsed * CAST(amount AS DOUBLE) / CAST(settled AS DOUBLE)) AS BIGINT))
    END AS exhausted_at
FROM paced
