-- Windows of limits that more was used in than an amount that was in force in them, and what let it go further.
-- questions: 14
-- column tenant: The tenant; NULL if the limit spans tenants.
-- column team: The team whose counter it is; NULL, like those that follow, if it is not one of its own.
-- column project: The project.
-- column user_id: The user.
-- column key_name: The key.
-- column limit_name: The limit.
-- column instance: Whose counter of it.
-- column unit: What it counts.
-- column mode: hard, soft or observe.
-- column window_start: The first instant of the window.
-- column window_end: The first instant after it.
-- column counts_from: Since when the limit counts in it, which without `backfill` is not before it came into force; NULL where nobody knows.
-- column amount [the unit]: The amount that was in force; each has a row that was passed.
-- column settled [the unit]: What was used while it was; of one that was changed later, where nobody knows that, in the whole window.
-- column over [the unit]: By how much that is more.
-- column first_seen: When metering first saw it, where it is an alert.
-- column held_then [the unit]: The most that was held at that time.
-- column why: What let it pass, as far as the ledger tells.
WITH passed AS (
    SELECT tenant, team, project, user_id, key_name, limit_name, limit_id, instance, unit, mode, window_start, window_end, amount, settled, time, held,
        CAST(NULL AS TIMESTAMP) AS since, CAST(NULL AS TIMESTAMP) AS until, FALSE AS is_plain, CAST(NULL AS DECIMAL(38, 12)) AS was
    FROM alerts WHERE settled > amount
    UNION ALL
    SELECT b.tenant, b.team, b.project, b.user_id, b.key_name, b.limit_name, b.limit_id, b.instance, b.unit, b.mode, b.window_start, b.window_end,
        coalesce(l.amount, b.amount) AS amount, b.settled, CAST(NULL AS TIMESTAMP) AS time, CAST(NULL AS DECIMAL(38, 12)) AS held, l.valid_from AS since,
        CASE WHEN l.amount <> b.amount AND (b.window_end IS NULL OR l.valid_to < b.window_end) THEN l.valid_to END AS until,
        b.unit IN ('usd', 'requests', 'tokens') AND b.tenant IS NOT NULL
            AND strpos(l.scope, 'model=') + strpos(l.scope, 'provider=') + strpos(l.scope, 'tag') = 0 AS is_plain, p.amount AS was
    FROM balances b
    LEFT JOIN limits l ON l.limit_id = b.limit_id AND (b.window_end IS NULL OR l.valid_from < b.window_end)
        AND (l.valid_to IS NULL OR l.valid_to > b.window_start)
    LEFT JOIN limits p ON p.limit_id = l.limit_id AND p.amount > l.amount AND p.valid_to > b.window_start AND p.valid_to <= l.valid_from
    WHERE b.settled > coalesce(l.amount, b.amount)
), summed AS (
    SELECT tenant, team, project, user_id, key_name, limit_name, limit_id, instance, unit, mode, window_start, window_end, amount,
        max(settled) AS settled, min(time) AS first_seen, max(held) AS held_then, max(was) AS was, bool_or(is_plain) AS is_plain,
        CASE WHEN count(until) = count(since) THEN max(until) END AS until
    FROM passed GROUP BY tenant, team, project, user_id, key_name, limit_name, limit_id, instance, unit, mode, window_start, window_end, amount
), terms AS (
    SELECT DISTINCT limit_id, window_start, CASE WHEN is_filled THEN window_start WHEN valid_from < window_start THEN window_start ELSE valid_from END AS term_start,
        CASE WHEN NOT is_filled THEN valid_to END AS term_end
    FROM (
        SELECT s.limit_id, s.window_start, l.valid_from, l.valid_to,
            max(strpos(l.definition, '"backfill":true')) OVER (PARTITION BY s.limit_id, s.window_start) > 0 AS is_filled
        FROM (SELECT limit_id, window_start, max(window_end) AS window_end FROM summed GROUP BY limit_id, window_start) s
        JOIN limits l ON l.limit_id = s.limit_id AND (s.window_end IS NULL OR l.valid_from < s.window_end)
            AND (l.valid_to IS NULL OR l.valid_to > s.window_start)
    )
), told AS (
    SELECT r.*, CASE WHEN c.call_id IS NULL THEN 0 ELSE r.attempts END AS calls, CASE WHEN c.call_id IS NULL THEN r.attempts ELSE 0 END AS others,
        CASE WHEN c.call_id IS NULL THEN r.recorded_at ELSE r.time END AS counted_at
    FROM (
        SELECT * FROM (
            SELECT call_id, tenant, team, project, user_id, key_name, time, recorded_at, CAST(cost_usd AS DECIMAL(38, 12)) AS usd, requests,
                CASE WHEN token_class IN (units) THEN 0 ELSE quantity END AS tokens,
                CASE WHEN entry <> 'original' THEN 1 ELSE 0 END AS corrections, 0 AS attempts
            FROM charges
            UNION ALL
            SELECT call_id, tenant, team, project, user_id, key_name, time, recorded_at, CAST(0 AS DECIMAL(38, 12)), 0, 0, 0, 1 FROM usage
        ) WHERE time >= (SELECT min(window_start) FROM summed)
    ) r LEFT JOIN (SELECT DISTINCT call_id FROM calls) c ON c.call_id = r.call_id
), known AS (
    SELECT s.tenant, s.team, s.project, s.user_id, s.key_name, s.limit_name, s.instance, s.unit, s.mode, s.window_start, s.window_end, s.amount,
        s.settled, s.first_seen, s.held_then, s.was, s.until, s.is_plain, min(i.term_start) AS counts_from, coalesce(sum(t.corrections), 0) AS corrections,
        coalesce(sum(t.calls), 0) AS calls, coalesce(sum(t.others), 0) AS others,
        coalesce(sum(t.usd), 0) AS usd, CAST(coalesce(sum(t.requests), 0) AS DECIMAL(38, 12)) AS requests,
        CAST(coalesce(sum(t.tokens), 0) AS DECIMAL(38, 12)) AS tokens
    FROM summed s LEFT JOIN terms i ON i.limit_id = s.limit_id AND i.window_start = s.window_start
    LEFT JOIN told t ON t.tenant = s.tenant AND (s.team IS NULL OR t.team = s.team) AND (s.project IS NULL OR t.project = s.project)
        AND (s.user_id IS NULL OR t.user_id = s.user_id) AND (s.key_name IS NULL OR t.key_name = s.key_name)
        AND t.time >= s.window_start AND (s.window_end IS NULL OR t.time < s.window_end) AND (s.until IS NULL OR t.recorded_at < s.until)
        AND (i.term_start IS NULL OR t.counted_at >= i.term_start) AND (i.term_end IS NULL OR t.counted_at < i.term_end)
    GROUP BY s.tenant, s.team, s.project, s.user_id, s.key_name, s.limit_name, s.limit_id, s.instance, s.unit, s.mode, s.window_start, s.window_end,
        s.amount, s.settled, s.first_seen, s.held_then, s.was, s.until, s.is_plain
), audited AS (
    SELECT *, CASE WHEN until IS NOT NULL AND is_plain
        THEN least(settled, CASE unit WHEN 'usd' THEN usd WHEN 'requests' THEN requests ELSE tokens END) ELSE settled END AS used FROM known
)
SELECT tenant, team, project, user_id, key_name, limit_name, instance, unit, mode, window_start, window_end, counts_from, amount, used AS settled,
    used - amount AS over, first_seen, held_then,
    concat_ws('; ', CASE WHEN mode = 'observe' THEN 'it refuses nothing' END, CASE WHEN was IS NOT NULL THEN 'the amount was lowered' END,
        CASE WHEN others > 0 THEN 'use that was told afterwards' END, CASE WHEN corrections > 0 THEN 'corrections' END,
        CASE WHEN mode = 'soft' AND was IS NULL AND (calls > 0 OR tenant IS NULL) THEN 'calls in flight, and balances that were behind' END,
        CASE WHEN mode = 'hard' AND was IS NULL AND others = 0 AND corrections = 0 THEN 'a bill beyond its bound' END,
        CASE WHEN until IS NOT NULL THEN 'the amount was changed later' END,
        CASE WHEN until IS NOT NULL AND NOT is_plain THEN 'what was used by then is not known' END) AS why
FROM audited WHERE used > amount
