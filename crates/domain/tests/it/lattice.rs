//! `join` is commutative, associative and idempotent, for facts and for every
//! register that they are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use domain::lattice::{Earliest, Join, Largest, Latest};
use domain::{Facts, Timestamp};
use proptest::prelude::*;

use crate::lives::{long, statement};
use crate::permutations::cases;

fn joined<T: Join + Clone>(a: &T, b: &T) -> T {
    let mut both = a.clone();
    both.join(b.clone());
    both
}

fn assert_semilattice<T: Join + Clone + Default + PartialEq + Debug>([a, b, c]: &[T; 3]) {
    assert_eq!(joined(a, b), joined(b, a), "commutative");
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associative");
    assert_eq!(joined(a, a), *a, "idempotent");
    assert_eq!(joined(&joined(a, b), b), joined(a, b), "absorbing");
    assert_eq!(joined(a, &T::default()), *a, "the default is the bottom");
    assert_eq!(joined(&T::default(), a), *a, "the default is the bottom");
}

fn facts() -> impl Strategy<Value = Facts> {
    let said = prop::collection::vec(statement(), 0..=4);
    prop_oneof![said, long()].prop_map(|events| {
        events.into_iter().fold(Facts::default(), |mut all, event| {
            all.join(event.facts);
            all
        })
    })
}

fn three<T: Debug>(one: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = [T; 3]> {
    (one.clone(), one.clone(), one).prop_map(|(a, b, c)| [a, b, c])
}

fn instant() -> impl Strategy<Value = Timestamp> + Clone {
    prop_oneof![3 => 0..4_i64, 1 => any::<i64>()].prop_map(Timestamp::from_micros).boxed()
}

#[test]
fn of_two_words_at_one_instant_the_later_events_counts() {
    let said = |seconds, event_id: &str, word: &'static str| Latest::said(crate::said::at(seconds), event_id, word);
    let ends = [
        (said(1, "evt_a", "z"), said(1, "evt_b", "a"), "a"),
        (said(1, "evt_b", "z"), said(2, "evt_a", "a"), "a"),
        (said(1, "evt_a", "a"), said(1, "evt_a", "b"), "b"), // Another rendering of one event.
    ];
    for (one, other, expected) in ends {
        assert_eq!(joined(&one, &other).get(), Some(&expected));
        assert_eq!(joined(&other, &one).get(), Some(&expected));
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn facts_are_a_semilattice(abc in three(facts().boxed())) {
        assert_semilattice(&abc);
    }

    #[test]
    fn facts_survive_storage(facts in facts()) {
        let text = serde_json::to_string(&facts).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<Facts>(&text).expect("what was written is read"), facts);
    }

    #[test]
    fn every_register_is_a_semilattice(
        largest in three(prop::option::of(any::<i64>()).prop_map(Largest::from).boxed()),
        earliest in three(prop::option::of(instant()).prop_map(|at| at.map_or_else(Earliest::default, Earliest::of)).boxed()),
        latest in three(prop::option::of((instant(), "[ab]?", 0..3_u8)).prop_map(|said| {
            said.map_or_else(Latest::default, |(at, event_id, value)| Latest::said(at, &event_id, value))
        }).boxed()),
        ever in any::<[bool; 3]>(),
        sets in three(prop::collection::btree_set(0..6_u8, 0..4).boxed()),
        maps in three(prop::collection::btree_map(0..3_u8, any::<u8>().prop_map(Largest::of), 0..4).boxed()),
    ) {
        assert_semilattice(&largest);
        assert_semilattice(&earliest);
        assert_semilattice(&latest);
        assert_semilattice(&ever);
        assert_semilattice::<BTreeSet<u8>>(&sets);
        assert_semilattice::<BTreeMap<u8, Largest<u8>>>(&maps);
    }
}
