//! What became of an event, for the reply to whoever sent it.

use domain::{AccountId, Mode, PaymentStatus};

use crate::apply::{read_facts, read_scope};
use crate::connection::Tx;
use crate::sql::values;
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
        let find = move |tx: &Tx<'_>| find(tx, &scoped, &event);
        let found = self.reading.run(move |connection| connection.read(find)).await?;
        let Some(found) = found else { return Ok(None) };
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

fn find(tx: &Tx<'_>, account: &AccountId, event: &EventIdentity) -> Result<Option<Found>> {
    let sql = "SELECT e.seq, e.state, e.error, f.facts, p.id
               FROM event e LEFT JOIN event_facts f ON f.seq = e.seq AND f.account = e.account
               LEFT JOIN payment p ON p.number = f.payment AND p.account = e.account AND p.visible
               WHERE e.event_id = $1 AND e.account = $2 AND e.gateway = $3 AND e.mode = $4 AND e.connected_account = $5";
    let mode = event.mode.as_str();
    let identity = values![&event.event_id, account.as_str(), event.gateway, mode, &event.connected_account];
    tx.first(sql, &identity, |row| {
        let seq: i64 = row.get(0)?;
        let state =
            EventState::parse(row.str(1)?).ok_or_else(|| Error::corrupt("event", seq, "its state is unknown"))?;
        let scope = read_scope(account, event.gateway.to_owned(), mode, "event", seq)?;
        let facts = row.get::<Option<String>>(3)?.map(|text| read_facts(&text, "event_facts", seq)).transpose()?;
        let said = facts.and_then(|facts| facts.payment(&scope)).map(|payment| payment.status);
        Ok(Found { state, error: row.get(2)?, said, payment_id: row.get(4)? })
    })
}
