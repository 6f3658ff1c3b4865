-- Budgets that last: what is left, the burn-down, and when nothing will be left at the pace so far.
-- questions: 13
-- column tenant: The tenant; NULL if the limit spans tenants.
-- column limit_name: The limit.
-- column instance: Whose counter of it.
-- column unit: What it counts.
-- column amount [the unit]: How much there is in a window.
-- column settled [the unit]: What is used.
-- column held [the unit]: What is held.
-- column remaining [the unit]: What is left.
-- column used_share [a statistic]: What is used, as a share of the amount; NULL if the amount is none.
-- column elapsed_share [a statistic]: The share of the window that is over; NULL if it never ends.
-- column projected [the unit, a statistic]: What will be used at its end, at the pace since the limit counts; use of before then that was told afterwards makes it too high. NULL if it never ends.
-- column exhausted_at: When nothing is left at the pace since the limit counts in the window, which without `backfill` is not before it came into force; NULL if that is not within the window, or of one that never ends not within a hundred years. Where nothing is left already, when an alert first said so; NULL if none did.
-- column window_end: The first instant after the window.
-- chart: bars used_share limit_name instance
SELECT tenant, limit_name, instance, unit, amount, settled, held, remaining, used_share, elapsed_share, projected, exhausted_at, window_end
FROM budgets ORDER BY used_share DESC NULLS LAST, limit_name, instance
