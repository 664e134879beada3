//! Whether history tells each transition once: what a second application of an event,
//! or half of one, would show in even where the state comes out right.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use gateways::stripe::sample::{Life, LifeKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::quittance;

/// A stored transition.
#[derive(Clone, Debug, Deserialize)]
pub struct Transition {
    pub subject: String,
    pub subject_id: String,
    pub from: Option<String>,
    pub to: String,
    pub event_id: Option<String>,
}

#[derive(Deserialize)]
struct Order {
    payment_status: String,
    payments: Vec<Payment>,
    status_history: Vec<Transition>,
}

#[derive(Deserialize)]
struct Payment {
    id: String,
    #[serde(alias = "payment_status")]
    status: String,
}

#[derive(Deserialize)]
struct Shown {
    history: Vec<Transition>,
}

/// Looks at a payment that came to its end, and at its order.
///
/// # Errors
/// When a transition is told twice, is missing, or leads elsewhere.
pub fn of_life(address: SocketAddr, key: &str, life: &Life) -> anyhow::Result<()> {
    let order: Order = get(address, key, &format!("/api/orders/{}", life.order_id))?;
    let [payment] = &order.payments[..] else {
        anyhow::bail!("order {} has {} payments", life.order_id, order.payments.len())
    };
    let shown: Shown = get(address, key, &format!("/api/payments/{}", payment.id))?;
    let about = || format!("{:?}, payment {}, order {}", life.kind, payment.id, life.order_id);
    let by_subject = told_once(shown.history.iter().chain(&order.status_history)).with_context(about)?;
    for (subject, id, status) in
        [("payment", &payment.id, &payment.status), ("order", &life.order_id, &order.payment_status)]
    {
        let path = by_subject.get(&(subject, id.as_str())).map_or(&[][..], Vec::as_slice);
        ensure!(path.last() == Some(&status.as_str()), "{}: history ends at {path:?}, it is {status}", about());
        let paid = path.iter().filter(|to| **to == "paid").count();
        // A refund that fails makes a payment paid once more.
        let paid_max = 1 + usize::from(life.kind == LifeKind::RefundFails);
        let paid_min = usize::from(status == "paid");
        ensure!((paid_min..=paid_max).contains(&paid), "{}: {subject} became paid {paid} times: {path:?}", about());
    }
    Ok(())
}

/// The states that each subject went through, in order.
///
/// # Errors
/// When a transition starts where the one before did not end, leads nowhere, or when one event
/// made two of one subject (but for paid and refunded).
pub fn told_once<'a>(
    history: impl Iterator<Item = &'a Transition>,
) -> anyhow::Result<BTreeMap<(&'a str, &'a str), Vec<&'a str>>> {
    let mut paths: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut made = HashSet::new();
    for transition in history {
        let Transition { subject, subject_id, from, to, event_id } = transition;
        let path = paths.entry((subject, subject_id)).or_default();
        // No dispute is a state, and every payment starts in it.
        let start = (subject == "payment_dispute").then_some("none");
        ensure!(path.last().copied().or(start) == from.as_deref(), "{transition:?} does not follow {path:?}");
        ensure!(from.as_ref() != Some(to), "{transition:?} leads nowhere");
        // What is seen refunded at once was paid, and says so first.
        let through_paid = from.as_deref() == Some("paid") && ["refunded", "partially_refunded"].contains(&to.as_str());
        let is_first = made.insert((subject, subject_id, event_id));
        ensure!(is_first || through_paid, "{transition:?} is the event's second");
        path.push(to);
    }
    Ok(paths)
}

fn get<T: DeserializeOwned>(address: SocketAddr, key: &str, path: &str) -> anyhow::Result<T> {
    let (status, body) = quittance::get(address, path, Some(key))?;
    ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).with_context(|| format!("{path} is not as documented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(from: Option<&str>, to: &str, event_id: &str) -> Transition {
        Transition {
            subject: "payment".to_owned(),
            subject_id: "pay_1".to_owned(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            event_id: Some(event_id.to_owned()),
        }
    }

    #[test]
    fn a_payments_disputes_start_from_none() {
        let opened = |from| Transition { subject: "payment_dispute".to_owned(), ..transition(from, "open", "evt_1") };
        for (from, holds) in [(Some("none"), true), (None, false), (Some("won"), false)] {
            assert_eq!(told_once([opened(from)].iter()).is_ok(), holds, "{from:?}");
        }
    }

    #[test]
    fn a_history_that_stutters_is_found() {
        let first = || transition(None, "pending", "evt_1");
        let second = || transition(Some("pending"), "paid", "evt_2");
        let table = [
            (vec![first(), second()], true, "each once"),
            (vec![first(), first(), second()], false, "the first twice"),
            (vec![first(), second(), second()], false, "the second twice"),
            (vec![second()], false, "the first is missing"),
            (vec![first(), transition(Some("pending"), "pending", "evt_2")], false, "nothing changes"),
            (vec![first(), transition(Some("pending"), "paid", "evt_1")], false, "one event, two transitions"),
        ];
        for (history, holds, why) in table {
            assert_eq!(told_once(history.iter()).is_ok(), holds, "{why}");
        }
    }
}
