//! The schedules by which limits and exactly-once break, each with what proves that it does not break them here.
//!
//! A proof is a test by its name, or a planted fault that the simulation has to catch. What is named has to be there.

use super::{root, sources};

/// A schedule, and what proves it.
type Schedule = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Number and name; tests; planted faults.
const SCHEDULES: &[Schedule] = &[
    (
        "1: a bound that is none",
        &["usage_is_within_the_bound", "a_bill_beyond_its_bound_is_settled_in_full_and_then_nothing_passes"],
        &["SettlementClipped"],
    ),
    ("2A: a grant lost to compaction", &["decisions_are_the_last_word_on_each_key"], &["GrantCompactedUnread"]),
    ("2A: a grant made twice", &["a_request_that_comes_twice_is_granted_once"], &[]),
    (
        "2B: a return before the settlement",
        &["reports_in_any_order_give_the_same_balance"],
        &["ReturnBeforeSettlement"],
    ),
    (
        "2C: one counter of what is held and spent",
        &[
            "debt_beyond_a_lease_is_not_forgotten",
            "what_an_attempt_used_beyond_its_hold_is_not_free_to_the_one_after_it",
        ],
        &["HoldReleasedTwice", "LeasesNotCounted"],
    ),
    (
        "3: limits that span tenants",
        &[
            "a_limit_that_spans_tenants_is_granted_by_one_lane_and_by_no_other",
            "a_vector_is_granted_whole_or_not_at_all",
            "what_is_passed_to_another_lane_stands_with_its_transaction_or_not_at_all",
        ],
        &["PassedLost"],
    ),
    (
        "4: a new owner that executes again",
        &["a_restored_engine_goes_on_as_the_one_that_committed", "an_owner_that_comes_too_late_commits_nothing"],
        &["ReExecutedDecision", "ZombieMember"],
    ),
    (
        "4: a restore below an open transaction",
        &["a_transaction_that_its_owner_left_open_is_nothing"],
        &["RestoreToLastStable"],
    ),
    (
        "5: replay without grants",
        &["what_the_engine_wrote_is_proved_equal", "what_the_log_let_go_of_is_proved_priced_and_judged_as_before"],
        &[],
    ),
    (
        "6A: sequences that begin again after a power loss",
        &["a_journal_that_lost_what_was_shipped_is_not_believed_although_its_sequences_begin_again"],
        &["ShippedBeforeFsync"],
    ),
    (
        "6B: a journal that is restored, or copied and used twice",
        &[
            "the_successor_of_a_copied_journal_frees_nothing",
            "of_a_journal_that_two_go_on_with_one_is_heard_and_nothing_is_granted_twice",
            "what_several_find_open_is_ended_by_the_one_that_took_over",
            "whatever_is_killed_filled_torn_or_copied_all_agree_to_the_unit",
        ],
        &["RestoredJournalAccepted", "CopiedFilesAccepted", "ForkedLeaseFreed", "EndedByAnybody"],
    ),
    ("6C: a producer of whom there are two", &["sequences_are_accepted_without_a_gap"], &["ProducerReused"]),
    (
        "7: a lease that is freed while it is spent",
        &["what_an_operator_releases_is_free_and_its_gateway_is_not_listened_to_any_more"],
        &["SilentLeaseFreed"],
    ),
    ("8: duplicates in the lake", &["what_is_shipped_twice_stands_once_in_the_ledger"], &["ClaimedBeforeCommit"]),
    (
        "9: less than its hold for what nobody knows",
        &["what_is_not_known_is_never_zero", "what_is_not_known_stays_held"],
        &[
            "CrashSettlesZero",
            "UnknownReleased",
            "RetryUnderFirstHold",
            "SentTwice",
            "LeaseFreedAtRestart",
            "LeftHeldTwice",
            "SettleLostOnCancel",
            "CountedUnwritten",
        ],
    ),
    (
        "10: hidden output, and what is cut",
        &[
            "a_stream_that_is_held_by_the_slice_takes_more_as_long_as_there_is_some",
            "output_that_nobody_sees_is_held_whole_until_it_is_billed",
        ],
        &["HiddenOutputNotHeld", "ExtensionNotRecorded", "ExtensionForgotten", "ExtensionTooSmall"],
    ),
    (
        "11: another price at the gateway than in the books",
        &["an_attempt_is_charged_by_the_book_of_its_admission_whatever_is_in_force"],
        &["PriceChangedBetweenHoldAndCharge"],
    ),
    (
        "12: two stores and no commit of both",
        &["a_crash_between_ledger_and_store", "a_crash_before_the_ledger_is_on_the_platter"],
        &["StoreCommitLost"],
    ),
    (
        "13: gaps",
        &[
            "events_that_are_lost_for_good_are_waited_for_until_an_operator_releases_their_producer",
            "what_metering_does_not_confirm_is_sent_again_and_says_what_it_is",
            "a_body_that_cannot_be_read_takes_its_place",
        ],
        &["GapAccepted", "NotSentAgain"],
    ),
    (
        "14: the last units",
        &[
            "of_ten_gateways_that_each_have_some_any_gets_all_of_it",
            "ten_gateways_at_the_end_of_an_amount_give_it_to_the_one_call_that_it_is_for",
            "two_that_hold_what_the_other_needs_do_not_wait_for_ever",
            "a_gateway_that_waits_for_more_gives_back_what_its_call_cannot_use_alone",
            "calls_that_wait_here_have_the_first_go_at_what_is_called_back_as_it_comes",
        ],
        &["LastUnitsNotRecalled"],
    ),
    (
        "15: a failover that outlasts the leases",
        &[
            "calls_go_on_while_metering_fails_over",
            "a_failover_is_over_in_half_the_time_that_leases_last_for",
            "what_is_leased_lasts_for_the_outage_budget_at_the_demand_of_now",
        ],
        &[],
    ),
    (
        "16: a lowered amount",
        &[
            "a_lowered_amount_grants_nothing_until_l1_holds",
            "of_a_lowered_amount_no_more_passes_than_is_left_however_much_is_leased",
            "a_standing_lease_is_spent_up_to_a_lowered_amount_in_every_window",
            "what_others_have_of_a_lowered_amount_is_not_spent_twice",
        ],
        &["OverdrawnSpent"],
    ),
    (
        "16: soft that becomes hard",
        &[
            "what_is_open_under_a_soft_limit_counts_when_it_becomes_hard",
            "who_is_open_when_a_soft_limit_becomes_hard_counts_and_more_than_is_left_is_not_granted",
        ],
        &[],
    ),
    (
        "16: another identity",
        &[
            "a_limit_with_another_window_unit_or_scope_is_another_one_and_begins_at_zero",
            "a_limit_that_became_another_one_has_nothing_of_what_was_leased",
            "a_late_limit_counts_what_was_before_it_and_what_was_open",
        ],
        &[],
    ),
    ("17a: two time zone databases", &["windows_follow_the_calendar_of_their_zone"], &["TwoTimeZoneDatabases"]),
    (
        "17b: clocks that go back or far ahead",
        &[
            "a_clock_that_goes_back_leads_into_no_window_that_was_let_go_of",
            "a_clock_that_is_far_ahead_is_in_no_window_and_asks_for_none",
            "a_clock_that_is_far_ahead_or_behind_opens_no_window_that_metering_has_not_published",
        ],
        &["ClockBackAcrossWindows"],
    ),
    ("17c: an hour that occurs twice", &["the_hour_that_occurs_twice_is_two_windows"], &[]),
    (
        "17d: a stream across the end of a window",
        &["a_call_across_the_end_of_a_window_belongs_to_the_one_in_which_it_was_admitted"],
        &[],
    ),
    (
        "a call that outlasts many windows",
        &[
            "calls_that_outlast_many_windows_take_nothing_from_the_one_that_lasts",
            "a_call_that_holds_nothing_of_a_second_takes_nothing_from_the_one_that_it_ends_in",
        ],
        &["WindowForgotten"],
    ),
    (
        "17e: a round trip each second",
        &["a_standing_lease_serves_every_window", "a_standing_lease_is_good_for_the_next_window_without_a_message"],
        &[],
    ),
    (
        "18a: writers of the lake that race, and that die",
        &[
            "what_is_not_confirmed_is_compared_before_it_is_tried_again",
            "writers_that_race_add_up_to_one_ledger",
            "of_two_writers_each_row_is_taken_from_one",
            "a_crash_between_files_and_commit_loses_and_doubles_nothing",
            "a_store_that_overwrites_is_refused",
        ],
        &["ZombieLakeWriter", "LakeWriterRepeats", "LakeWriterSkips"],
    ),
    ("18b: tables at several offsets", &["entries_are_visible_once_in_all_tables_up_to_one_vector"], &[]),
    (
        "18c: a tail that is evicted under a query",
        &["a_row_is_answered_once_however_the_cut_falls"],
        &["TailEvictedUnderQuery"],
    ),
    ("19: a changed number of partitions", &["topics_that_are_not_as_they_have_to_be_are_refused"], &["LanesDiffer"]),
    (
        "20: counters that clients make",
        &["client_tags_make_as_many_counters_as_they_may_in_a_window"],
        &["TagsUncounted", "NothingCounted"],
    ),
    (
        "20: counters whose window is over",
        &["a_counter_whose_window_is_over_is_tombstoned_once_nothing_of_it_is_held"],
        &[],
    ),
    (
        "21: corrections",
        &[
            "corrections_are_made_once_and_count_where_the_original_does",
            "a_limit_that_is_overdrawn_grants_nothing_more",
            "a_limit_that_an_event_overdraws_lets_nothing_pass_that_needs_any_of_it",
            "of_two_amendments_that_race_one_holds_in_every_lane",
        ],
        &["ClaimWithoutEffect", "ClearedTwice", "NothingCleared", "CorrectedUnclaimed", "PassedUndecided"],
    ),
    (
        "a limit that comes late",
        &["a_limit_that_comes_late_counts_what_was_used_before_it_and_says_what_is_reached"],
        &["BackfilledTwice"],
    ),
    (
        "what is open at a time",
        &["what_is_open_at_a_time_is_over_when_its_gateway_is_gone_or_long_silent"],
        &["ConcurrentHoldLost", "UnheardHolds"],
    ),
    (
        "a call of several attempts",
        &["a_call_ends_once_wherever_between_its_attempts_the_process_died"],
        &["CallLeftOpen", "EndedWithEachAttempt"],
    ),
];

#[test]
fn every_schedule_has_its_proof_and_every_planted_fault_its_schedule() {
    let sources = sources();
    let plants = std::fs::read_to_string(root().join("tests/sim/world/plant.rs")).unwrap();
    let (list, _) = plants.split_once("impl Plant").unwrap();
    let planted: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
        .filter(|name| !name.contains(' '))
        .collect();
    assert!(planted.len() > 30, "the planted faults were not found");
    let mut missing = Vec::new();
    for (name, tests, faults) in SCHEDULES {
        assert!(!tests.is_empty() || !faults.is_empty(), "{name} is proved by nothing");
        let there = |test: &str| sources.iter().any(|source| source.text.contains(&format!("fn {test}(")));
        missing.extend(tests.iter().filter(|test| !there(test)).map(|test| format!("{name}: there is no test {test}")));
        missing.extend(
            faults
                .iter()
                .filter(|fault| !planted.contains(*fault))
                .map(|fault| format!("{name}: {fault} is not planted")),
        );
    }
    let named = |plant: &&&str| !SCHEDULES.iter().any(|(_, _, faults)| faults.contains(*plant));
    missing.extend(planted.iter().filter(named).map(|plant| format!("{plant} stands for no schedule")));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
