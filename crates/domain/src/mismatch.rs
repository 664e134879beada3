//! Whether what was paid is what the application asked for, and whose word counts
//! where it is not.

use std::collections::{BTreeMap, BTreeSet};

use crate::external::StatedAmount;
use crate::intent::Details;
use crate::money::{Currency, Minor};
use crate::paypal::CaptureFacts;
use crate::{Facts, Phase, Timestamp};

/// What one registration asks for.
struct Asked<'a> {
    amount: Minor,
    currency: Currency,
    released: bool,
    /// Whose word is taken whatever amount it states.
    vouched: BTreeSet<&'a str>,
}

/// An amount in somebody's words.
enum Stated<'a> {
    ByGateway(Option<Minor>, Option<Currency>),
    BySender(&'a StatedAmount),
}

impl Stated<'_> {
    /// `None` where neither is known.
    fn by_gateway(amount: Option<Minor>, currency: Option<Currency>) -> Option<Self> {
        (amount.is_some() || currency.is_some()).then_some(Self::ByGateway(amount, currency))
    }

    /// `None` in another currency, or where it cannot be read.
    fn in_currency(&self, asked: Currency) -> Option<Minor> {
        match self {
            Self::ByGateway(amount, currency) => amount.filter(|_| currency.is_none_or(|theirs| theirs == asked)),
            Self::BySender(stated) => stated.in_currency(asked),
        }
    }
}

/// One object's word on how much was, or is to be, paid.
struct Offer<'a> {
    id: &'a str,
    stated: Option<Stated<'a>>,
    /// Paid or authorised.
    settled: bool,
}

impl<'a> Offer<'a> {
    fn of_gateway(id: &'a str, details: Option<&Details>, settled: bool) -> Self {
        let stated = details.and_then(|details| Stated::by_gateway(details.amount, details.currency));
        Self { id, stated, settled }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub differs: bool,
    /// Money came, and none of it is accepted.
    pub held: bool,
    /// Objects whose money is not accepted.
    pub refused: BTreeSet<String>,
}

impl Facts {
    fn object_ids(&self) -> impl Iterator<Item = &str> {
        let mut ids = Vec::new();
        self.each_named(|kind, id| {
            if kind.is_payment() {
                ids.push(id);
            }
        });
        ids.into_iter()
    }

    /// Of the objects that are found by `is_named`, those and what the gateway ties to them.
    /// What is tied by metadata alone is not among them, because payers can choose it.
    fn vouched(&self, is_named: &dyn Fn(&str) -> bool) -> BTreeSet<&str> {
        let mut vouched: BTreeSet<&str> = self.object_ids().filter(|id| is_named(id)).collect();
        let ties = self.ties();
        while let Some((one, other)) = ties.iter().find(|(one, other)| vouched.contains(one) != vouched.contains(other))
        {
            vouched.extend([*one, *other]);
        }
        vouched
    }

    /// Pairs of objects of which one names the other.
    fn ties(&self) -> Vec<(&str, &str)> {
        let mut ties = Vec::new();
        for (id, session) in &self.sessions {
            ties.extend(session.intents.iter().map(|other| (id.as_str(), other.as_str())));
        }
        for (id, charge) in &self.charges {
            ties.extend(charge.intents.iter().map(|other| (id.as_str(), other.as_str())));
        }
        for (id, intent) in &self.intents {
            ties.extend(intent.charges.iter().map(|other| (id.as_str(), other.as_str())));
        }
        for (id, order) in &self.paypal_orders {
            let parts = order.captures.iter().chain(&order.authorizations);
            ties.extend(parts.map(|other| (id.as_str(), other.as_str())));
        }
        for (id, capture) in &self.captures {
            let wholes = capture.orders.iter().chain(&capture.authorizations);
            ties.extend(wholes.map(|other| (id.as_str(), other.as_str())));
        }
        for (id, authorization) in &self.authorizations {
            ties.extend(authorization.orders.iter().map(|other| (id.as_str(), other.as_str())));
        }
        ties
    }

    /// What the application asked for, of the payment and of each booking that it is for,
    /// and whose word it takes for it.
    fn asked(&self) -> Vec<Asked<'_>> {
        let mut asked = Vec::new();
        for (id, registration) in &self.registrations {
            let (amount, currency) = (registration.terms.amount, registration.terms.currency);
            let mut vouched = self.vouched(&|id| registration.knows(id));
            // The merchant's own sender vouches where it names the payment or its order
            // itself; what its metadata names somebody else may have chosen.
            vouched.extend(self.externals.iter().filter_map(|(key, external)| {
                let ids = external.transaction_ids.iter().chain(&external.payment_ids);
                let is_named = ids.into_iter().any(|name| name == id || registration.knows(name));
                let of_order = registration.terms.order_id.as_ref().is_some_and(|o| external.order_ids.contains(o));
                (is_named || of_order).then_some(key.as_str())
            }));
            asked.push(Asked { amount, currency, released: registration.released, vouched });
        }
        for booking in self.bookings.values() {
            if let Some((amount, currency)) = booking.money() {
                let vouched = self.vouched(&|id| booking.session_ids.contains(id));
                asked.push(Asked { amount, currency, released: booking.released, vouched });
            }
        }
        asked
    }

