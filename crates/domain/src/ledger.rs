//! The fold: events' facts in, payments, orders and their history out.
//!
//! A [`Ledger`] is a working set. The store loads into it what a batch touches,
//! applies the batch, and writes back what changed; `prove` and the tests load
//! nothing and apply everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::lattice::Join;
use crate::money::Money;
use crate::order::OrderPayment;
use crate::status::text_enum;
use crate::{Facts, ObjectKey, Order, Payment, Scope};

text_enum! {
    Subject {
        Payment = "payment",
        /// A payment's `dispute_status`.
        PaymentDispute = "payment_dispute",
        Order = "order",
        Refund = "refund",
        Dispute = "dispute",
    }
}

/// A stored transition: one row of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub subject: Subject,
    pub id: String,
    /// The payment through which it came.
    pub payment_id: String,
    /// `None` where the subject was not known before.
    pub from: Option<&'static str>,
    pub to: &'static str,
}

/// What one event says, and where.
#[derive(Clone, Debug)]
pub struct EventFacts {
    pub scope: Scope,
    pub facts: Facts,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its facts are part of this payment now (they may have been before).
    Applied { payment_id: String, changes: Vec<Change> },
    /// Nothing in it concerns a payment that anybody asked for. Its facts are kept.
    Ignored,
    /// It confirms or fails a payment that is not registered. Its facts are kept.
    Waiting,
}

/// A payment with the facts that it is a function of.
#[derive(Clone, Debug)]
pub struct Entry {
    pub scope: Scope,
    pub facts: Facts,
    pub payment: Payment,
    pub changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderEntry {
    pub due: Option<Money>,
    /// `None` until a payment of it is visible.
    pub order: Option<Order>,
    pub changed: bool,
}

/// One account's working set.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    payments: BTreeMap<String, Entry>,
    /// Visible payments by the order that they belong to.
    members: HashMap<String, BTreeSet<String>>,
    owners: HashMap<Scope, HashMap<ObjectKey, String>>,
    orders: BTreeMap<String, OrderEntry>,
    new_owners: Vec<(Scope, ObjectKey)>,
    renamed: BTreeMap<String, String>,
}

