//! What gateways have said about the objects of one payment.
//!
//! One event's statement and the sum of all statements have the same type:
//! applying an event is `facts.join(event_facts)`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Scope;
use crate::charge::ChargeFacts;
use crate::dispute::DisputeFacts;
use crate::intent::IntentFacts;
use crate::lattice::{is_bottom, join_by_field};
use crate::reader::ReaderFacts;
use crate::refund::RefundFacts;
use crate::session::SessionFacts;
use crate::status::text_enum;
use crate::thin::ThinFacts;

text_enum! {
    /// The order is the precedence in which an object names the payment.
    ObjectKind {
        Intent = "intent",
        Session = "session",
        Charge = "charge",
        Refund = "refund",
        Dispute = "dispute",
        Reader = "reader",
        Thin = "thin",
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
    pub refunds: BTreeMap<String, RefundFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub disputes: BTreeMap<String, DisputeFacts>,
    /// By reader and payment intent, because a reader serves many payments.
    #[serde(skip_serializing_if = "is_bottom")]
    pub readers: BTreeMap<String, ReaderFacts>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub thin: BTreeMap<String, ThinFacts>,
    /// Whether an endpoint that makes payments from events took part.
    #[serde(skip_serializing_if = "is_bottom")]
    pub creates: bool,
}

join_by_field!(Facts { intents, sessions, charges, refunds, disputes, readers, thin, creates });

impl Facts {
    /// Whether no object is described.
    pub fn is_empty(&self) -> bool {
        let others = self.refunds.is_empty() && self.disputes.is_empty() && self.readers.is_empty();
        !self.has_payment() && others && self.thin.is_empty()
    }

    /// Whether an object that *is* a payment was seen, rather than only named.
    pub fn has_payment(&self) -> bool {
        !(self.intents.is_empty() && self.sessions.is_empty() && self.charges.is_empty())
    }

    /// Every object that is described or named here; some more than once.
    fn named(&self) -> impl Iterator<Item = (ObjectKind, &str)> {
        use ObjectKind::{Charge, Dispute, Intent, Reader, Refund, Session};
        fn of<'a>(
            kind: ObjectKind,
            ids: impl Iterator<Item = &'a String>,
        ) -> impl Iterator<Item = (ObjectKind, &'a str)> {
            ids.map(move |id| (kind, id.as_str()))
        }
        let thin = self.thin.values().flat_map(|thin| &thin.related);
        of(Intent, self.intents.keys())
            .chain(of(Session, self.sessions.keys()))
            .chain(of(Charge, self.charges.keys()))
            .chain(of(Refund, self.refunds.keys()))
            .chain(of(Dispute, self.disputes.keys()))
            .chain(of(Reader, self.readers.keys()))
            .chain(of(Charge, self.intents.values().flat_map(|intent| &intent.charges)))
            .chain(of(Intent, self.sessions.values().flat_map(|session| &session.intents)))
            .chain(of(Intent, self.charges.values().flat_map(|charge| &charge.intents)))
            .chain(of(Intent, self.refunds.values().flat_map(|refund| &refund.intents)))
            .chain(of(Charge, self.refunds.values().flat_map(|refund| &refund.charges)))
            .chain(of(Intent, self.disputes.values().flat_map(|dispute| &dispute.intents)))
            .chain(of(Charge, self.disputes.values().flat_map(|dispute| &dispute.charges)))
            .chain(of(Intent, self.readers.values().flat_map(|reader| &reader.intents)))
            .chain(thin.map(|key| (key.kind, key.id.as_str())))
    }

    /// Every object that is described or named here, in order.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        self.named().map(|(kind, id)| ObjectKey::new(kind, id)).collect()
    }

    /// The object that names the payment best: the first of [`Self::keys`].
    pub(crate) fn primary(&self) -> Option<(ObjectKind, &str)> {
        self.named().min()
    }

    /// Every order that these facts name. The payment belongs to at most one of
    /// them, but to which can change with each further fact.
    pub fn order_ids(&self) -> BTreeSet<&str> {
        let intents = self.intents.values().filter_map(|intent| intent.details.get());
        let sessions = self.sessions.values().filter_map(|session| session.details.get());
        let charges = self.charges.values().filter_map(|charge| charge.details.get());
        intents.chain(sessions).chain(charges).filter_map(|details| details.order_id.as_deref()).collect()
    }

    /// The id of the payment that these facts make: derived from the object that
    /// names it best, so that it is the same whatever came first. `None` without
    /// any object.
    pub fn payment_id(&self, scope: &Scope) -> Option<String> {
        self.primary().map(|(kind, id)| match kind {
            ObjectKind::Intent => scope.derived_id("pay", id),
            // Not every gateway's ids differ between kinds: its charge 43 is not its intent 43.
            kind => scope.hashed_id("pay", &[kind.as_str(), id]),
        })
    }
}