    /// What each object that is a payment says of its amount. Intent, session and charge
    /// speak of the same money, so one that belongs to a settled intent is not asked again;
    /// a session may show the payer's own currency.
    fn offers(&self) -> Vec<Offer<'_>> {
        let authorized =
            |newest: Option<(Timestamp, Phase)>| newest.is_some_and(|(_, phase)| phase == Phase::Authorized);
        let mut offers = Vec::new();
        let mut settled_intents = BTreeSet::new();
        for (id, intent) in &self.intents {
            let settled = intent.succeeded_at.is_some() || authorized(intent.newest.get());
            settled_intents.extend(settled.then_some(id));
            offers.push(Offer::of_gateway(id, intent.details.get(), settled));
        }
        let spoken_for = |intents: &BTreeSet<String>| intents.iter().any(|id| settled_intents.contains(id));
        for (id, session) in self.sessions.iter().filter(|(_, session)| !spoken_for(&session.intents)) {
            let settled = session.paid_at.is_some();
            if settled || self.intents.is_empty() {
                offers.push(Offer::of_gateway(id, session.details.get(), settled));
            }
        }
        let listed = |id: &String| settled_intents.iter().any(|intent| self.intents[*intent].charges.contains(id));
        let of_session = |intents: &BTreeSet<String>| {
            let paid = self.sessions.values().filter(|session| session.paid_at.is_some());
            paid.flat_map(|session| &session.intents).any(|id| intents.contains(id))
        };
        for (id, charge) in &self.charges {
            let settled = charge.captured_at.is_some() || authorized(charge.newest());
            let is_another = !spoken_for(&charge.intents) && !listed(id) && !of_session(&charge.intents);
            if is_another && (settled || offers.is_empty()) {
                offers.push(Offer::of_gateway(id, charge.details.get(), settled));
            }
        }
        offers.extend(self.paypal_offers());
        for (id, external) in &self.externals {
            let settled = external.completed_at().is_some();
            let amounts = &external.completed.amounts;
            offers.extend(amounts.iter().map(|stated| Offer { id, stated: Some(Stated::BySender(stated)), settled }));
            if amounts.is_empty() {
                offers.push(Offer { id, stated: None, settled });
            }
        }
        offers
    }

    /// An authorisation's amount counts, whatever part of it is captured; of an order, what
    /// its captures come to.
    fn paypal_offers(&self) -> Vec<Offer<'_>> {
        let mut offers = Vec::new();
        let mut of_orders: BTreeMap<&str, Vec<&CaptureFacts>> = BTreeMap::new();
        let is_described = |id: &String| self.authorizations.get(id).is_some_and(|held| held.details.get().is_some());
        for (id, capture) in &self.captures {
            if !capture.authorizations.iter().any(is_described) {
                of_orders.entry(capture.orders.first().unwrap_or(id)).or_default().push(capture);
            }
        }
        for (id, held) in &self.authorizations {
            let captured = |c: &CaptureFacts| c.authorizations.contains(id) && c.completed_at.is_some();
            let settled = held.phase() == Some(Phase::Authorized) || self.captures.values().any(captured);
            offers.push(Offer::of_gateway(id, held.details.get(), settled));
        }
        for (id, captures) in of_orders {
            let completed: Vec<&CaptureFacts> = captures.iter().copied().filter(|c| c.completed_at.is_some()).collect();
            let counted = if completed.is_empty() { &captures } else { &completed };
            let details: Vec<&Details> = counted.iter().filter_map(|capture| capture.details.get()).collect();
            let currency = details.first().and_then(|details| details.currency);
            let readable = details.len() == counted.len()
                && details.iter().all(|details| details.amount.is_some() && details.currency == currency);
            let sum = readable.then(|| details.iter().filter_map(|details| details.amount).sum());
            offers.push(Offer { id, stated: Stated::by_gateway(sum, currency), settled: !completed.is_empty() });
        }
        offers
    }

    /// How what was paid compares with what the application asked for.
    pub(crate) fn mismatch(&self) -> Mismatch {
        let asked = self.asked();
        let mut mismatch = Mismatch::default();
        if asked.is_empty() {
            return mismatch;
        }
        let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for offer in self.offers() {
            // A gateway always states an amount; senders of the merchant's own need not.
            let is_due = offer.settled && !self.externals.contains_key(offer.id);
            let mut is_accepted = true;
            for asked in &asked {
                let theirs = offer.stated.as_ref().and_then(|stated| stated.in_currency(asked.currency));
                let same = theirs == Some(asked.amount);
                let enough = theirs >= Some(asked.amount);
                let trusted = asked.vouched.contains(offer.id);
                mismatch.differs |= (offer.stated.is_some() || is_due) && !same;
                is_accepted &= asked.released
                    || if self.holds_mismatch { same || trusted && offer.stated.is_none() } else { trusted || enough };
            }
            if offer.settled {
                let place = if is_accepted { &mut accepted } else { &mut refused };
                place.insert(offer.id.to_owned());
            }
        }
        accepted.retain(|id| !refused.contains(id)); // It contradicts itself.
        // What the gateway ties to refused money is the same money.
        let ties = self.ties();
        let reaches = |refused: &BTreeSet<String>, one: &str, other: &str| {
            refused.contains(one) && !refused.contains(other) && !accepted.contains(other)
        };
        while let Some(next) = ties.iter().find_map(|(one, other)| {
            let forth = reaches(&refused, one, other).then_some(*other);
            forth.or_else(|| reaches(&refused, other, one).then_some(*one))
        }) {
            refused.insert(next.to_owned());
        }
        mismatch.held = accepted.is_empty() && !refused.is_empty();
        mismatch.refused = refused;
        mismatch
    }

    /// Without these objects.
    pub(crate) fn without(&self, refused: &BTreeSet<String>) -> Self {
        let mut rest = self.clone();
        rest.intents.retain(|id, _| !refused.contains(id));
        rest.sessions.retain(|id, _| !refused.contains(id));
        rest.charges.retain(|id, _| !refused.contains(id));
        rest.paypal_orders.retain(|id, _| !refused.contains(id));
        rest.captures.retain(|id, _| !refused.contains(id));
        rest.authorizations.retain(|id, _| !refused.contains(id));
        rest.externals.retain(|id, _| !refused.contains(id));
        rest
    }
}
