//! What state is a function of: what gateways delivered, and what the application
//! registered.

use std::collections::BTreeSet;

use domain::booking::BookingTerms;
use domain::money::Minor;
use domain::{AccountId, Currency, Money, Registration, Scope, Timestamp};
use gateways::Gateway;
use store::{NewEvent, NewId, NewOrder, Noun, OrderRow, RecordedEvent, Refusal, Store, StoredEvent};

use super::Error;
use crate::apply::restate;

/// Rows read at a time.
pub(super) const PAGE: u32 = 500;
/// Why an event was kept aside is told by its first delivery; that it was is what counts.
const KEPT_ASIDE: &str = "it was kept aside when it was recorded";

/// Deliveries in the order in which they were recorded, and registrations in an order in
/// which each finds what it refers to.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub deliveries: Vec<NewEvent>,
    pub calls: Vec<Call>,
    /// Events whose bodies were dropped by age: they cannot be delivered again.
    pub events_without_body: u64,
}

/// The application calls.
#[derive(Clone, Debug)]
pub struct Call {
    pub account: AccountId,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Order(NewOrder),
    Payment(String, Registration),
    /// A payment waits for an outside site, which knows it by that name.
    External(String, String),
    Resource(String, String),
    Booking(String, BookingTerms),
    /// A payer came back to a booking with that checkout session.
    Session(String, String),
    /// A booking is given up.
    Cancel(String),
}

impl Inputs {
    /// Everything that is stored.
    pub async fn read(store: &Store) -> Result<Self, Error> {
        let mut inputs = Self::default();
        for account in store.accounts().await? {
            inputs.read_orders(store, &account).await?;
            inputs.read_payments(store, &account).await?;
            inputs.read_bookings(store, &account).await?;
            inputs.read_events(store, &account).await?;
        }
        Ok(inputs)
    }

    async fn read_events(&mut self, store: &Store, account: &AccountId) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let page = store.recorded_events(account, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for event in page {
                self.add_event(account, event)?;
            }
        }
    }

    fn add_event(&mut self, account: &AccountId, event: RecordedEvent) -> Result<(), Error> {
        let gateway =
            Gateway::parse(&event.gateway).ok_or_else(|| Error::UnknownGateway(event.gateway.clone()))?.as_str();
        let Some(body) = event.body else {
            self.events_without_body += 1;
            return Ok(());
        };
        let delivered = |api_version, endpoint, body: Vec<u8>| {
            let delivery = NewEvent::new(
                account.clone(),
                gateway,
                event.mode,
                event.connected_account.clone(),
                event.event_id.clone(),
                event.event_type.clone(),
                api_version,
                event.gateway_time,
                endpoint,
                event.creates,
                event.kept_aside.then_some(KEPT_ASIDE),
                event.received_at, // A rendering is read as of when its event came first.
                body,
            );
            delivery.in_json(event.is_json).holding_mismatch(event.holds_mismatch)
        };
        self.deliveries.push(delivered(event.api_version.clone(), event.endpoint.clone(), body));
        for rendering in event.renderings {
            self.deliveries.push(delivered(rendering.api_version, rendering.endpoint, rendering.body));
        }
        Ok(())
    }

    async fn read_orders(&mut self, store: &Store, account: &AccountId) -> Result<(), Error> {
        let mut before = None;
        loop {
            let page = store.list_orders(Some(account), before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.row);
            let orders = page.into_iter().filter_map(new_order).map(What::Order);
            self.calls.extend(orders.map(|what| Call { account: account.clone(), what }));
        }
    }

    async fn read_payments(&mut self, store: &Store, account: &AccountId) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = store.registrations(account, &after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (id, mut registration) in page {
                // What it took, and where that came from, is found out anew.
                registration.taken.clear();
                registration.scopes.clear();
                let mut external_ids = BTreeSet::new();
                if registration.external_pending {
                    external_ids = std::mem::take(&mut registration.external_ids);
                    registration.external_pending = false;
                }
                let externals = external_ids.into_iter().map(|external| What::External(id.clone(), external));
                let calls = std::iter::once(What::Payment(id.clone(), registration)).chain(externals);
                self.calls.extend(calls.map(|what| Call { account: account.clone(), what }));
            }
        }
    }

    async fn read_bookings(&mut self, store: &Store, account: &AccountId) -> Result<(), Error> {
        let mut before = None;
        loop {
            let page = store.list_resources(Some(account), before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.row);
            let resources = page.into_iter().map(|resource| What::Resource(resource.id, resource.name));
            self.calls.extend(resources.map(|what| Call { account: account.clone(), what }));
        }
        let mut after = String::new();
        loop {
            let page = store.stored_bookings(account, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
            for booking in page {
                let (id, mut terms) = (booking.id, booking.inputs.terms);
                let hinted = std::mem::take(&mut terms.hinted_session_ids);
                let mut calls = vec![What::Booking(id.clone(), terms)];
                calls.extend(hinted.into_iter().map(|session| What::Session(id.clone(), session)));
                calls.extend(booking.inputs.canceled.then(|| What::Cancel(id.clone())));
                self.calls.extend(calls.into_iter().map(|what| Call { account: account.clone(), what }));
            }
        }
    }

    /// As many as there are events in them.
    pub fn events(&self) -> usize {
        let identity = |event: &NewEvent| {
            let connected = event.connected_account.clone();
            (event.account.clone(), event.gateway, event.mode, connected, event.event_id.clone())
        };
        self.deliveries.iter().map(identity).collect::<BTreeSet<_>>().len()
    }

    /// The latest time of receipt.
    pub(super) fn newest(&self) -> Timestamp {
        let newest = self.deliveries.iter().map(|event| event.received_at).max();
        newest.unwrap_or(Timestamp::from_seconds(0))
    }
}

