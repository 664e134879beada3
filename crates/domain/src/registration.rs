//! What the application registered: an input of state, like an event, and like an
//! event it may come first or last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::external::StatedAmount;
use crate::intent::Details;
use crate::lattice::{Join, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::paypal::CaptureFacts;
use crate::status::text_enum;
use crate::{Facts, Mode, ObjectKind, Phase, Scope, Timestamp};

text_enum! {
    /// Under what kind of name the application knows a payment.
    ReferenceKind {
        /// The payment's own id.
        Id = "id",
        Transaction = "transaction",
        External = "external",
        /// An object of the gateway: payment intent, charge, checkout session, PayPal
        /// order or capture.
        Gateway = "gateway",
    }
}

/// What one payment is to be, as the application registered it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Terms {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    pub amount: Minor,
    pub currency: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A registered payment. Its terms do not change; names are added to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub terms: Terms,
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub transaction_ids: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub external_ids: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub gateway_ids: BTreeSet<String>,
    /// Objects that it took, each the first by which it was meant. Like a booking's claim
    /// this is an input: no later fact, and nothing that is registered later, revises it.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub taken: BTreeSet<String>,
    /// Where the objects that joined it came from.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub scopes: BTreeSet<(String, Mode)>,
    /// It waits for a site outside of the application.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub external_pending: bool,
    /// An operator accepted it although less, or something else, was paid.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub released: bool,
}

/// Terms never change; if they ever did, the larger are the same for all.
impl Join for Terms {
    fn join(&mut self, other: Self) {
        if other > *self {
            *self = other;
        }
    }
}

join_by_field!(Registration {
    terms,
    transaction_ids,
    external_ids,
    gateway_ids,
    taken,
    scopes,
    external_pending,
    released,
});

impl Registration {
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            transaction_ids: BTreeSet::new(),
            external_ids: BTreeSet::new(),
            gateway_ids: BTreeSet::new(),
            taken: BTreeSet::new(),
            scopes: BTreeSet::new(),
            external_pending: false,
            released: false,
        }
    }

    /// Every name that it can be found by, its own id apart.
    pub fn names(&self) -> impl Iterator<Item = (ReferenceKind, &str)> {
        let kinds = [
            (ReferenceKind::Transaction, &self.transaction_ids),
            (ReferenceKind::External, &self.external_ids),
            (ReferenceKind::Gateway, &self.gateway_ids),
        ];
        kinds.into_iter().flat_map(|(kind, ids)| ids.iter().map(move |id| (kind, id.as_str())))
    }

    fn knows(&self, id: &str) -> bool {
        [&self.transaction_ids, &self.external_ids, &self.gateway_ids].iter().any(|ids| ids.contains(id))
    }
}

/// How a gateway's statement names a payment that may be registered; the order is
/// the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    Transaction,
    External,
    /// A sender of the merchant's own uses the payment's own id.
    Own,
    /// By the id of one of its objects.
    Object,
    /// In what a payer may have chosen: `metadata.payment_id`; PayPal's `custom_id` and
    /// `invoice_id`.
    Metadata,
}

impl Mention {
    /// Whether a payment that is registered under a name of this `kind` is meant.
    pub const fn fits(self, kind: ReferenceKind) -> bool {
        match (self, kind) {
            (Self::Transaction, ReferenceKind::Transaction)
            | (Self::External, ReferenceKind::External)
            | (Self::Own, ReferenceKind::Id)
            | (Self::Object, ReferenceKind::Gateway | ReferenceKind::Transaction | ReferenceKind::External)
            | (Self::Metadata, ReferenceKind::Id | ReferenceKind::Transaction | ReferenceKind::External) => true,
            (Self::Transaction | Self::External | Self::Own | Self::Object | Self::Metadata, _) => false,
        }
    }
}

/// What an event names beside the gateway's own objects. Descriptions change from event
/// to event, so what each of them named is kept: a name that was given once counts,
/// whichever event comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    Transaction(String),
    Payment(String),
    Booking(String),
    /// By an event whose endpoint makes no payments.
    Order(String),
}

const METADATA_TRANSACTION: &str = "transaction_id";
const METADATA_PAYMENT: &str = "payment_id";
/// Elsewhere these names mean other things.
const METADATA_PAYMENT_OF_PAYPAL: [&str; 2] = ["custom_id", "invoice_id"];
const METADATA_BOOKING: &str = "booking_id";

impl Facts {
    /// The registered payment that these facts are part of.
    pub fn registration(&self) -> Option<(&str, &Registration)> {
        self.registrations.first_key_value().map(|(id, registration)| (id.as_str(), registration))
    }

    /// Whether the application asked for this payment: it, its booking or its order is
    /// registered, or an endpoint that makes payments took part.
    pub fn is_known(&self) -> bool {
        self.creates || !self.registrations.is_empty() || !self.bookings.is_empty()
    }

    /// Whether a gateway, or another sender, spoke of the payment itself.
    pub fn has_statement(&self) -> bool {
        self.has_payment() || !self.externals.is_empty()
    }

    /// Whether somebody spoke of the payment of a registered booking.
    pub(crate) fn is_booked(&self) -> bool {
        !self.bookings.is_empty() && self.has_statement()
    }

