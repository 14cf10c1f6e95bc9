"""Known ways in which Feast 0.67 on Redis skews: each is injected through Feast, seen, named, and confused with none.

The letters are those of the usual survey of Feast's issues and source: A freshness and the order of writes, B TTL,
C absence, D types, E joins, F transforms and definitions, G time zones (which work), "fine" what else works. A case
that another test shows already is told where; ``test_index`` holds this table to the tests that there are.

A1    tests/known_skews/test_freshness.py::test_a_row_corrected_in_place_is_refused_by_feast_night_after_night
A1    tests/known_skews/test_freshness.py::test_a_row_corrected_in_place_without_a_created_timestamp
A1    tests/known_skews/test_freshness.py::test_a_row_corrected_in_place_where_loads_are_late
A1    tests/known_skews/test_freshness.py::test_many_rows_corrected_in_place_by_one_factor
A2    tests/known_skews/test_freshness.py::test_a_second_row_under_the_same_event_timestamp
A3    tests/known_skews/test_freshness.py::test_a_feature_added_to_a_view_that_is_materialized
A4    tests/known_skews/test_freshness.py::test_a_row_that_arrives_after_its_window
A4    tests/test_end_to_end.py::test_late_rows_are_late_after_the_next_window_too
A5    tests/known_skews/test_freshness.py::test_an_older_write_over_a_newer_row
A7    tests/known_skews/test_freshness.py::test_a_push_of_nulls_alone_is_dropped
A8    tests/known_skews/test_freshness.py::test_a_row_deleted_offline_stays_online
A9    tests/known_skews/test_freshness.py::test_several_rows_of_one_entity_in_one_batch
A10   tests/known_skews/test_freshness.py::test_an_older_write_over_a_newer_row
A10   tests/online/test_materializer.py::test_the_newest_row_wins_among_threads
A11   tests/known_skews/test_freshness.py::test_a_row_pushed_online_alone
A12   tests/known_skews/test_freshness.py::test_a_row_pushed_online_alone
A13   tests/known_skews/test_freshness.py::test_precomputed_vectors_are_no_rows_of_a_view
A14   tests/checks/test_preflight.py::test_nanoseconds_with_a_zone_are_a_warning_only_where_feast_fails_on_them
B1    tests/known_skews/test_ttl.py::test_a_row_past_its_ttl_is_served_by_feast
B2    tests/known_skews/test_ttl.py::test_an_age_of_exactly_the_ttl_is_inside
B3    tests/known_skews/test_ttl.py::test_a_row_older_than_the_first_incremental_window
B3    tests/known_skews/test_ttl.py::test_a_row_between_two_windows
B5    tests/known_skews/test_ttl.py::test_a_key_that_redis_dropped
B6    tests/known_skews/test_freshness.py::test_precomputed_vectors_are_no_rows_of_a_view
B7    tests/checks/test_preflight.py::test_a_changed_ttl_is_named_until_it_is_applied
C1    tests/known_skews/test_absence.py::test_what_feast_calls_present_is_told_apart
C1    tests/online_api/test_lookup_parity.py::test_statuses_tell_what_feast_hides
C2    tests/known_skews/test_absence.py::test_what_feast_calls_present_is_told_apart
C3    tests/online/test_reader.py::test_states_that_feast_merges_are_told_apart
C3    tests/known_skews/test_freshness.py::test_a_feature_added_to_a_view_that_is_materialized
C4    tests/online_api/test_bad_requests.py::test_wrong_values_are_422_and_name_the_field
C5    tests/online_api/test_bad_requests.py::test_wrong_values_are_422_and_name_the_field
C5    tests/checks/test_preflight.py::test_null_join_keys_stop_feasts_materialization
C6    tests/known_skews/test_types.py::test_nan_null_and_infinities
C7    tests/online_api/test_lookup_parity.py::test_infinities_are_texts_as_feasts_server_writes_them
C8    tests/online_api/test_pages.py::test_metrics_count_requests_statuses_and_time
D1    tests/known_skews/test_types.py::test_a_double_under_float32
D2    tests/known_skews/test_types.py::test_large_integers_beside_a_null
D2    tests/known_skews/test_types.py::test_one_large_integer_beside_a_null
D3    tests/known_skews/test_types.py::test_integers_of_history_stay_whole_beside_an_unknown_entity
D4    tests/known_skews/test_types.py::test_fractions_of_a_second
D6    tests/known_skews/test_types.py::test_fractions_under_a_whole_number
D7    tests/known_skews/test_types.py::test_lists_with_nulls_and_none
D8    tests/online_api/test_lookup_parity.py::test_feasts_remote_client_reads_what_feast_reads
E1    tests/known_skews/test_joins.py::test_training_sees_a_correction_made_later
E2    tests/known_skews/test_joins.py::test_rows_that_nothing_decides_between
E3    tests/offline/test_feast.py::test_feast_duckdb_does_not_keep_the_order_and_ours_does
E4    tests/online_api/test_lookup_parity.py::test_feature_order_is_keys_then_definition_order_every_time
E4    tests/test_plan.py::test_digest_is_the_same_in_every_process
E5    tests/known_skews/test_joins.py::test_a_name_that_feasts_join_drops
E6    tests/offline/test_bad_input.py::test_clashing_names
E7    tests/checks/test_preflight_names.py::test_request_data_that_is_a_join_key
E8    tests/online_api/test_lookup_parity.py::test_feasts_remote_client_reads_what_feast_reads
E9    tests/offline/test_feast.py::test_feast_dask_drops_duplicate_entity_rows_and_ours_keeps_them
E11   tests/known_skews/test_absence.py::test_a_teardown_that_takes_another_projects_keys
E11   tests/checks/test_preflight_names.py::test_projects_whose_names_end_each_other
E12   tests/checks/test_preflight_names.py::test_keys_that_are_wildcards_in_redis
F2    tests/known_skews/test_transforms.py::test_two_modes_of_one_formula_are_each_served_as_they_are_trained
F2    tests/checks/test_replay.py::test_an_on_demand_view_that_changed_after_serving_diverges
F3    tests/offline/test_feast.py::test_on_demand_features_alone_bring_no_others_along_wrongly
F4    tests/online_api/test_lookup_parity.py::test_on_demand_timestamp_is_the_oldest_of_its_inputs
F5    tests/known_skews/test_transforms.py::test_outputs_that_are_stored_are_no_rows_of_a_source
F6    tests/online_api/test_gate.py::test_a_view_that_cannot_be_served_is_501_with_the_reason
F7    tests/test_end_to_end.py::test_a_changed_definition_is_named
F7    tests/online_api/test_promises.py::test_the_gate_closes_and_opens_with_the_contract
F8    tests/online_api/test_bad_requests.py::test_wrong_values_are_422_and_name_the_field
F9    tests/known_skews/test_absence.py::test_an_entity_whose_value_type_changed
F9    tests/causes/test_redis.py::test_integer_keys_under_another_dtype
G     tests/known_skews/test_not_broken.py::test_naive_is_utc_and_any_zone_is_converted
G     tests/known_skews/test_not_broken.py::test_a_push_in_another_zone
G     tests/known_skews/test_not_broken.py::test_local_time_written_as_utc_is_a_row_of_the_future
fine  tests/known_skews/test_not_broken.py::test_entity_rows_in_any_zone_and_twice
fine  tests/online_api/test_lookup_parity.py::test_keys_that_feast_coerces_are_coerced
fine  tests/known_skews/test_types.py::test_nulls_of_every_dtype
fine  tests/known_skews/test_types.py::test_lists_with_nulls_and_none

Told by another case: A10 is a race that cannot be set up without a proxy; what it leaves behind is A5's, and our own
writer compares and writes in one step. A12 (rows buffered by Feast's server and lost in a crash) leaves what A11
leaves. F6 (nulls of a view that is computed on write) cannot be served here: the server refuses such a view by name.
"""
