//! History is what was observed, in the order in which it was: each row begins
//! where the one before it ended, and the last one is the state.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Change, EventFacts, Facts, Ledger, Outcome, Subject};
use proptest::prelude::*;

use crate::lives::{long, shuffled};
use crate::orderings::{DUE, registered};
use crate::permutations::cases;
use crate::said::{charge, event, of, refund, succeeded};

/// The last row of each subject, and to which payments each payment's id led.
#[derive(Default)]
struct History {
    last: BTreeMap<(Subject, String), (usize, &'static str)>,
    rows: usize,
    /// Of the payment's own rows: the last of every payment that it turned out to be.
    merged: BTreeMap<String, BTreeSet<String>>,
}

impl History {
    fn take(&mut self, ledger: &mut Ledger, event: &EventFacts) {
        let outcome = ledger.apply(event);
        for (old, new) in ledger.renamed() {
            self.merged.entry(new.to_owned()).or_default().insert(old.to_owned());
        }
        if let Outcome::Applied { payment_id, changes, .. } = outcome {
            for change in changes {
                assert_eq!(change.payment_id, payment_id);
                self.add(change);
            }
        }
        for (id, entry) in ledger.orders() {
            if entry.order.is_none() {
                self.last.remove(&(Subject::Order, id.clone())); // Its payments moved to another order.
            }
        }
    }

    fn add(&mut self, change: Change) {
        let Change { subject, id, from, to, .. } = change;
        assert_ne!(from, Some(to), "{subject} {id}: a row that changes nothing");
        let first = match subject {
            Subject::PaymentDispute => Some("none"),
            Subject::Order if DUE.iter().any(|(due, _)| *due == id) => Some("pending"),
            Subject::Payment | Subject::Order | Subject::Refund | Subject::Dispute | Subject::Booking => None,
        };
        let mut ends: BTreeSet<_> = self.last_rows(subject, &id).into_iter().map(Some).collect();
        if ends.is_empty() || subject == Subject::PaymentDispute {
            ends.extend([first]);
        }
        assert!(ends.contains(&from), "{subject} {id}: {from:?} → {to} after {ends:?}");
        self.rows += 1;
        self.last.insert((subject, id), (self.rows, to));
    }

    /// Of the subject, under every id that it had, oldest first.
    fn last_rows(&self, subject: Subject, id: &str) -> Vec<&'static str> {
        let before = self.merged.get(id).into_iter().flatten().map(String::as_str);
        let rows = before.chain([id]).filter_map(|id| self.last.get(&(subject, id.to_owned())));
        rows.copied().collect::<BTreeSet<_>>().into_iter().map(|(_, to)| to).collect()
    }

    fn last_row(&self, subject: Subject, id: &str) -> Option<&'static str> {
        self.last_rows(subject, id).last().copied()
    }

    fn assert_ends_in(&self, ledger: &Ledger) {
        for entry in ledger.payments().values() {
            let payment = &entry.payment;
            let shown = payment.visible.then_some(payment.status.as_str());
            assert_eq!(self.last_row(Subject::Payment, &payment.id), shown, "{payment:?}");
            if !entry.facts.creates {
                continue; // Nobody asked for it: no rows.
            }
            let disputed = self.last_row(Subject::PaymentDispute, &payment.id).unwrap_or("none");
            assert_eq!(disputed, payment.dispute_status.as_str(), "{payment:?}");
            for refund in &payment.refunds {
                assert_eq!(self.last_row(Subject::Refund, &refund.id), Some(refund.status.as_str()), "{refund:?}");
            }
            for dispute in &payment.disputes {
                assert_eq!(self.last_row(Subject::Dispute, &dispute.id), Some(dispute.status.as_str()), "{dispute:?}");
            }
        }
        for (id, entry) in ledger.orders() {
            let shown = entry.order.as_ref().map(|order| order.payment_status.as_str());
            // One that was registered begins as pending.
            let end = self.last_row(Subject::Order, id).or(entry.due.map(|_| "pending"));
            assert_eq!(end, shown, "{id}");
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn rows_join_up_and_end_in_the_state(arriving in long().prop_flat_map(shuffled)) {
        let mut history = History::default();
        let mut ledger = registered();
        for event in &arriving {
            history.take(&mut ledger, event);
        }
        history.assert_ends_in(&ledger);
    }
}

fn rows(events: &[EventFacts]) -> Vec<(Subject, Option<&'static str>, &'static str)> {
    let mut ledger = Ledger::default();
    let outcomes = events.iter().map(|event| ledger.apply(event)).collect::<Vec<_>>();
    let changes = outcomes.into_iter().flat_map(|outcome| match outcome {
        Outcome::Applied { changes, .. } => changes,
        Outcome::Ignored | Outcome::Waiting => Vec::new(),
    });
    changes.map(|change| (change.subject, change.from, change.to)).collect()
}

#[test]
fn a_refund_that_nobody_asked_for_is_told_once_its_payment_is_made() {
    let unasked = |told: EventFacts| EventFacts { facts: Facts { creates: false, ..told.facts }, ..told };
    let found =
        rows(&[unasked(refund("re_1", "succeeded", 200, of("ch_1"))), charge("ch_1", 10, [500, 500, 0], |_| {})]);
    let expected = [
        (Subject::Payment, None, "paid"),
        (Subject::Payment, Some("paid"), "partially_refunded"),
        (Subject::Refund, None, "succeeded"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_early_refund_is_told_when_it_comes_and_its_payment_when_that_comes() {
    let found = rows(&[refund("re_1", "pending", 500, of("ch_1")), charge("ch_1", 10, [500, 500, 500], |_| {})]);
    assert_eq!(found, [(Subject::Refund, None, "pending"), (Subject::Payment, None, "paid")]);
}

#[test]
fn a_payment_that_takes_another_id_is_not_paid_twice() {
    let paid = charge("ch_1", 10, [500, 500, 0], |_| {});
    let link = event(Facts {
        intents: [(
            "pi_1".to_owned(),
            domain::intent::IntentFacts { charges: ["ch_1".to_owned()].into(), ..Default::default() },
        )]
        .into(),
        ..Facts::default()
    });
    assert_eq!(rows(&[paid.clone(), link]), [(Subject::Payment, None, "paid")]);
    let of_intent = charge("ch_1", 10, [500, 500, 0], |charge| charge.intents.extend(["pi_1".to_owned()]));
    assert_eq!(rows(&[paid, of_intent, succeeded("pi_1", 11)]), [(Subject::Payment, None, "paid")]);
}
