//! What the application registered: an input of state, like an event, and like an
//! event it may come first or last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lattice::{Join, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::status::text_enum;
use crate::{Facts, Mode, ObjectKind, Scope};

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

    pub(crate) fn knows(&self, id: &str) -> bool {
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
