//! What the server says it holds, against what was sent to it and acknowledged.

use std::collections::{HashMap, HashSet};

use anyhow::ensure;
use gateways::stripe::sample::Life;

use crate::quittance::{Event, Payment};
use crate::requests::Requests;

/// How many offenders an error names.
const NAMED_MAX: usize = 5;

/// Whether an event is applied. A card reader's event says nothing of a payment that
/// is not known yet, and is `ignored` then.
pub fn is_settled(event: &Event) -> bool {
    event.state == "applied" || (event.state == "ignored" && event.event_type.starts_with("terminal.reader."))
}

/// Everything in the ledger (by index of its request) is stored, and nothing twice.
///
/// # Errors
/// When it is not so.
pub fn stored(requests: &Requests, ledger: &[bool], events: &[Event]) -> anyhow::Result<()> {
    let mut ids = HashSet::with_capacity(events.len());
    let twice = events.iter().filter(|event| !ids.insert(event.event_id.as_str())).map(|event| &event.event_id);
    none("events are stored more than once", twice)?;
    let acknowledged = (0_u32..).zip(ledger).filter(|(_, acknowledged)| **acknowledged);
    none(
        "acknowledged events are LOST",
        acknowledged.map(|(index, _)| requests.event_id(index)).filter(|id| !ids.contains(id)),
    )
}

/// Every request's event is stored once and applied, and nothing else is stored.
///
/// # Errors
/// When it is not so.
pub fn applied(requests: &Requests, events: &[Event]) -> anyhow::Result<()> {
    stored(requests, &vec![true; requests.len()], events)?;
    ensure!(events.len() == requests.len(), "{} events are stored, {} were sent", events.len(), requests.len());
    none("events are not applied", events.iter().filter(|event| !is_settled(event)))
}

/// Every payment whose whole life was sent is there once, as its life ended: an event
/// that was applied twice or not at all shows in its amounts.
///
/// # Errors
/// When it is not so.
pub fn payments(requests: &Requests, payments: &[Payment]) -> anyhow::Result<()> {
    none("payments are not what their events say", wrong_payments(requests.lives(), payments).into_iter())
}

/// The payments of these lives that are missing, there twice, or not as their life ended; says how not.
pub fn wrong_payments<'a>(lives: impl IntoIterator<Item = &'a Life>, payments: &[Payment]) -> Vec<String> {
    let mut by_intent: HashMap<&str, Vec<&Payment>> = HashMap::new();
    for payment in payments {
        by_intent.entry(payment.gateway_transaction_id.as_deref().unwrap_or_default()).or_default().push(payment);
    }
    let wrong = lives.into_iter().filter_map(|life| {
        let expected = Payment {
            gateway_transaction_id: Some(life.payment_intent.clone()),
            status: life.expected.to_string(),
            dispute_status: life.expected_dispute.to_string(),
            amount_captured: life.amount_captured.units(),
            amount_refunded: life.amount_refunded.units(),
        };
        let found = by_intent.get(life.payment_intent.as_str()).map_or(&[][..], Vec::as_slice);
        (found != [&expected]).then(|| format!("{:?}: expected {expected:?}, found {found:?}", life.kind))
    });
    wrong.collect()
}

fn none<T: std::fmt::Debug>(what: &str, offenders: impl Iterator<Item = T>) -> anyhow::Result<()> {
    let offenders: Vec<T> = offenders.collect();
    ensure!(
        offenders.is_empty(),
        "{} {what}, among them {:?}",
        offenders.len(),
        &offenders[..offenders.len().min(NAMED_MAX)]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_find_what_a_liar_would_hide() {
        let requests = Requests::render(3, 1, 1_780_000_000);
        let ledger = [true, false, true];
        // Request and state of each row that is listed, whether each check passes, and why it should not.
        type Row = (&'static [(u32, &'static str)], bool, bool, &'static str);
        let table: [Row; 7] = [
            (&[(0, "applied"), (1, "applied"), (2, "applied")], true, true, ""),
            (&[(0, "applied"), (1, "applied"), (2, "pending")], true, false, "one is still pending"),
            (&[(0, "applied"), (1, "applied"), (2, "ignored")], true, false, "one is ignored"),
            (&[(0, "applied"), (1, "dead"), (2, "applied")], true, false, "one is dead"),
            (&[(0, "applied"), (2, "applied")], true, false, "one that was not acknowledged is gone"),
            (&[(0, "applied"), (1, "applied")], false, false, "one that was acknowledged is gone"),
            (&[(0, "applied"), (0, "applied"), (2, "applied")], false, false, "one is there twice"),
        ];
        for (rows, is_stored, is_applied, why) in table {
            let event = |(index, state): &(u32, &str)| Event {
                event_id: requests.event_id(*index).to_owned(),
                event_type: "charge.succeeded".to_owned(),
                state: (*state).to_owned(),
            };
            let events: Vec<Event> = rows.iter().map(event).collect();
            assert_eq!(stored(&requests, &ledger, &events).is_ok(), is_stored, "stored: {why}");
            assert_eq!(applied(&requests, &events).is_ok(), is_applied, "applied: {why}");
        }
    }

    #[test]
    fn a_payment_that_is_missing_double_or_off_by_a_cent_is_found() {
        let requests = Requests::render(2_000, 1, 1_780_000_000);
        let right: Vec<Payment> = requests
            .lives()
            .iter()
            .map(|life| Payment {
                gateway_transaction_id: Some(life.payment_intent.clone()),
                status: life.expected.to_string(),
                dispute_status: life.expected_dispute.to_string(),
                amount_captured: life.amount_captured.units(),
                amount_refunded: life.amount_refunded.units(),
            })
            .collect();
        assert!(right.len() > 100, "most lives are whole");
        payments(&requests, &right).unwrap();

        let mut double = right.clone();
        double.push(right[0].clone());
        let mut refunded_twice = right.clone();
        refunded_twice[7].amount_refunded += 1;
        let mut failed = right.clone();
        failed[3].status = "pending".to_owned();
        for (wrong, why) in [
            (double, "one is there twice"),
            (right[1..].to_vec(), "one is missing"),
            (refunded_twice, "one has an amount too much"),
            (failed, "one has another status"),
        ] {
            assert!(payments(&requests, &wrong).is_err(), "{why}");
        }
    }
}
