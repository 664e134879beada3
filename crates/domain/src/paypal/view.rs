//! What PayPal's objects come to in a payment.

use std::collections::BTreeMap;

use super::{AuthorizationFacts, CaptureFacts, CaptureStatus, OrderStatus, PaypalOrderFacts};
use crate::intent::{Details, Failure};
use crate::money::Minor;
use crate::payment::{Flag, Refunded};
use crate::refund::{RefundFacts, RefundStatus};
use crate::{Facts, Phase, Timestamp};

impl Facts {
    /// The order's word before the authorization's before the capture's: the first
    /// two say what was asked for, a capture may be part of it.
    pub(crate) fn paypal_details(&self) -> impl Iterator<Item = &Details> {
        let orders = self.paypal_orders.values().filter_map(|order| order.details.get());
        let authorizations = self.authorizations.values().filter_map(|authorization| authorization.details.get());
        let captures = self.captures.values().filter_map(|capture| capture.details.get());
        let named_orders = self.paypal_orders.values().filter_map(|order| order.named.get());
        let named_holds = self.authorizations.values().filter_map(|held| held.named.get());
        let named_captures = self.captures.values().filter_map(|capture| capture.named.get());
        orders.chain(authorizations).chain(captures).chain(named_orders).chain(named_holds).chain(named_captures)
    }

    /// What several captures of an order that is not shown add up to. `None` where
    /// something else says what was asked for.
    pub(crate) fn paypal_captures_alone(&self) -> Option<Minor> {
        let amount = |details: Option<&Details>| details.and_then(|details| details.amount);
        let asked = self.paypal_orders.values().find_map(|order| amount(order.details.get()));
        let asked = asked.or_else(|| self.authorizations.values().find_map(|held| amount(held.details.get())));
        let captured: Minor = self.captures.values().map(CaptureFacts::captured).sum();
        (asked.is_none() && captured > Minor::ZERO).then_some(captured)
    }

    pub(crate) fn paypal_captured_at(&self) -> impl Iterator<Item = Timestamp> {
        self.captures.values().filter_map(|capture| capture.completed_at.get())
    }

    pub(crate) fn paypal_captured(&self) -> Minor {
        self.captures.values().map(CaptureFacts::captured).sum()
    }

    /// Every order, or every authorization, is voided, and no capture is on its way
    /// or there.
    pub(crate) fn paypal_canceled(&self) -> bool {
        let orders = !self.paypal_orders.is_empty() && self.paypal_orders.values().all(|order| order.voided);
        let held = !self.authorizations.is_empty() && self.authorizations.values().all(|held| held.voided);
        (orders || held) && self.captures.values().all(CaptureFacts::failed)
    }

    pub(crate) fn paypal_newest(&self) -> impl Iterator<Item = (Timestamp, Phase)> {
        let captures = self.captures.values().filter_map(|capture| Some((capture.said_at.get()?, capture.phase()?)));
        let held = self.authorizations.values().filter_map(|held| Some((held.said_at.get()?, held.phase()?)));
        // Of a completed order only what was made of it tells more.
        let shown = !(self.captures.is_empty() && self.authorizations.is_empty());
        let told_by_others = move |order: &&PaypalOrderFacts| shown && order.rank.get() == Some(OrderStatus::Completed);
        let orders = self.paypal_orders.values().filter(move |order| !told_by_others(order));
        let orders = orders.filter_map(|order| Some((order.said_at.get()?, order.phase()?)));
        captures.chain(held).chain(orders)
    }

    pub(crate) fn paypal_failure(&self) -> Option<&Failure> {
        let of_captures = self.captures.values().find_map(|capture| capture.failure.get());
        of_captures.or_else(|| self.authorizations.values().find_map(|held| held.failure.get()))
    }

    /// Captures and authorizations that were declined.
    pub(crate) fn paypal_failed_attempts(&self) -> impl Iterator<Item = &String> {
        let captures = self.captures.iter().filter(|(_, capture)| capture.failed()).map(|(id, _)| id);
        captures.chain(self.authorizations.iter().filter(|(_, held)| held.denied).map(|(id, _)| id))
    }

    /// A refund's capture: the one it names, else the payment's only one.
    pub(crate) fn capture_of_refund<'a>(&'a self, refund: &'a RefundFacts) -> Option<&'a str> {
        let only = || (self.captures.len() == 1).then(|| self.captures.keys().next()).flatten();
        refund.captures.first().or_else(only).map(String::as_str)
    }

    /// Adds what the refunds of captures come to. Their sum is the answer, and what
    /// PayPal counts is only held against it; but a capture that is refunded in full
    /// is, whether or not its refunds are known.
    pub(crate) fn add_refunds_of_captures(&self, total: &mut Refunded) {
        let mut by_capture: BTreeMap<&str, Vec<&RefundFacts>> = BTreeMap::new();
        for id in self.captures.keys() {
            by_capture.entry(id).or_default();
        }
        for refund in self.refunds.values() {
            if let Some(capture) = self.capture_of_refund(refund) {
                by_capture.entry(capture).or_default().push(refund);
            }
        }
        for (id, refunds) in by_capture {
            let sum = |include: &dyn Fn(RefundStatus) -> bool| -> Minor {
                refunds.iter().filter(|refund| include(refund.status())).map(|refund| refund.amount()).sum()
            };
            let known = sum(&|_| true);
            let counted = refunds.iter().filter_map(|refund| refund.total_refunded.get()).max().unwrap_or_default();
            let capture = self.captures.get(id);
            let rank = capture.and_then(|capture| capture.rank.get());
            let whole = capture.map(CaptureFacts::captured).unwrap_or_default();
            let whole_is_back = rank == Some(CaptureStatus::Refunded) && whole > known;
            let some_is_back = rank == Some(CaptureStatus::PartiallyRefunded) && known == Minor::ZERO;
            let succeeded = sum(&|status| status == RefundStatus::Succeeded);
            total.missing |= counted > known || whole_is_back || some_is_back;
            total.refunded = total.refunded.plus(if whole_is_back { whole } else { succeeded });
            total.in_flight = total.in_flight.plus(sum(&|status| status <= RefundStatus::RequiresAction));
        }
    }

    pub(crate) fn paypal_flags(&self, raise: &mut impl FnMut(bool, Flag)) {
        for order in self.paypal_orders.values() {
            let captured = self.captures.values().any(|capture| capture.completed_at.is_some());
            raise(order.voided && captured, Flag::SucceededAndCanceled);
            raise(order.type_disagrees, Flag::TypeDisagrees);
        }
        for capture in self.captures.values() {
            raise(capture.contradicts_itself(), Flag::CaptureCompletedAndDeclined);
            raise(capture.completed_at.is_some() && !capture.confirmed, Flag::NotConfirmed);
            raise(capture.orders.len() > 1 || capture.authorizations.len() > 1, Flag::ParentDisagrees);
            raise(capture.type_disagrees, Flag::TypeDisagrees);
        }
        for held in self.authorizations.values() {
            raise(AuthorizationFacts::contradicts_itself(held), Flag::SucceededAndCanceled);
            raise(held.orders.len() > 1, Flag::ParentDisagrees);
            raise(held.type_disagrees, Flag::TypeDisagrees);
        }
        for refund in self.refunds.values() {
            raise(refund.captures.len() > 1, Flag::ParentDisagrees);
        }
    }
}
