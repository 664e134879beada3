//! The fold: events' facts in, payments, orders, bookings and their history out.
//!
//! A [`Ledger`] is a working set. The store loads into it what a batch touches,
//! applies the batch, and writes back what changed; `prove` and the tests load
//! nothing and apply everything.

mod bookings;
mod matching;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::booking::{Booking, BookingInputs, BookingReason};
use crate::lattice::Join;
use crate::money::Money;
use crate::order::OrderPayment;
use crate::status::text_enum;
use crate::{Days, Facts, Flag, ObjectKey, Order, Payment, PaymentStatus, ReferenceKind, Scope};

text_enum! {
    Subject {
        Payment = "payment",
        /// A payment's `dispute_status`.
        PaymentDispute = "payment_dispute",
        Order = "order",
        Refund = "refund",
        Dispute = "dispute",
        Booking = "booking",
    }
}

/// A stored transition: one row of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub subject: Subject,
    pub id: String,
    /// The payment through which it came; empty where there is none.
    pub payment_id: String,
    /// `None` where the subject was not known before.
    pub from: Option<&'static str>,
    pub to: &'static str,
    /// Of a booking that is cancelled: why.
    pub reason: Option<BookingReason>,
}

/// What one event says, and where.
#[derive(Clone, Debug)]
pub struct EventFacts {
    pub scope: Scope,
    pub facts: Facts,
    /// Whether it confirms or fails a payment, so that somebody should know which.
    pub decides: bool,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its facts are part of this payment now (they may have been before). `raised` are
    /// the flags that it did not have before.
    Applied { payment_id: String, changes: Vec<Change>, raised: Vec<Flag> },
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

/// A registered booking, and what its inputs and payments make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingEntry {
    pub inputs: BookingInputs,
    pub booking: Booking,
    pub changed: bool,
}

