//! Which registered payment, order or booking a gateway's statements mean, whichever
//! came first.

use std::collections::BTreeSet;

use super::{Change, Entry, Ledger, Subject};
use crate::lattice::Join;
use crate::money::Money;
use crate::{Facts, Mode, ReferenceKind, Registration, Scope};

impl Ledger {
    /// For deriving state again from all of its inputs: what registered payments took is
    /// among these, and nothing is taken anew.
    pub fn of_inputs() -> Self {
        Self { takes_nothing: true, ..Self::default() }
    }

    /// Says under what name a registered payment can be found; call it for each name in
    /// [`Facts::mentions`] of the batch's events.
    pub fn load_name(&mut self, name: String, kind: ReferenceKind, payment_id: String) {
        self.names.entry(name).or_default().insert((kind, payment_id));
    }

    /// Registers a payment, or adds names to one. `account` is a scope of its account.
    /// What the gateway said before joins it by [`Self::rejoin`].
    pub fn register(&mut self, account: &Scope, id: &str, registration: Registration) -> Vec<Change> {
        self.load_name(id.to_owned(), ReferenceKind::Id, id.to_owned());
        for (kind, name) in registration.names() {
            self.names.entry(name.to_owned()).or_default().insert((kind, id.to_owned()));
        }
        for taken in &registration.taken {
            self.taken.insert(taken.clone(), id.to_owned());
        }
        let before: Vec<Entry> = self.take(id).into_iter().collect();
        let mut after = Facts::default();
        after.registrations.insert(id.to_owned(), registration);
        for entry in &before {
            after.join(entry.facts.clone());
        }
        let merged = self.merge(account, BTreeSet::new(), before, after);
        merged.map(|merged| merged.changes).unwrap_or_default()
    }

    /// As [`Self::register`], and a payment that is there already under another id joins it
    /// at once: its history goes on.
    pub fn register_over(&mut self, account: &Scope, id: &str, registration: Registration) -> Vec<Change> {
        let mut changes = self.register(account, id, registration);
        for claimant in self.claimants(id) {
            let Some(there) = self.payments.get(&claimant).filter(|entry| entry.payment.visible) else { continue };
            let was = there.payment.status.as_str();
            let mut joined = self.rejoin(&claimant);
            let is_own = |change: &Change| change.subject == Subject::Payment && change.id == id;
            if let Some(first) = changes.iter().position(|change| is_own(change) && change.from.is_none()) {
                changes.remove(first);
                joined.iter_mut().filter(|change| is_own(change)).for_each(|change| change.from = Some(was));
                joined.retain(|change| change.from != Some(change.to));
            }
            changes.extend(joined);
        }
        changes
    }

    /// Says what is due for an order. Returns its first status, or a new one.
    pub fn register_order(&mut self, id: &str, due: Money) -> Vec<Change> {
        if !self.orders.contains_key(id) {
            self.load_order(id.to_owned(), None);
        }
        if let Some(entry) = self.orders.get_mut(id) {
            entry.due = Some(due);
            entry.changed = true;
        }
        self.refresh_order(id, "")
    }

    /// Looks again whether a payment that gateways' statements made means something that
    /// the application registered since.
    pub fn rejoin(&mut self, payment_id: &str) -> Vec<Change> {
        let Some(entry) = self.take(payment_id) else { return Vec::new() };
        let (scope, after) = (entry.scope.clone(), entry.facts.clone());
        let merged = self.merge(&scope, BTreeSet::new(), vec![entry], after);
        merged.map(|merged| merged.changes).unwrap_or_default()
    }

    /// Accepts a payment that is held, and with it whatever was paid for its booking.
    pub fn release(&mut self, payment_id: &str) -> Vec<Change> {
        let Some(entry) = self.payments.get_mut(payment_id) else { return Vec::new() };
        entry.facts.registrations.values_mut().for_each(|registration| registration.released = true);
        entry.changed = true; // Its facts are what they are compared with next.
        let bookings: Vec<String> = entry.facts.bookings.keys().cloned().collect();
        let mut changes = self.rejoin(payment_id);
        changes.extend(bookings.iter().flat_map(|booking| self.release_booking(booking)));
        changes
    }

