//! What became of an event, for the reply to whoever sent it.

use domain::{AccountId, Mode, PaymentStatus};
use rusqlite::{Connection, OptionalExtension, params};

use crate::apply::{read_facts, read_scope};
use crate::{BookingRow, Error, EventState, PaymentRow, Result, Store};

/// An event, and the state that it led to.
#[derive(Clone, Debug)]
pub struct EventOutcome {
    pub state: EventState,
    pub error: Option<String>,
    /// What the event alone says of its payment.
    pub said: Option<PaymentStatus>,
    /// `None` while its payment is not there for the merchant.
    pub payment: Option<PaymentRow>,
    pub booking: Option<BookingRow>,
}

/// Which event of an account.
#[derive(Clone, Debug)]
pub struct EventIdentity {
    pub gateway: &'static str,
    pub mode: Mode,
    /// Empty where there is none.
    pub connected_account: String,
    pub event_id: String,
}

struct Found {
    state: EventState,
    error: Option<String>,
    said: Option<PaymentStatus>,
    payment_id: Option<String>,
}

impl Store {
    /// `None` where no such event is stored.
    pub async fn outcome(&self, account: &AccountId, event: EventIdentity) -> Result<Option<EventOutcome>> {
        let scoped = account.clone();
        let find = move |connection: &mut Connection| find(connection, &scoped, &event);
        let Some(found) = self.hot_reader.run(find).await? else { return Ok(None) };
        let Found { state, error, said, payment_id } = found;
        let payment = match payment_id {
            Some(id) => self.show_payment(Some(account), &id).await?,
            None => None,
        };
        let booking = match payment.as_ref().and_then(|row| row.payment.booking_id.as_deref()) {
            Some(id) => self.show_booking(Some(account), id).await?,
            None => None,
        };
        Ok(Some(EventOutcome { state, error, said, payment, booking }))
    }
}

fn find(connection: &Connection, account: &AccountId, event: &EventIdentity) -> Result<Option<Found>> {
    let sql = "SELECT e.seq, e.state, e.error, f.facts, p.id
               FROM event e LEFT JOIN event_facts f ON f.seq = e.seq
               LEFT JOIN payment p ON p.number = f.payment AND p.visible
               WHERE e.event_id = ? AND e.account = ? AND e.gateway = ? AND e.mode = ? AND e.connected_account = ?";
    type Columns = (i64, String, Option<String>, Option<String>, Option<String>);
    let mode = event.mode.as_str();
    let identity = params![event.event_id, account.as_str(), event.gateway, mode, event.connected_account];
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    let row: Option<Columns> = connection.prepare_cached(sql)?.query_row(identity, read).optional()?;
    let Some((seq, state, error, facts, payment_id)) = row else { return Ok(None) };
    let state = EventState::parse(&state).ok_or_else(|| Error::corrupt("event", seq, "its state is unknown"))?;
    let scope = read_scope(account, event.gateway.to_owned(), mode, "event", seq)?;
    let facts = facts.map(|text| read_facts(&text, "event_facts", seq)).transpose()?;
    let said = facts.and_then(|facts| facts.payment(&scope)).map(|payment| payment.status);
    Ok(Some(Found { state, error, said, payment_id }))
}
