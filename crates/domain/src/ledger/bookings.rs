//! Bookings in the fold: which payments are theirs, and who gets the days.

use std::collections::BTreeSet;

use super::{BookingEntry, Change, Ledger, Subject};
use crate::booking::{BookingInputs, Claim};
use crate::{Days, Facts, Payment};

impl Facts {
    /// Whether what a payer says must not tie this payment to the booking: it belongs to
    /// another one, or names another one, an order or a payment instead.
    pub fn is_for_another_than(&self, booking_id: &str) -> bool {
        if !self.bookings.is_empty() {
            return !self.bookings.contains_key(booking_id);
        }
        let named = self.booking_ids();
        if !named.is_empty() {
            return !named.contains(booking_id);
        }
        !(self.order_ids().is_empty() && self.registrations.is_empty() && self.wanted().is_empty())
    }

    /// Parts from bookings that only a payer's word ties it to, where it is a payment that
    /// the application registered: what that one asks for is not what they ask for.
    fn part_from_hinted(&mut self) {
        if self.registrations.is_empty() || self.bookings.is_empty() {
            return;
        }
        let named: BTreeSet<String> = self.booking_ids().into_iter().map(str::to_owned).collect();
        let sessions: BTreeSet<&String> = self.sessions.keys().collect();
        let has_any = |ids: &BTreeSet<String>| ids.iter().any(|id| sessions.contains(id));
        self.bookings.retain(|id, terms| {
            named.contains(id) || has_any(&terms.session_ids) || !has_any(&terms.hinted_session_ids)
        });
    }
}

impl Ledger {
    /// Puts in a stored booking; call it after its payments are in. To load for a batch:
    /// every booking in [`Facts::booking_ids`] of its events and of the payments that
    /// they touch, every booking of one of their sessions, each with all its payments.
    pub fn load_booking(&mut self, id: String, inputs: BookingInputs) {
        for session in &inputs.terms.session_ids {
            self.sessions.insert(session.clone(), id.clone());
        }
        for session in &inputs.terms.hinted_session_ids {
            self.hinted_sessions.insert(session.clone(), id.clone());
        }
        let booking = inputs.booking(&self.payments_of(&id));
        self.bookings.insert(id, BookingEntry { inputs, booking, changed: false });
    }

    /// Says which days of a resource are held by a booking that is not put in.
    pub fn load_held_days(&mut self, resource_id: String, days: Days, booking_id: String) {
        self.held_days.entry(resource_id).or_default().push((days, booking_id));
    }

    /// Registers a booking. What the gateway said before joins it by [`Self::rejoin`].
    pub fn register_booking(&mut self, id: &str, inputs: BookingInputs) -> Change {
        self.load_booking(id.to_owned(), inputs);
        let to = self.bookings.get_mut(id).map_or("pending", |entry| {
            entry.changed = true;
            entry.booking.status.as_str()
        });
        Change { subject: Subject::Booking, id: id.to_owned(), payment_id: String::new(), from: None, to, reason: None }
    }

    /// Adds a checkout session that a payer came back with: it finds the payment, and
    /// vouches for nothing.
    pub fn add_hinted_session(&mut self, id: &str, session_id: &str) -> Vec<Change> {
        if let Some(entry) = self.bookings.get_mut(id) {
            entry.changed |= entry.inputs.terms.hinted_session_ids.insert(session_id.to_owned());
            self.hinted_sessions.insert(session_id.to_owned(), id.to_owned());
        }
        self.rejoin_payments_of(id)
    }

    /// Accepts what was paid for a booking, although it is less.
    pub(super) fn release_booking(&mut self, id: &str) -> Vec<Change> {
        if let Some(entry) = self.bookings.get_mut(id) {
            entry.inputs.terms.released = true;
            entry.changed = true;
        }
        self.rejoin_payments_of(id)
    }

    /// Each payment keeps the terms of its booking, and is a function of them.
    fn rejoin_payments_of(&mut self, id: &str) -> Vec<Change> {
        let payments = self.booked.get(id).cloned().unwrap_or_default();
        payments.iter().flat_map(|payment| self.rejoin(payment)).collect()
    }

    /// Gives a booking up; its days are free again.
    pub fn cancel_booking(&mut self, id: &str) -> Option<Change> {
        let entry = self.bookings.get_mut(id)?;
        entry.inputs.canceled = true;
        entry.changed = true;
        self.refresh_booking(id, "")
    }

    fn payments_of(&self, id: &str) -> Vec<&Payment> {
        let booked = self.booked.get(id).into_iter().flatten();
        booked.filter_map(|id| self.payments.get(id)).map(|entry| &entry.payment).collect()
    }

    /// Adds to `facts` the booking that they mean: by a checkout session that the
    /// application registered, then by what their metadata names, then by a session that a
    /// payer came back with.
    pub(super) fn meet_booking(&self, facts: &mut Facts) {
        if self.bookings.is_empty() {
            return;
        }
        facts.part_from_hinted();
        let by_session = facts.sessions.keys().find_map(|session| self.sessions.get(session));
        let by_name = || facts.booking_ids().into_iter().find(|id| self.bookings.contains_key(*id));
        let by_hint = || {
            let mut hinted = facts.sessions.keys().filter_map(|session| self.hinted_sessions.get(session));
            hinted.find(|id| !facts.is_for_another_than(id))
        };
        let by_name = || by_name().map(str::to_owned);
        let Some(id) = by_session.cloned().or_else(by_name).or_else(|| by_hint().cloned()) else { return };
        if !facts.bookings.is_empty() && !facts.bookings.contains_key(&id) {
            return; // A payment is for one booking; the first that was found stays.
        }
        if let Some(entry) = self.bookings.get(&id) {
            facts.bookings.insert(id, entry.inputs.terms.clone());
        }
    }

    /// Derives a booking again from its payments; one that is paid claims its days.
    pub(super) fn refresh_booking(&mut self, id: &str, payment_id: &str) -> Option<Change> {
        let payments = self.payments_of(id);
        let entry = self.bookings.get(id)?;
        let mut inputs = entry.inputs.clone();
        if inputs.is_to_claim(&payments) {
            inputs.claim = Some(self.winner_over(id, &inputs).map_or(Claim::Won, Claim::Lost));
        }
        let booking = inputs.booking(&payments);
        let (from, to) = (entry.booking.status.as_str(), booking.status.as_str());
        let changed = entry.changed || inputs != entry.inputs || booking != entry.booking;
        self.bookings.insert(id.to_owned(), BookingEntry { inputs, booking, changed });
        (from != to).then(|| Change {
            subject: Subject::Booking,
            id: id.to_owned(),
            payment_id: payment_id.to_owned(),
            from: Some(from),
            to,
            reason: booking.reason,
        })
    }

    /// The confirmed booking that holds a day which this one wants.
    fn winner_over(&self, id: &str, inputs: &BookingInputs) -> Option<String> {
        let wanted = &inputs.terms;
        let here = self.bookings.iter().filter(|(other, entry)| {
            let theirs = &entry.inputs;
            *other != id
                && theirs.holds_days()
                && theirs.terms.resource_id == wanted.resource_id
                && theirs.terms.days.overlaps(&wanted.days)
        });
        let elsewhere = self.held_days.get(&wanted.resource_id).into_iter().flatten();
        let elsewhere = elsewhere
            .filter(|(days, other)| other != id && !self.bookings.contains_key(other) && days.overlaps(&wanted.days));
        here.map(|(other, _)| other.clone()).chain(elsewhere.map(|(_, other)| other.clone())).next()
    }
}