    /// Names by which these facts may mean a registered payment, the first to be tried first.
    pub fn mentions(&self) -> BTreeSet<(Mention, &str)> {
        let mut mentions = BTreeSet::new();
        for external in self.externals.values() {
            mentions.extend(external.transaction_ids.iter().map(|id| (Mention::Transaction, id.as_str())));
            let ids = || external.payment_ids.iter().map(String::as_str);
            mentions.extend(ids().map(|id| (Mention::External, id)).chain(ids().map(|id| (Mention::Own, id))));
        }
        mentions.extend(self.intents.keys().map(|id| (Mention::External, id.as_str())));
        self.each_named(|kind, id| {
            if kind.is_payment() {
                mentions.insert((Mention::Object, id));
            }
        });
        for name in &self.named {
            match name {
                Named::Transaction(id) => mentions.insert((Mention::Transaction, id.as_str())),
                Named::Payment(id) => mentions.insert((Mention::Metadata, id.as_str())),
                Named::Booking(_) | Named::Order(_) => false,
            };
        }
        mentions
    }

    /// Notes what one event names. Call it once its facts are all there, and whether its
    /// endpoint makes payments.
    pub fn note_names(&mut self) {
        let mut named = BTreeSet::new();
        let of_paypal = !(self.paypal_orders.is_empty() && self.captures.is_empty() && self.authorizations.is_empty());
        for details in self.details() {
            let value = |key: &str| details.metadata.get(key).filter(|name| !name.is_empty()).cloned();
            named.extend(value(METADATA_TRANSACTION).map(Named::Transaction));
            named.extend(value(METADATA_PAYMENT).map(Named::Payment));
            if of_paypal {
                named.extend(METADATA_PAYMENT_OF_PAYPAL.iter().filter_map(|key| value(key)).map(Named::Payment));
            }
            named.extend(value(METADATA_BOOKING).map(Named::Booking));
        }
        if !self.creates {
            named.extend(self.order_ids().into_iter().map(|id| Named::Order(id.to_owned())));
        }
        self.named = named;
    }

    /// Names of payments, other than ids of the gateway's objects, that these facts would
    /// be found by if they were registered.
    pub fn wanted(&self) -> BTreeSet<&str> {
        let externals = self.externals.values();
        let mut wanted: BTreeSet<&str> = externals
            .flat_map(|external| external.transaction_ids.iter().chain(&external.payment_ids))
            .map(String::as_str)
            .collect();
        wanted.extend(self.named.iter().filter_map(|name| match name {
            Named::Transaction(id) | Named::Payment(id) => Some(id.as_str()),
            Named::Booking(_) | Named::Order(_) => None,
        }));
        wanted
    }

    /// Orders that events named whose endpoints make no payments.
    pub fn wanted_orders(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter_map(|name| if let Named::Order(id) = name { Some(id.as_str()) } else { None })
    }

    fn object_ids(&self) -> impl Iterator<Item = &str> {
        let mut ids = Vec::new();
        self.each_named(|kind, id| {
            if kind.is_payment() {
                ids.push(id);
            }
        });
        ids.into_iter()
    }

    /// Bookings that are named, by `metadata.booking_id`.
    pub fn booking_ids(&self) -> BTreeSet<&str> {
        self.named
            .iter()
            .filter_map(|name| if let Named::Booking(id) = name { Some(id.as_str()) } else { None })
            .collect()
    }

    /// Of a registered payment, where its objects came from: what the application
    /// said, if anything came from there. Else as given.
    pub(crate) fn scope(&self, scope: &Scope) -> Scope {
        let Some((_, registration)) = self.registration() else { return scope.clone() };
        let said = registration.terms.gateway.as_deref();
        let from = |wanted: Option<&str>| {
            registration.scopes.iter().find(|(gateway, _)| wanted.is_none_or(|wanted| wanted == gateway))
        };
        let (gateway, mode) = match from(said).or_else(|| from(None)) {
            Some((gateway, mode)) => (gateway.clone(), *mode),
            None => (said.unwrap_or_default().to_owned(), Mode::Live),
        };
        Scope { account: scope.account.clone(), gateway, mode }
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
        for (id, capture) in &self.captures {
            let known = |id: &&String| self.authorizations.get(*id).is_some_and(|held| held.details.get().is_some());
            if !capture.authorizations.iter().any(|id| known(&id)) {
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
            let is_accepted = asked.iter().all(|asked| {
                let theirs = offer.stated.as_ref().and_then(|stated| stated.in_currency(asked.currency));
                let same = theirs == Some(asked.amount);
                // A gateway always states an amount; senders of the merchant's own need not.
                let is_due = offer.settled && !self.externals.contains_key(offer.id);
                mismatch.differs |= (offer.stated.is_some() || is_due) && !same;
                let trusted = asked.vouched.contains(offer.id);
                let enough = theirs >= Some(asked.amount);
                asked.released
                    || if self.holds_mismatch { same || trusted && offer.stated.is_none() } else { trusted || enough }
            });
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

impl ObjectKind {
    /// Whether such an object of a gateway stands for a payment, rather than for what is
    /// done to one.
    pub const fn is_payment(self) -> bool {
        match self {
            Self::Intent | Self::Session | Self::Charge | Self::PaypalOrder | Self::Capture | Self::Authorization => {
                true
            }
            Self::Refund | Self::Dispute | Self::Reader | Self::Thin | Self::External => false,
        }
    }
}