impl Ledger {
    /// Puts in a stored payment. Its view is derived anew, never read back.
    pub fn load_payment(&mut self, scope: Scope, facts: Facts) {
        if let Some(payment) = facts.payment(&scope)
            && !self.payments.contains_key(&payment.id)
        {
            self.put(Entry { scope, facts, payment, changed: false });
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(order_id) = order_id(&entry.payment) {
            self.members.entry(order_id).or_default().insert(entry.payment.id.clone());
        }
        self.payments.insert(entry.payment.id.clone(), entry);
    }

    fn take(&mut self, id: &str) -> Option<Entry> {
        let entry = self.payments.remove(id)?;
        if let Some(members) = order_id(&entry.payment).and_then(|order_id| self.members.get_mut(&order_id)) {
            members.remove(id);
        }
        Some(entry)
    }

    /// Says to which stored payment an object belongs.
    pub fn load_owner(&mut self, scope: Scope, key: ObjectKey, payment_id: String) {
        self.owners.entry(scope).or_default().insert(key, payment_id);
    }

    /// Puts in a stored order; call it after its payments are in. To load for a
    /// batch: every order in [`Facts::order_ids`] of its events and of the payments
    /// that they touch, each with all of its payments.
    pub fn load_order(&mut self, id: String, due: Option<Money>) {
        let order = self.order_of(&id, due);
        self.orders.insert(id, OrderEntry { due, order, changed: false });
    }

    /// Takes in one event. The same events in any order, any number of times, end
    /// in the same payments and orders.
    pub fn apply(&mut self, event: &EventFacts) -> Outcome {
        let EventFacts { scope, facts } = event;
        let keys = facts.keys();
        if keys.is_empty() {
            return Outcome::Ignored;
        }
        let owned = self.owners.get(scope);
        let owners: BTreeSet<String> =
            keys.iter().filter_map(|key| owned.and_then(|owned| owned.get(key)).cloned()).collect();
        let before: Vec<Entry> = owners.iter().filter_map(|id| self.take(id)).collect();
        debug_assert_eq!(before.len(), owners.len(), "a payment that owns one of these objects was not loaded");
        let mut after = facts.clone();
        for entry in &before {
            after.join(entry.facts.clone());
        }
        let Some(payment) = after.payment(scope) else { return Outcome::Ignored };
        let (payment_id, visible) = (payment.id.clone(), payment.visible);
        self.own(scope, keys, &before, &payment);
        let changes = self.settle(scope, before, after, payment);
        // A refund or a dispute may come before its payment.
        let early = facts.creates && !(facts.refunds.is_empty() && facts.disputes.is_empty());
        if visible || early || !changes.is_empty() {
            Outcome::Applied { payment_id, changes }
        } else if facts.has_payment() {
            Outcome::Waiting
        } else {
            Outcome::Ignored
        }
    }

    /// Notes that the event's objects, and those of payments that turned out to be
    /// another one, belong to this payment.
    fn own(&mut self, scope: &Scope, mut keys: BTreeSet<ObjectKey>, before: &[Entry], payment: &Payment) {
        for entry in before.iter().filter(|entry| entry.payment.id != payment.id) {
            keys.extend(entry.facts.keys());
        }
        if !self.owners.contains_key(scope) {
            self.owners.insert(scope.clone(), HashMap::new());
        }
        let Some(owners) = self.owners.get_mut(scope) else { return };
        for key in keys {
            if owners.get(&key) != Some(&payment.id) {
                owners.insert(key.clone(), payment.id.clone());
                self.new_owners.push((scope.clone(), key));
            }
        }
    }

    /// Replaces the payments `before` by the one that they turned out to be.
    fn settle(&mut self, scope: &Scope, before: Vec<Entry>, facts: Facts, payment: Payment) -> Vec<Change> {
        let mut changes = Vec::new();
        if facts.creates {
            payment_changes(&before, &payment, &mut changes);
        }
        let mut orders: BTreeSet<String> = before.iter().filter_map(|entry| order_id(&entry.payment)).collect();
        orders.extend(order_id(&payment));
        for entry in &before {
            if entry.payment.id != payment.id {
                self.renamed.insert(entry.payment.id.clone(), payment.id.clone());
            }
        }
        let unchanged = before.len() == 1 && before[0].facts == facts;
        let changed = !unchanged || before.iter().any(|entry| entry.changed);
        let payment_id = payment.id.clone();
        self.put(Entry { scope: scope.clone(), facts, payment, changed });
        if !unchanged {
            for id in orders {
                changes.extend(self.refresh_order(&id, &payment_id));
            }
        }
        changes
    }

    fn order_of(&self, id: &str, due: Option<Money>) -> Option<Order> {
        let members = self.members.get(id).into_iter().flatten().filter_map(|id| self.payments.get(id));
        let payments: Vec<OrderPayment> = members.map(|entry| OrderPayment::from(&entry.payment)).collect();
        (due.is_some() || !payments.is_empty()).then(|| Order::of(due, &payments))
    }

    fn refresh_order(&mut self, id: &str, payment_id: &str) -> Option<Change> {
        let stored = self.orders.get(id);
        let due = stored.and_then(|entry| entry.due);
        let before = stored.and_then(|entry| entry.order.clone());
        let was_changed = stored.is_some_and(|entry| entry.changed);
        let order = self.order_of(id, due);
        let change = order.as_ref().and_then(|now| {
            let from = before.as_ref().map(|order| order.payment_status.as_str());
            let to = now.payment_status.as_str();
            (from != Some(to)).then(|| Change {
                subject: Subject::Order,
                id: id.to_owned(),
                payment_id: payment_id.to_owned(),
                from,
                to,
            })
        });
        let changed = was_changed || order != before;
        self.orders.insert(id.to_owned(), OrderEntry { due, order, changed });
        change
    }

    /// The id of the payment that these facts are part of, once they were applied.
    pub fn payment_of(&self, scope: &Scope, facts: &Facts) -> Option<&str> {
        let (kind, id) = facts.primary()?;
        self.owners.get(scope)?.get(&ObjectKey::new(kind, id)).map(String::as_str)
    }

    /// Payments by id, hidden ones too.
    pub fn payments(&self) -> &BTreeMap<String, Entry> {
        &self.payments
    }

    pub fn orders(&self) -> &BTreeMap<String, OrderEntry> {
        &self.orders
    }

    /// Objects whose owner changed since they were loaded, with the owner.
    pub fn new_owners(&self) -> impl Iterator<Item = (&Scope, &ObjectKey, &str)> {
        self.new_owners.iter().filter_map(|(scope, key)| {
            self.owners.get(scope).and_then(|owners| owners.get(key)).map(|owner| (scope, key, owner.as_str()))
        })
    }

    /// Ids that payments had before facts showed that they are others, with where
    /// they lead now.
    pub fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.renamed.iter().map(|(old, new)| {
            let mut end = new;
            while let Some(next) = self.renamed.get(end).filter(|next| *next != old) {
                end = next;
            }
            (old.as_str(), end.as_str())
        })
    }
}

