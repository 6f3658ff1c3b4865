-- How much of the spend has a tag, and what has no team, project or user.
-- questions: 18
-- param tag (text) = env: The tag.
-- column tenant: The tenant.
-- column cost_usd [USD]: All of it; NULL if none of it has a price.
-- column untagged_usd [USD]: What does not have the tag; NULL, as in those below, if none of it has a price.
-- column coverage [a statistic]: The share that has it; NULL if none of what has it has a price.
-- column no_team_usd [USD]: What has no team.
-- column no_project_usd [USD]: What has no project.
-- column no_user_usd [USD]: What has no user.
-- column unpriced_quantity [tokens or units]: What has no price, and so is in no cost.
-- chart: bars untagged_usd tenant
SELECT tenant, known_sum(cost_usd) AS cost_usd, CASE WHEN count(*) FILTER (WHERE tag(tags, $tag) IS NULL) = 0 THEN 0 ELSE known_sum(cost_usd WHERE tag(tags, $tag) IS NULL) END AS untagged_usd,
    CAST(CASE WHEN count(*) FILTER (WHERE tag(tags, $tag) IS NOT NULL) = 0 THEN 0 ELSE known_sum(cost_usd WHERE tag(tags, $tag) IS NOT NULL) END AS DOUBLE)
        / nullif(CAST(known_sum(cost_usd) AS DOUBLE), 0) AS coverage,
    CASE WHEN count(*) FILTER (WHERE team IS NULL) = 0 THEN 0 ELSE known_sum(cost_usd WHERE team IS NULL) END AS no_team_usd,
    CASE WHEN count(*) FILTER (WHERE project IS NULL) = 0 THEN 0 ELSE known_sum(cost_usd WHERE project IS NULL) END AS no_project_usd,
    CASE WHEN count(*) FILTER (WHERE user_id IS NULL) = 0 THEN 0 ELSE known_sum(cost_usd WHERE user_id IS NULL) END AS no_user_usd,
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN quantity END), 0) AS unpriced_quantity
FROM charges WHERE time >= $from AND time < $to AND recorded_at < $as_of GROUP BY tenant ORDER BY untagged_usd DESC NULLS LAST, tenant