/// `None` of an order that no application registered.
fn new_order(row: OrderRow) -> Option<NewOrder> {
    let due = Money { amount: Minor::new(row.amount?)?, currency: Currency::parse(row.currency.as_deref()?)? };
    let metadata = (!row.metadata.is_empty()).then(|| serde_json::json!(row.metadata).to_string());
    Some(NewOrder { id: row.id, due, customer: row.customer.map(|customer| customer.to_string()), metadata })
}

/// Names by which a delivery and what else it may concern are found to belong together.
pub(super) fn names_of_delivery(event: &NewEvent) -> BTreeSet<String> {
    let NewEvent { account, mode, creates, received_at, .. } = event.clone();
    let scope = Scope { account, gateway: event.gateway.to_owned(), mode };
    let bodies = vec![event.body.to_vec()];
    let read = restate(&StoredEvent { seq: 0, scope, creates, holds_mismatch: false, received_at, bodies });
    let facts = read.map(|read| read.facts).unwrap_or_default();
    let mut names: BTreeSet<String> = facts.keys().into_iter().map(|key| key.id).collect();
    names.extend(facts.order_ids().into_iter().map(str::to_owned));
    names.extend(facts.wanted().into_iter().map(str::to_owned));
    names.extend(facts.booking_ids().into_iter().map(str::to_owned));
    names.insert(event.event_id.clone());
    names
}

impl Call {
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        match &self.what {
            What::Order(order) => {
                names.insert(order.id.clone());
            }
            What::Payment(id, registration) => {
                names.insert(id.clone());
                names.extend(registration.names().map(|(_, name)| name.to_owned()));
                names.extend(registration.terms.order_id.clone());
            }
            What::Booking(id, terms) => {
                names.extend([id.clone(), terms.resource_id.clone()]);
                names.extend(terms.session_ids.iter().cloned());
            }
            What::Resource(id, _) | What::Cancel(id) => {
                names.insert(id.clone());
            }
            What::External(id, name) | What::Session(id, name) => names.extend([id.clone(), name.clone()]),
        }
        names
    }

    /// What has to be registered before it.
    pub(super) fn needs(&self) -> Option<(Noun, &str)> {
        match &self.what {
            What::Order(_) | What::Resource(..) => None,
            What::Payment(_, registration) => registration.terms.order_id.as_deref().map(|id| (Noun::Order, id)),
            What::External(id, _) => Some((Noun::Payment, id)),
            What::Booking(_, terms) => Some((Noun::Resource, &terms.resource_id)),
            What::Session(id, _) | What::Cancel(id) => Some((Noun::Booking, id)),
        }
    }

    /// What it registers.
    pub(super) fn makes(&self) -> Option<(Noun, &str)> {
        match &self.what {
            What::Order(order) => Some((Noun::Order, &order.id)),
            What::Payment(id, _) => Some((Noun::Payment, id)),
            What::Resource(id, _) => Some((Noun::Resource, id)),
            What::Booking(id, _) => Some((Noun::Booking, id)),
            What::External(..) | What::Session(..) | What::Cancel(_) => None,
        }
    }

    /// Whether it may be made twice: a release is no part of what an application registers.
    pub(super) fn can_be_repeated(&self) -> bool {
        !matches!(&self.what, What::Booking(_, terms) if terms.released)
    }

    pub(super) async fn make(&self, store: &Store, now: Timestamp) -> Result<Result<(), Refusal>, Error> {
        let account = &self.account;
        let answer = match self.what.clone() {
            What::Order(order) => store.register_order(account, order, None, now).await,
            What::Payment(id, registration) => {
                store.register_payment(account, NewId::Given(id), registration, None, now).await
            }
            What::External(id, name) => store.expect_external(account, id, name, None, now).await,
            What::Resource(id, name) => store.register_resource(account, id, name, None, now).await,
            What::Booking(id, terms) => store.register_booking(account, id, terms, None, now).await,
            What::Session(id, session) => store.add_booking_session(account, id, session, None, now).await,
            What::Cancel(id) => store.cancel_booking(account, id, None, now).await,
        };
        Ok(answer?.map(|_| ()))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            What::Order(order) => write!(f, "order {}", order.id),
            What::Payment(id, _) => write!(f, "payment {id}"),
            What::External(id, name) => write!(f, "payment {id} pending as {name}"),
            What::Resource(id, _) => write!(f, "resource {id}"),
            What::Booking(id, _) => write!(f, "booking {id}"),
            What::Session(id, session) => write!(f, "booking {id} with session {session}"),
            What::Cancel(id) => write!(f, "booking {id} given up"),
        }
    }
}