/// The payment that facts became part of.
struct Merged {
    payment_id: String,
    /// Whether it is there for the merchant.
    visible: bool,
    changes: Vec<Change>,
    raised: Vec<Flag>,
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
    /// Registered payments by the names that they have.
    names: HashMap<String, BTreeSet<(ReferenceKind, String)>>,
    bookings: BTreeMap<String, BookingEntry>,
    /// Bookings by their checkout sessions.
    sessions: HashMap<String, String>,
    /// Bookings by the checkout sessions that payers came back with.
    hinted_sessions: HashMap<String, String>,
    /// Payments by the booking that they are for.
    booked: HashMap<String, BTreeSet<String>>,
    /// Days that bookings which are not loaded hold, by resource, with the booking.
    held_days: HashMap<String, Vec<(Days, String)>>,
    /// Objects that registered payments took, where that is an input.
    taken: HashMap<String, String>,
    /// Which payment took which object is known already.
    takes_nothing: bool,
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
        let id = &entry.payment.id;
        if let Some(order_id) = order_id(&entry.payment) {
            self.members.entry(order_id).or_default().insert(id.clone());
        }
        for booking in entry.facts.bookings.keys() {
            self.booked.entry(booking.clone()).or_default().insert(id.clone());
        }
        self.payments.insert(id.clone(), entry);
    }

    fn take(&mut self, id: &str) -> Option<Entry> {
        let entry = self.payments.remove(id)?;
        if let Some(members) = order_id(&entry.payment).and_then(|order_id| self.members.get_mut(&order_id)) {
            members.remove(id);
        }
        for booking in entry.facts.bookings.keys() {
            if let Some(booked) = self.booked.get_mut(booking) {
                booked.remove(id);
            }
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
        let EventFacts { scope, facts, decides } = event;
        let keys = facts.keys();
        if keys.is_empty() {
            return Outcome::Ignored;
        }
        let (before, keys) = self.owned(scope, keys);
        let mut after = facts.clone();
        for entry in &before {
            after.join(entry.facts.clone());
        }
        let Some(Merged { payment_id, visible, changes, raised }) = self.merge(scope, keys, before, after) else {
            return Outcome::Ignored;
        };
        // A refund or a dispute may come before its payment.
        let early = facts.creates && !(facts.refunds.is_empty() && facts.disputes.is_empty());
        if visible || early || !changes.is_empty() {
            Outcome::Applied { payment_id, changes, raised }
        } else if *decides {
            Outcome::Waiting
        } else {
            Outcome::Ignored
        }
    }

    /// Takes out the payments that own one of these objects. Of several that the
    /// application registered only the one that the best object names takes part, and
    /// the others keep what is theirs.
    fn owned(&mut self, scope: &Scope, mut keys: BTreeSet<ObjectKey>) -> (Vec<Entry>, BTreeSet<ObjectKey>) {
        let owned = self.owners.get(scope);
        let owner = |key: &ObjectKey| owned.and_then(|owned| owned.get(key)).cloned();
        let is_registered = |id: &String| self.payments.get(id).is_some_and(|e| e.facts.registration().is_some());
        let registered = keys.iter().filter_map(owner).find(is_registered);
        let foreign = |id: &String| registered.as_ref().is_some_and(|ours| ours != id) && is_registered(id);
        let others: BTreeSet<ObjectKey> =
            keys.iter().filter(|key| owner(key).as_ref().is_some_and(foreign)).cloned().collect();
        keys.retain(|key| !others.contains(key));
        let owners: BTreeSet<String> = keys.iter().filter_map(owner).collect();
        let before: Vec<Entry> = owners.iter().filter_map(|id| self.take(id)).collect();
        debug_assert_eq!(before.len(), owners.len(), "a payment that owns one of these objects was not loaded");
        (before, keys)
    }

    /// Replaces the payments `before` by the one that `after` makes, together with the
    /// registered one that it turns out to mean.
    fn merge(
        &mut self,
        scope: &Scope,
        keys: BTreeSet<ObjectKey>,
        mut before: Vec<Entry>,
        mut after: Facts,
    ) -> Option<Merged> {
        self.meet(scope, &mut before, &mut after);
        let payment = after.payment(scope)?;
        let (payment_id, visible) = (payment.id.clone(), payment.visible);
        let known = |flag: &Flag| before.iter().any(|entry| entry.payment.flags.contains(flag));
        let raised = payment.flags.iter().copied().filter(|flag| !known(flag)).collect();
        self.own(scope, keys, &before, &payment);
        let changes = self.settle(scope, before, after, payment);
        Some(Merged { payment_id, visible, changes, raised })
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
        if facts.is_known() {
            payment_changes(&before, &payment, &mut changes);
        }
        let mut orders: BTreeSet<String> = before.iter().filter_map(|entry| order_id(&entry.payment)).collect();
        orders.extend(order_id(&payment));
        for entry in &before {
            if entry.payment.id != payment.id {
                self.renamed.insert(entry.payment.id.clone(), payment.id.clone());
            }
        }
        let unchanged = before.len() == 1 && before[0].facts == facts && before[0].payment == payment;
        let changed = !unchanged || before.iter().any(|entry| entry.changed);
        let payment_id = payment.id.clone();
        let mut bookings: BTreeSet<String> = facts.bookings.keys().cloned().collect();
        bookings.extend(before.iter().flat_map(|entry| entry.facts.bookings.keys().cloned()));
        self.put(Entry { scope: facts.scope(scope), facts, payment, changed });
        if !unchanged {
            for id in orders {
                changes.extend(self.refresh_order(&id, &payment_id));
            }
            for id in bookings {
                changes.extend(self.refresh_booking(&id, &payment_id));
            }
        }
        changes
    }

    fn order_of(&self, id: &str, due: Option<Money>) -> Option<Order> {
        let members = self.members.get(id).into_iter().flatten().filter_map(|id| self.payments.get(id));
        let payments: Vec<OrderPayment> = members.map(|entry| OrderPayment::from(&entry.payment)).collect();
        (due.is_some() || !payments.is_empty()).then(|| Order::of(due, &payments))
    }

    fn refresh_order(&mut self, id: &str, payment_id: &str) -> Vec<Change> {
        let stored = self.orders.get(id);
        let due = stored.and_then(|entry| entry.due);
        let before = stored.and_then(|entry| entry.order.clone());
        let was_changed = stored.is_some_and(|entry| entry.changed);
        let order = self.order_of(id, due);
        let mut changes = Vec::new();
        let mut note = |from: Option<PaymentStatus>, to: PaymentStatus| {
            changes.push(Change {
                subject: Subject::Order,
                id: id.to_owned(),
                payment_id: payment_id.to_owned(),
                from: from.map(PaymentStatus::as_str),
                to: to.as_str(),
                reason: None,
            });
        };
        if let Some(now) = &order {
            let (mut from, to) = (before.as_ref().map(|order| order.payment_status), now.payment_status);
            let was_collected = from.is_some_and(PaymentStatus::is_collected);
            let is_reached = due.is_none_or(|due| now.amount_paid >= due.amount);
            // What was refunded was paid: whoever waits for that is told, whichever came first.
            if to.is_collected() && to != PaymentStatus::Paid && !was_collected && is_reached {
                note(from, PaymentStatus::Paid);
                from = Some(PaymentStatus::Paid);
            }
            if from != Some(to) {
                note(from, to);
            }
        }
        let changed = was_changed || order != before;
        self.orders.insert(id.to_owned(), OrderEntry { due, order, changed });
        changes
    }

    /// The payment to which an object belongs.
    pub fn owner(&self, scope: &Scope, key: &ObjectKey) -> Option<&str> {
        self.owners.get(scope)?.get(key).map(String::as_str)
    }

    /// The id of the payment that these facts are part of, once they were applied.
    pub fn payment_of(&self, scope: &Scope, facts: &Facts) -> Option<&str> {
        let (kind, id) = facts.primary()?;
        self.owner(scope, &ObjectKey::new(kind, id))
    }

    /// Payments by id, hidden ones too.
    pub fn payments(&self) -> &BTreeMap<String, Entry> {
        &self.payments
    }

    pub fn orders(&self) -> &BTreeMap<String, OrderEntry> {
        &self.orders
    }

    pub fn bookings(&self) -> &BTreeMap<String, BookingEntry> {
        &self.bookings
    }

    /// Every object with the payment to which it belongs.
    pub fn owners(&self) -> impl Iterator<Item = (&Scope, &ObjectKey, &str)> {
        self.owners
            .iter()
            .flat_map(|(scope, owners)| owners.iter().map(move |(key, payment)| (scope, key, payment.as_str())))
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

/// History begins when an endpoint that makes payments takes part, or the application
/// registers one: what was said before that gave no rows, so nothing can have changed
/// *from* it.
fn payment_changes(before: &[Entry], payment: &Payment, changes: &mut Vec<Change>) {
    let known: Vec<&Payment> =
        before.iter().filter(|entry| entry.facts.is_known()).map(|entry| &entry.payment).collect();
    let mut note = |subject, id: &str, from: Option<&'static str>, to: &'static str| {
        if from != Some(to) {
            let payment_id = payment.id.clone();
            changes.push(Change { subject, id: id.to_owned(), payment_id, from, to, reason: None });
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
        let visible: Vec<&Payment> = known.iter().copied().filter(|p| p.visible).collect();
        let to = payment.status.as_str();
        let mut from = pick(visible, to, &|p| p.status.as_str());
        // What was refunded was paid: whoever waits for that is told, whichever came first.
        let paid = PaymentStatus::Paid.as_str();
        let is_news = payment.captured_at.is_some() && known.iter().all(|p| p.captured_at.is_none());
        if is_news && payment.status.is_collected() && to != paid {
            note(Subject::Payment, &payment.id, from, paid);
            from = Some(paid);
        }
        note(Subject::Payment, &payment.id, from, to);
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
