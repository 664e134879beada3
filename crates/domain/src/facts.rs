//! What gateways have said about the objects of one payment.
//!
//! One event's statement and the sum of all statements have the same type:
//! applying an event is `facts.join(event_facts)`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Scope;
use crate::booking::BookingTerms;
use crate::charge::ChargeFacts;
use crate::dispute::DisputeFacts;
use crate::external::ExternalFacts;
use crate::intent::IntentFacts;
use crate::lattice::{is_bottom, join_by_field};
use crate::paypal::{AuthorizationFacts, CaptureFacts, PaypalOrderFacts};
use crate::reader::ReaderFacts;
use crate::refund::RefundFacts;
use crate::registration::{Named, Registration};
use crate::session::SessionFacts;
use crate::status::text_enum;
use crate::thin::ThinFacts;

text_enum! {
    /// The order is the precedence in which an object names the payment.
    ObjectKind {
        Intent = "intent",
        Session = "session",
        Charge = "charge",
        PaypalOrder = "paypal_order",
        /// PayPal's captures, and the sales of its first API.
        Capture = "capture",
        Authorization = "authorization",
        Refund = "refund",
        Dispute = "dispute",
        Reader = "reader",
        Thin = "thin",
        /// A payment of a sender that only says completed or failed.
        External = "external",
    }
}

/// One of a gateway's objects, unique within a [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    pub kind: ObjectKind,
    pub id: String,
}

impl ObjectKey {
    pub fn new(kind: ObjectKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// Facts by object id. Objects that name one another belong to one payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeMap<String, IntentFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub sessions: BTreeMap<String, SessionFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub charges: BTreeMap<String, ChargeFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub paypal_orders: BTreeMap<String, PaypalOrderFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub captures: BTreeMap<String, CaptureFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub authorizations: BTreeMap<String, AuthorizationFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub refunds: BTreeMap<String, RefundFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub disputes: BTreeMap<String, DisputeFacts>,
    /// By reader and payment intent, because a reader serves many payments.
    #[serde(skip_serializing_if = "is_bottom")]
    pub readers: BTreeMap<String, ReaderFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub thin: BTreeMap<String, ThinFacts>,
    /// By transaction, else payment, else order: [`crate::external::ExternalIds::facts`].
    #[serde(skip_serializing_if = "is_bottom")]
    pub externals: BTreeMap<String, ExternalFacts>,
    /// Whether an endpoint that makes payments from events took part, or an order that
    /// the application registered is named.
    #[serde(skip_serializing_if = "is_bottom")]
    pub creates: bool,
    /// Whether an endpoint took part that holds a payment of another amount.
    #[serde(skip_serializing_if = "is_bottom")]
    pub holds_mismatch: bool,
    #[serde(skip_serializing_if = "is_bottom")]
    pub named: BTreeSet<Named>,
    /// What the application registered: at most one payment, by its id.
    #[serde(skip_serializing_if = "is_bottom")]
    pub registrations: BTreeMap<String, Registration>,
    /// Bookings that this payment is for, by id.
    #[serde(skip_serializing_if = "is_bottom")]
    pub bookings: BTreeMap<String, BookingTerms>,
}

join_by_field!(Facts {
    intents,
    sessions,
    charges,
    paypal_orders,
    captures,
    authorizations,
    refunds,
    disputes,
    readers,
    thin,
    externals,
    creates,
    holds_mismatch,
    named,
    registrations,
    bookings
});

impl Facts {
    /// Whether no object is described.
    pub fn is_empty(&self) -> bool {
        let others = self.refunds.is_empty() && self.disputes.is_empty() && self.readers.is_empty();
        !self.has_payment()
            && self.paypal_orders.is_empty()
            && others
            && self.thin.is_empty()
            && self.externals.is_empty()
    }

    /// Whether an object that *is* a payment was seen, rather than only named. What
    /// senders state that only say completed or failed is none: it confirms or fails
    /// a payment that the application registered.
    pub fn has_payment(&self) -> bool {
        let stripe = self.intents.is_empty() && self.sessions.is_empty() && self.charges.is_empty();
        let orders = self.paypal_orders.values().any(PaypalOrderFacts::is_shown);
        let paypal = orders || !(self.captures.is_empty() && self.authorizations.is_empty());
        paypal || !stripe
    }