    /// Takes out a payment that nobody asked for so far, so that its events can be
    /// applied again, one by one, as if they came now. They become part of `registered`,
    /// where that is another payment.
    pub fn forget(&mut self, payment_id: &str, registered: Option<&str>) {
        if let Some(registered) = registered {
            self.renamed.insert(payment_id.to_owned(), registered.to_owned());
        }
        if let Some(entry) = self.take(payment_id) {
            for key in entry.facts.keys() {
                if let Some(owners) = self.owners.get_mut(&entry.scope) {
                    owners.remove(&key);
                }
            }
        }
    }

    /// Payments that nobody registered, and that mean this registered payment. By the
    /// order alone it is at most one.
    pub fn claimants(&self, payment_id: &str) -> Vec<String> {
        let Some(registered) = self.payments.get(payment_id) else { return Vec::new() };
        let unregistered = || self.payments.values().filter(|entry| entry.facts.registration().is_none());
        let named: Vec<&Entry> =
            unregistered().filter(|entry| self.named(&entry.facts).as_deref() == Some(payment_id)).collect();
        let mut claimants: Vec<String> = named.iter().map(|entry| entry.payment.id.clone()).collect();
        if claimants.is_empty()
            && let Some(order_id) = &registered.payment.order_id
        {
            let of_order = unregistered().filter(|entry| {
                self.by_order(&entry.facts).as_deref() == Some(payment_id)
                    && entry.payment.order_id.as_ref() == Some(order_id)
            });
            // Money that came goes before what was only tried; then the first by the
            // gateway's time, so that it does not matter which was stored first.
            let first = of_order.min_by_key(|e| {
                (!e.payment.status.is_collected(), e.payment.captured_at, e.payment.newest, e.payment.id.clone())
            });
            claimants.extend(first.map(|entry| entry.payment.id.clone()));
        }
        claimants
    }

    /// Adds to `after` what the application registered and these facts mean, and to
    /// `before` the payment that is registered.
    pub(super) fn meet(&mut self, scope: &Scope, before: &mut Vec<Entry>, after: &mut Facts) {
        if after.registration().is_none() {
            let meant = self.named(after).or_else(|| self.by_order(after));
            if let Some(entry) = meant.and_then(|id| self.take(&id)) {
                let primary = after.primary().map(|(_, id)| id.to_owned());
                after.join(entry.facts.clone());
                before.push(entry);
                for registration in after.registrations.values_mut().filter(|_| !self.takes_nothing) {
                    registration.taken.extend(primary.clone());
                }
            }
        }
        // Refunds and disputes alone say it too: their ids are made of it.
        if after.primary().is_some() && !scope.gateway.is_empty() {
            let from: (String, Mode) = (scope.gateway.clone(), scope.mode);
            for registration in after.registrations.values_mut().filter(|r| !r.scopes.contains(&from)) {
                registration.scopes.insert(from.clone());
            }
        }
        self.meet_booking(after);
        let asked = |id: &str| self.orders.get(id).is_some_and(|entry| entry.due.is_some());
        if !after.creates && after.has_payment() && after.wanted_orders().any(asked) {
            after.creates = true;
        }
    }

    /// The registered payment that took one of these objects, else the one that these
    /// facts name.
    fn named(&self, facts: &Facts) -> Option<String> {
        if !self.taken.is_empty()
            && let Some(id) = facts.keys().iter().find_map(|key| self.taken.get(&key.id))
        {
            return Some(id.clone());
        }
        if self.names.is_empty() {
            return None;
        }
        facts.mentions().into_iter().find_map(|(mention, name)| {
            let found = self.names.get(name)?.iter().find(|(kind, _)| mention.fits(*kind));
            found.map(|(_, id)| id.clone())
        })
    }

    /// The only registered payment of the order that these facts name that nothing of a
    /// gateway belongs to yet.
    fn by_order(&self, facts: &Facts) -> Option<String> {
        if self.takes_nothing || !facts.has_statement() {
            return None;
        }
        facts.order_ids().into_iter().find_map(|order_id| {
            let members = self.members.get(order_id)?;
            let is_free = |entry: &&Entry| {
                let registration = entry.facts.registration();
                // A failed attempt of a sender of the merchant's own leaves it free.
                let is_done = entry.facts.externals.values().any(|external| external.completed_at().is_some());
                let is_unnamed = registration.is_some_and(|(_, r)| r.gateway_ids.is_empty());
                is_unnamed && !entry.facts.has_payment() && !is_done
            };
            let mut free = members.iter().filter_map(|id| self.payments.get(id)).filter(is_free);
            let only = free.next()?;
            free.next().is_none().then(|| only.payment.id.clone())
        })
    }
}
