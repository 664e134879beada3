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
    pub fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    /// Whether an object that *is* a payment was seen, rather than only named.
    pub fn has_payment(&self) -> bool {
        !(self.intents.is_empty() && self.sessions.is_empty() && self.charges.is_empty())
    }

    /// Every object that is described or named here, in order.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        use ObjectKind::{Charge, Dispute, Intent, Reader, Refund, Session};
        let mut keys = BTreeSet::new();
        let mut add = |kind, ids: &mut dyn Iterator<Item = &String>| {
            keys.extend(ids.map(|id| ObjectKey::new(kind, id.as_str())));
        };
        add(Intent, &mut self.intents.keys());
        add(Session, &mut self.sessions.keys());
        add(Charge, &mut self.charges.keys());
        add(Refund, &mut self.refunds.keys());
        add(Dispute, &mut self.disputes.keys());
        add(Reader, &mut self.readers.keys());
        add(Charge, &mut self.intents.values().flat_map(|intent| &intent.charges));
        add(Intent, &mut self.sessions.values().flat_map(|session| &session.intents));
        add(Intent, &mut self.charges.values().flat_map(|charge| &charge.intents));
        add(Intent, &mut self.refunds.values().flat_map(|refund| &refund.intents));
        add(Charge, &mut self.refunds.values().flat_map(|refund| &refund.charges));
        add(Intent, &mut self.disputes.values().flat_map(|dispute| &dispute.intents));
        add(Charge, &mut self.disputes.values().flat_map(|dispute| &dispute.charges));
        add(Intent, &mut self.readers.values().flat_map(|reader| &reader.intents));
        keys.extend(self.thin.values().flat_map(|thin| thin.related.iter().cloned()));
        keys
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
        let keys = self.keys();
        keys.first().map(|key| match key.kind {
            // Keys sort by `ObjectKind`, then id.
            ObjectKind::Intent => scope.derived_id("pay", &key.id),
            // Not every gateway's ids differ between kinds: its charge 43 is not its intent 43.
            kind => scope.hashed_id("pay", &[kind.as_str(), &key.id]),
        })
    }
}