    /// Visits every object that is described or named here; some more than once.
    pub(crate) fn each_named<'a>(&'a self, mut visit: impl FnMut(ObjectKind, &'a str)) {
        use ObjectKind::{
            Authorization, Capture, Charge, Dispute, External, Intent, PaypalOrder, Reader, Refund, Session,
        };
        let mut all = |kind, ids: &'a BTreeSet<String>| ids.iter().for_each(|id| visit(kind, id));
        for intent in self.intents.values() {
            all(Charge, &intent.charges);
        }
        for session in self.sessions.values() {
            all(Intent, &session.intents);
        }
        for charge in self.charges.values() {
            all(Intent, &charge.intents);
        }
        for refund in self.refunds.values() {
            all(Intent, &refund.intents);
            all(Charge, &refund.charges);
        }
        for dispute in self.disputes.values() {
            all(Intent, &dispute.intents);
            all(Charge, &dispute.charges);
        }
        for reader in self.readers.values() {
            all(Intent, &reader.intents);
        }
        for order in self.paypal_orders.values() {
            all(Capture, &order.captures);
            all(Authorization, &order.authorizations);
        }
        for capture in self.captures.values() {
            all(PaypalOrder, &capture.orders);
            all(Authorization, &capture.authorizations);
        }
        self.authorizations.values().for_each(|held| all(PaypalOrder, &held.orders));
        self.refunds.values().for_each(|refund| all(Capture, &refund.captures));
        self.disputes.values().for_each(|dispute| all(Capture, &dispute.captures));
        self.paypal_orders.keys().for_each(|id| visit(PaypalOrder, id));
        self.captures.keys().for_each(|id| visit(Capture, id));
        self.authorizations.keys().for_each(|id| visit(Authorization, id));
        self.intents.keys().for_each(|id| visit(Intent, id));
        self.sessions.keys().for_each(|id| visit(Session, id));
        self.charges.keys().for_each(|id| visit(Charge, id));
        self.refunds.keys().for_each(|id| visit(Refund, id));
        self.disputes.keys().for_each(|id| visit(Dispute, id));
        self.readers.keys().for_each(|id| visit(Reader, id));
        self.externals.keys().for_each(|key| visit(External, key));
        self.externals.values().flat_map(|external| &external.names).for_each(|key| visit(External, key));
        self.thin.values().flat_map(|thin| &thin.related).for_each(|key| visit(key.kind, &key.id));
    }

    /// Every object that is described or named here, in order.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        let mut keys = BTreeSet::new();
        self.each_named(|kind, id| {
            keys.insert(ObjectKey::new(kind, id));
        });
        keys
    }

    /// The object that names the payment best: the first of [`Self::keys`].
    pub fn primary(&self) -> Option<(ObjectKind, &str)> {
        let mut first: Option<(ObjectKind, &str)> = None;
        self.each_named(|kind, id| {
            if first.is_none_or(|first| (kind, id) < first) {
                first = Some((kind, id));
            }
        });
        first
    }

    /// Every order that these facts name. The payment belongs to at most one of
    /// them, but to which can change with each further fact.
    pub fn order_ids(&self) -> BTreeSet<&str> {
        let registered = self.registrations.values().filter_map(|r| r.terms.order_id.as_deref());
        let said = self.externals.values().flat_map(|external| &external.order_ids).map(String::as_str);
        self.details().filter_map(|details| details.order_id.as_deref()).chain(registered).chain(said).collect()
    }

    /// The id of the payment that these facts make: the registered one, else derived
    /// from the object that names it best, so that it is the same whatever came
    /// first. `None` without any object.
    pub fn payment_id(&self, scope: &Scope) -> Option<String> {
        if let Some((id, _)) = self.registration() {
            return Some(id.to_owned());
        }
        self.primary().map(|(kind, id)| match kind {
            ObjectKind::Intent => scope.derived_id("pay", id),
            // Not every gateway's ids differ between kinds: its charge 43 is not its intent 43.
            kind => scope.hashed_id("pay", &[kind.as_str(), id]),
        })
    }
}
