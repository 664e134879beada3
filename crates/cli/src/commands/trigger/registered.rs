//! What the configured database says is due for what an event names.

use domain::money::Minor;
use domain::{Currency, Money};
use store::{BookingFilter, Condition, PaymentFilter, Store};

use super::Args;
use crate::commands::{open_existing, usable};
use crate::config::{Config, Flags, process_environment};

/// How many of the newest payments and bookings are looked through for a name that is
/// not their id.
const LOOKED_THROUGH_MAX: u32 = 1_000;

/// The amount and currency of the payment, booking or order that is named. `None` where
/// it is not registered here, or the database is not there or cannot be read: what is
/// triggered may concern a server elsewhere.
pub async fn money(args: &Args, flags: &Flags) -> Option<Money> {
    let config = Config::load_for_database(flags, &process_environment).ok()?;
    if !matches!(usable(&config).await, Ok(Condition::Current)) {
        return None;
    }
    let store = open_existing(&config).await.ok()?;
    let found = look(&store, args).await.unwrap_or_default();
    store.close().await;
    found
}

async fn look(store: &Store, args: &Args) -> store::Result<Option<Money>> {
    if let Some(found) = of_payment(store, args).await? {
        return Ok(Some(found));
    }
    if let Some(found) = of_booking(store, args).await? {
        return Ok(Some(found));
    }
    let Some(id) = &args.order_id else { return Ok(None) };
    let order = store.show_order(None, id).await?;
    Ok(order.and_then(|order| stated(order.amount, order.currency.as_deref())))
}

async fn of_payment(store: &Store, args: &Args) -> store::Result<Option<Money>> {
    if args.payment.is_none() && args.transaction.is_none() {
        return Ok(None);
    }
    let mut found = match &args.payment {
        Some(id) => store.show_payment(None, id).await?,
        None => None,
    };
    if found.is_none() {
        let newest = store.list_payments(&PaymentFilter::default(), LOOKED_THROUGH_MAX).await?;
        found = newest.into_iter().find(|row| {
            let is = |asked: &Option<String>, name: &Option<String>| asked.is_some() && asked == name;
            let payment = &row.payment;
            is(&args.transaction, &payment.transaction_id)
                || is(&args.payment, &payment.external_id)
                || is(&args.payment, &payment.gateway_transaction_id)
        });
    }
    Ok(found.and_then(|row| {
        stated(row.payment.amount.map(Minor::units), row.payment.currency.as_ref().map(Currency::code))
    }))
}

async fn of_booking(store: &Store, args: &Args) -> store::Result<Option<Money>> {
    let mut found = match &args.booking_id {
        Some(id) => store.show_booking(None, id).await?,
        None => None,
    };
    if let (None, Some(session)) = (&found, &args.session) {
        let newest = store.list_bookings(&BookingFilter::default(), LOOKED_THROUGH_MAX).await?;
        found = newest.into_iter().find(|booking| booking.session_ids.contains(session));
    }
    Ok(found.and_then(|booking| stated(booking.amount, booking.currency.as_deref())))
}

fn stated(amount: Option<i64>, currency: Option<&str>) -> Option<Money> {
    Some(Money { amount: Minor::new(amount?)?, currency: Currency::parse(currency?)? })
}
