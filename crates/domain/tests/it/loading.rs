//! A ledger into which only what an event touches is loaded does the same as one
//! that holds everything. This is what `crates/store` relies on.

use std::collections::{BTreeMap, BTreeSet};

use domain::{EventFacts, Facts, Ledger, Money, ObjectKey, Order, Scope};
use proptest::prelude::*;

use crate::lives::long;
use crate::orderings::{DUE, apply_all, as_json, due};
use crate::permutations::cases;

struct PaymentRow {
    scope: Scope,
    facts: String,
    /// As a query would find it: only of a payment that is visible.
    order_id: Option<String>,
}

/// Rows, as a database would hold them.
#[derive(Default)]
struct Rows {
    payments: BTreeMap<String, PaymentRow>,
    owners: BTreeMap<(Scope, ObjectKey), String>,
    orders: BTreeMap<String, (Option<Money>, Option<Order>)>,
}

impl Rows {
    fn registered() -> Self {
        let orders = DUE.map(|(id, amount)| (id.to_owned(), (due(amount), None)));
        Self { orders: orders.into(), ..Self::default() }
    }

    fn facts(&self, payment_id: &str) -> (Scope, Facts) {
        let row = &self.payments[payment_id];
        (row.scope.clone(), serde_json::from_str(&row.facts).expect("stored facts are read"))
    }

    fn load(&self, batch: &[EventFacts]) -> Ledger {
        let mut ledger = Ledger::default();
        let mut payment_ids = BTreeSet::new();
        let mut order_ids: BTreeSet<String> = BTreeSet::new();
        for event in batch {
            order_ids.extend(event.facts.order_ids().into_iter().map(str::to_owned));
            for key in event.facts.keys() {
                if let Some(owner) = self.owners.get(&(event.scope.clone(), key.clone())) {
                    ledger.load_owner(event.scope.clone(), key, owner.clone());
                    payment_ids.insert(owner.clone());
                }
            }
        }
        for id in &payment_ids {
            order_ids.extend(self.facts(id).1.order_ids().into_iter().map(str::to_owned));
        }
        let of_orders =
            self.payments.iter().filter(|(_, row)| row.order_id.as_ref().is_some_and(|id| order_ids.contains(id)));
        payment_ids.extend(of_orders.map(|(id, _)| id.clone()));
        for id in &payment_ids {
            let (scope, facts) = self.facts(id);
            ledger.load_payment(scope, facts);
        }
        for id in order_ids {
            let due = self.orders.get(&id).and_then(|(due, _)| *due);
            ledger.load_order(id, due);
        }
        ledger
    }

    fn write(&mut self, ledger: &Ledger) {
        for (old, new) in ledger.renamed() {
            self.payments.remove(old);
            assert!(ledger.payments().contains_key(new), "{old} leads to {new}, which is not there");
        }
        for (id, entry) in ledger.payments().iter().filter(|(_, entry)| entry.changed) {
            let facts = serde_json::to_string(&entry.facts).expect("facts are JSON");
            let order_id = entry.payment.order_id.clone().filter(|_| entry.payment.visible);
            self.payments.insert(id.clone(), PaymentRow { scope: entry.scope.clone(), facts, order_id });
        }
        for (scope, key, owner) in ledger.new_owners() {
            self.owners.insert((scope.clone(), key.clone()), owner.to_owned());
        }
        for (id, entry) in ledger.orders().iter().filter(|(_, entry)| entry.changed) {
            self.orders.insert(id.clone(), (entry.due, entry.order.clone()));
        }
    }

    /// Everything at once, as `rebuild` would load it.
    fn end(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (id, row) in &self.payments {
            let (scope, facts) = self.facts(id);
            assert_eq!(facts.payment_id(&scope).as_ref(), Some(id), "stored under the id that its facts make");
            let shown = facts.payment(&scope).filter(|payment| payment.visible).and_then(|payment| payment.order_id);
            assert_eq!(shown, row.order_id);
            for key in facts.keys() {
                assert_eq!(self.owners.get(&(scope.clone(), key)), Some(id), "every object leads to its payment");
            }
            ledger.load_payment(scope, facts);
        }
        assert!(self.owners.values().all(|owner| self.payments.contains_key(owner)), "no owner is gone");
        for (id, (due, order)) in &self.orders {
            ledger.load_order(id.clone(), *due);
            let derived = ledger.orders()[id].order.clone();
            if order.is_some() || due.is_none() {
                assert_eq!(*order, derived, "{id} is stored as derived"); // Else no payment touched it yet.
            }
        }
        ledger
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn loading_only_what_is_touched_changes_nothing(events in long(), sizes in prop::collection::vec(1..6_usize, 40)) {
        let expected = as_json(&apply_all(&events));
        for sizes in [&vec![1; 40], &sizes] {
            let mut rows = Rows::registered();
            let mut left = events.as_slice();
            for size in sizes {
                let (batch, rest) = left.split_at((*size).min(left.len()));
                left = rest;
                let mut ledger = rows.load(batch);
                for event in batch {
                    ledger.apply(event);
                }
                rows.write(&ledger);
            }
            prop_assert!(left.is_empty());
            prop_assert_eq!(as_json(&rows.end()), expected.clone());
        }
    }

    #[test]
    fn what_was_applied_before_changes_nothing_when_it_comes_again(events in long()) {
        let mut rows = Rows::registered();
        let mut ledger = rows.load(&events);
        for event in &events {
            ledger.apply(event);
        }
        rows.write(&ledger);
        for event in &events {
            let mut again = rows.load(std::slice::from_ref(event));
            again.apply(event);
            let changed = again.payments().values().any(|entry| entry.changed);
            prop_assert!(!changed && again.orders().values().all(|entry| !entry.changed), "{:?}", event);
            prop_assert_eq!(again.renamed().count(), 0);
        }
    }
}