/// An order belongs only to payments that are really there.
fn order_id(payment: &Payment) -> Option<String> {
    payment.order_id.clone().filter(|_| payment.visible)
}

/// History begins when an endpoint that makes payments takes part: what was said
/// before that gave no rows, so nothing can have changed *from* it.
fn payment_changes(before: &[Entry], payment: &Payment, changes: &mut Vec<Change>) {
    let known: Vec<&Payment> = before.iter().filter(|entry| entry.facts.creates).map(|entry| &entry.payment).collect();
    let mut note = |subject, id: &str, from: Option<&'static str>, to: &'static str| {
        if from != Some(to) {
            let payment_id = payment.id.clone();
            changes.push(Change { subject, id: id.to_owned(), payment_id, from, to });
        }
    };
    // Where several turn out to be one, one that differs counts, so that the last
    // row of their common history is the state; the one that keeps its id first.
    let pick = |candidates: Vec<&Payment>, to: &'static str, text: &dyn Fn(&Payment) -> &'static str| {
        let differs = |p: &&&Payment| text(p) != to;
        let same_id = candidates.iter().filter(differs).find(|p| p.id == payment.id);
        same_id.or(candidates.iter().find(differs)).or(candidates.first()).map(|p| text(p))
    };
    if payment.visible {
        let visible = known.iter().copied().filter(|p| p.visible).collect();
        let to = payment.status.as_str();
        note(Subject::Payment, &payment.id, pick(visible, to, &|p| p.status.as_str()), to);
    }
    let to = payment.dispute_status.as_str();
    let disputed = pick(known.clone(), to, &|p| p.dispute_status.as_str());
    note(Subject::PaymentDispute, &payment.id, disputed.or(Some(crate::DisputeStatus::None.as_str())), to);
    let was = |find: &dyn Fn(&Payment) -> Option<&'static str>| known.iter().find_map(|p| find(p));
    for refund in &payment.refunds {
        let from = was(&|p| p.refunds.iter().find(|r| r.id == refund.id).map(|r| r.status.as_str()));
        note(Subject::Refund, &refund.id, from, refund.status.as_str());
    }
    for dispute in &payment.disputes {
        let from = was(&|p| p.disputes.iter().find(|d| d.id == dispute.id).map(|d| d.status.as_str()));
        note(Subject::Dispute, &dispute.id, from, dispute.status.as_str());
    }
}
