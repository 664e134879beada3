//! The same facts end in the same state, in whatever order, grouping and number.

use proptest::prelude::*;

use crate::lives::{long, short, shuffled};
use crate::orderings::{apply_all, assert_same, one_end_state, permutations, regroup};

pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_order_and_duplication_of_up_to_five_events_ends_in_one_state(events in short(5)) {
        one_end_state("five events", &events);
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_order_and_grouping_of_up_to_three_events_ends_in_one_state(events in short(3)) {
        let expected = apply_all(&events);
        for order in permutations(events.len()) {
            let ordered: Vec<_> = order.iter().map(|index| events[*index].clone()).collect();
            for joins in [[false, false], [false, true], [true, false], [true, true]] {
                assert_same("three events in batches", &expected, &apply_all(&regroup(&ordered, &joins)));
            }
        }
    }

    #[test]
    fn long_lives_end_in_one_state_however_they_arrive(
        (events, arriving) in long().prop_flat_map(|events| (Just(events.clone()), shuffled(events))),
        joins in prop::collection::vec(any::<bool>(), 50),
    ) {
        let expected = apply_all(&events);
        assert_same("shuffled", &expected, &apply_all(&arriving));
        assert_same("regrouped", &expected, &apply_all(&regroup(&arriving, &joins)));
    }
}
