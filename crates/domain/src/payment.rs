//! What a merchant reads off a payment's facts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::charge::ChargeFacts;
use crate::dispute::{Dispute, DisputeFacts};
use crate::intent::{Details, Failure};
use crate::mismatch::Mismatch;
use crate::money::{Currency, Minor};
use crate::refund::{Refund, RefundFacts, RefundStatus};
use crate::registration::Terms;
use crate::status::text_enum;
use crate::{DisputeStatus, Facts, ObjectKind, PaymentStatus, Phase, Scope, Timestamp};

text_enum! {
    /// Why a payment stays pending although its gateway calls it paid.
    HoldReason {
        AmountMismatch = "amount_mismatch",
    }
}

text_enum! {
    /// What a person, or a fetch from the gateway, should look at.
    Flag {
        SucceededAndCanceled = "succeeded_and_canceled",
        SessionExpiredAndCompleted = "session_expired_and_completed",
        RefundFailedAndCanceled = "refund_failed_and_canceled",
        RefundAmountDisagrees = "refund_amount_disagrees",
        /// The gateway counts more as refunded than the refunds that are known.
        RefundMissing = "refund_missing",
        RefundedMoreThanCaptured = "refunded_more_than_captured",
        DisputeWonAndLost = "dispute_won_and_lost",
        CaptureCompletedAndDeclined = "capture_completed_and_declined",
        /// The bank took the money back after success.
        ChargeFailedAfterSuccess = "charge_failed_after_success",
        CurrencyDisagrees = "currency_disagrees",
        /// A charge, refund or dispute names more than one parent.
        ParentDisagrees = "parent_disagrees",
        /// An event's type and its object say different things.
        TypeDisagrees = "type_disagrees",
        /// A thin event named an object that was not fetched yet.
        NotFetched = "not_fetched",
        /// PayPal said in a webhook that it captured money, and was not asked yet.
        NotConfirmed = "not_confirmed_by_gateway",
        /// Another amount or currency than the application registered.
        AmountMismatch = "amount_mismatch",
        /// A sender said failed after, or just when, it said completed.
        FailedAfterCompleted = "failed_after_completed",
        /// Success was stated with more than one amount.
        AmountDisagrees = "amount_disagrees",
    }
}

/// A payment as the merchant sees it: a pure function of its [`Facts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    pub id: String,
    /// False while only others name it (a refund that came before its payment).
    #[serde(skip)]
    pub visible: bool,
    /// What the application registered it under, or a generic sender called it.
    pub transaction_id: Option<String>,
    pub external_id: Option<String>,
    /// It waits for a site outside of the application, which has not spoken yet.
    pub external_pending: bool,
    /// `None` unless it waits for `POST /api/payments/{id}/release`.
    pub hold_reason: Option<HoldReason>,
    pub booking_id: Option<String>,
    #[serde(rename = "payment_status")]
    pub status: PaymentStatus,
    pub dispute_status: DisputeStatus,
    /// What was asked for.
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
    /// Of what was captured and refunded: another than `currency` where something else
    /// was paid than was registered.
    pub captured_currency: Option<Currency>,
    pub amount_captured: Minor,
    pub amount_refunded: Minor,
    /// On its way back to the customer.
    pub amount_refunding: Minor,
    /// The gateway's earliest time of success.
    #[serde(serialize_with = "crate::time::rfc3339")]
    pub captured_at: Option<Timestamp>,
    /// The newest thing said that is not final.
    #[serde(skip)]
    pub newest: Option<(Timestamp, Phase)>,
    /// The payment intent, else the checkout session, else the charge.
    pub gateway_transaction_id: Option<String>,
    pub order_id: Option<String>,
    pub customer: Option<String>,
    pub description: Option<String>,
    pub method: Option<String>,
    pub failure: Option<Failure>,
    pub failed_attempts: usize,
    pub metadata: BTreeMap<String, String>,
    pub refunds: Vec<Refund>,
    pub disputes: Vec<Dispute>,
    pub flags: BTreeSet<Flag>,
}

impl Payment {
    /// Only the gateway can settle what is flagged so.
    pub fn needs_fetch(&self) -> bool {
        !self.flags.is_empty()
    }
}

/// What the refunds of a payment come to.
#[derive(Default)]
pub(crate) struct Refunded {
    pub(crate) refunded: Minor,
    pub(crate) in_flight: Minor,
    pub(crate) missing: bool,
}

impl Facts {
    /// `None` without any object.
    pub fn payment(&self, scope: &Scope) -> Option<Payment> {
        let id = self.payment_id(scope)?;
        let scope = &self.scope(scope);
        let Mismatch { differs, held, refused } = self.mismatch();
        let sound; // What is not accepted does not count beside what is.
        let counted = if held || refused.is_empty() {
            self
        } else {
            sound = self.without(&refused);
            &sound
        };
        let success = counted.captured_at();
        let terms = self.registration().map(|(_, registration)| &registration.terms);
        let said = |field: fn(&Terms) -> Option<String>| terms.and_then(field);
        let amount = self.paypal_captures_alone().or_else(|| self.described(|details| details.amount));
        let captured = counted.captured();
        let Refunded { refunded, in_flight, missing } = self.refunded();
        let newest = self.newest();
        let mut flags = self.flags();
        let theirs = self.described(|details| details.currency);
        let asked = terms.map(|terms| terms.currency);
        let asked_for = amount.or(terms.map(|terms| terms.amount)).unwrap_or_default();
        let paid_in = if captured == Minor::ZERO { asked_for } else { captured };
        if missing {
            flags.insert(Flag::RefundMissing);
        }
        if success.is_some() && self.canceled() {
            flags.insert(Flag::SucceededAndCanceled); // One object says this, another that.
        }
        if captured > Minor::ZERO && refunded > captured {
            flags.insert(Flag::RefundedMoreThanCaptured);
        }
        if differs {
            flags.insert(Flag::AmountMismatch);
        }
        // The first that holds; disputes are told apart from it.
        let status = if held {
            PaymentStatus::Pending
        } else if refunded > Minor::ZERO && refunded >= paid_in {
            PaymentStatus::Refunded
        } else if refunded > Minor::ZERO {
            PaymentStatus::PartiallyRefunded
        } else if success.is_some() {
            PaymentStatus::Paid
        } else if self.canceled() {
            PaymentStatus::Canceled
        } else {
            newest.map_or(PaymentStatus::Pending, |(_, phase)| phase.into())
        };
        Some(Payment {
            id,
            visible: terms.is_some() || self.is_known() && self.has_payment() || self.is_booked(),
            transaction_id: self.transaction_id(),
            external_id: self.external_id(),
            external_pending: status == PaymentStatus::Pending
                && self.registrations.values().any(|registration| registration.external_pending),
            hold_reason: held.then_some(HoldReason::AmountMismatch),
            booking_id: self.bookings.keys().next().cloned(),
            status,
            dispute_status: self.disputes.values().map(|d| d.status()).max().unwrap_or(DisputeStatus::None),
            amount: terms.map(|terms| terms.amount).or(amount),
            currency: asked.or(theirs),
            captured_currency: theirs.or(asked).filter(|_| captured > Minor::ZERO),
            amount_captured: captured,
            amount_refunded: refunded,
            amount_refunding: in_flight,
            captured_at: success,
            newest: newest.filter(|_| !held), // So that its order does not follow it either.
            gateway_transaction_id: self.gateway_transaction_id(),
            order_id: said(|terms| terms.order_id.clone())
                .or_else(|| self.described(|details| details.order_id.clone())),
            customer: self.described(|details| details.customer.clone()),
            description: self.described(|details| details.description.clone()),
            method: self.described(|details| details.method.clone()).or_else(|| said(|terms| terms.method.clone())),
            failure: self.failure().cloned(),
            failed_attempts: self.failed_attempts(),
            metadata: self.metadata(),
            refunds: self.refund_list(scope),
            disputes: self.dispute_list(scope),
            flags,
        })
    }

    /// The payment intent's word before the session's before the charge's.
    pub(crate) fn details(&self) -> impl Iterator<Item = &Details> {
        let intents = self.intents.values().filter_map(|intent| intent.details.get());
        let sessions = self.sessions.values().filter_map(|session| session.details.get());
        let charges = self.charges.values().filter_map(|charge| charge.details.get());
        intents.chain(sessions).chain(charges).chain(self.paypal_details()).chain(self.external_details())
    }

    fn described<T>(&self, field: impl Fn(&Details) -> Option<T>) -> Option<T> {
        self.details().find_map(field)
    }

    /// The registered name, else what a sender of the merchant's own called it.
    fn transaction_id(&self) -> Option<String> {
        let registered = self.registrations.values().find_map(|registration| registration.transaction_ids.first());
        let said = || self.externals.values().find_map(|external| external.transaction_ids.first());
        registered.or_else(said).cloned()
    }

    fn external_id(&self) -> Option<String> {
        let registered = self.registrations.values().find_map(|registration| registration.external_ids.first());
        let said = || self.externals.values().find_map(|external| external.payment_ids.first());
        registered.or_else(said).cloned()
    }

    /// The object that names the payment best, else the one that was registered.
    fn gateway_transaction_id(&self) -> Option<String> {
        let named = self.primary().filter(|(kind, _)| *kind != ObjectKind::External).map(|(_, id)| id);
        let registered = || self.registrations.values().find_map(|registration| registration.gateway_ids.first());
        named.or_else(|| registered().map(String::as_str)).map(str::to_owned)
    }

    /// The merchant's own words before the payer's.
    fn metadata(&self) -> BTreeMap<String, String> {
        let registered = self.registration().map(|(_, registration)| registration.terms.metadata.clone());
        let mut merged = registered.unwrap_or_default();
        for details in self.details() {
            for (key, value) in &details.metadata {
                merged.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        merged
    }

    fn captured_at(&self) -> Option<Timestamp> {
        let intents = self.intents.values().filter_map(|intent| intent.succeeded_at.get());
        let sessions = self.sessions.values().filter_map(|session| session.paid_at.get());
        let charges = self.charges.values().filter(|charge| !charge.failed()).filter_map(|c| c.captured_at.get());
        intents
            .chain(sessions)
            .chain(charges)
            .chain(self.paypal_captured_at())
            .chain(self.external_completed_at())
            .min()
    }

    /// Intent, session and charge speak of the same money, so the largest of the
    /// three is it. Of several charges of an intent at most one succeeds.
    fn captured(&self) -> Minor {
        let intents: Minor = self
            .intents
            .values()
            .filter(|intent| intent.succeeded_at.is_some())
            .map(|intent| {
                let asked = || intent.details.get().and_then(|details| details.amount);
                intent.amount_received.get().or_else(asked).unwrap_or_default()
            })
            .sum();
        let sessions: Minor = self
            .sessions
            .values()
            .filter(|session| session.paid_at.is_some())
            .filter_map(|session| session.details.get().and_then(|details| details.amount))
            .sum();
        let charges: Minor = self.charges.values().map(ChargeFacts::captured).sum();
        // A session's total is what was asked for; a partial capture is less.
        [intents, charges, self.paypal_captured(), self.external_captured()]
            .into_iter()
            .max()
            .filter(|most| *most > Minor::ZERO)
            .unwrap_or(sessions)
    }

    /// Every object that stands for the payment is canceled, and there is one.
    fn canceled(&self) -> bool {
        if !self.intents.is_empty() {
            self.intents.values().all(|intent| intent.canceled_at.is_some())
        } else if !self.sessions.is_empty() {
            self.sessions.values().all(|session| session.expired)
        } else if !self.charges.is_empty() {
            self.charges.values().all(|charge| charge.voided)
        } else {
            self.paypal_canceled()
        }
    }

    fn newest(&self) -> Option<(Timestamp, Phase)> {
        let intents = self.intents.values().filter_map(|intent| intent.newest.get());
        let sessions = self.sessions.values().filter_map(|session| session.newest.get());
        let charges = self.charges.values().filter_map(ChargeFacts::newest);
        intents.chain(sessions).chain(charges).chain(self.paypal_newest()).chain(self.external_newest()).max()
    }

    fn failure(&self) -> Option<&Failure> {
        let of_intents = self.intents.values().find_map(|intent| intent.failure.get());
        let of_charges = || self.charges.values().find_map(|charge| charge.failure.get());
        of_intents.or_else(of_charges).or_else(|| self.paypal_failure()).or_else(|| self.external_failure())
    }

    fn failed_attempts(&self) -> usize {
        let of_intents = self.intents.values().flat_map(|intent| &intent.failed_attempts);
        let of_charges = self.charges.iter().filter(|(_, charge)| charge.failed()).map(|(id, _)| id);
        of_intents
            .chain(of_charges)
            .chain(self.paypal_failed_attempts())
            .chain(self.external_failed_attempts())
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// A refund's charge: the one it names, else the payment's only one, else the
    /// only one that collected money (attempts that failed are charges too).
    fn charge_of_refund<'a>(&'a self, refund: &'a RefundFacts) -> Option<&'a str> {
        let only = || (self.charges.len() == 1).then(|| self.charges.keys().next()).flatten();
        let only_captured = || {
            let mut captured = self.charges.iter().filter(|(_, charge)| charge.captured_at.is_some());
            captured.next().filter(|_| captured.next().is_none()).map(|(id, _)| id)
        };
        refund.charges.first().or_else(only).or_else(only_captured).map(String::as_str)
    }

    fn refunded(&self) -> Refunded {
        let mut total = Refunded::default();
        let mut by_charge: BTreeMap<Option<&str>, Vec<&RefundFacts>> = BTreeMap::new();
        for id in self.charges.keys() {
            by_charge.entry(Some(id)).or_default();
        }
        for refund in self.refunds.values().filter(|refund| self.capture_of_refund(refund).is_none()) {
            by_charge.entry(self.charge_of_refund(refund)).or_default().push(refund);
        }
        for (charge_id, refunds) in by_charge {
            let sum = |include: &dyn Fn(RefundStatus) -> bool| -> Minor {
                refunds.iter().filter(|refund| include(refund.status())).map(|refund| refund.amount()).sum()
            };
            let known = sum(&|_| true);
            let succeeded = sum(&|status| status == RefundStatus::Succeeded);
            let charge = charge_id.and_then(|id| self.charges.get(id));
            let witness = charge.and_then(|charge| charge.amount_refunded.get()).unwrap_or_default();
            let released = charge.map(ChargeFacts::released).unwrap_or_default();
            // What a partial capture released can be listed as a refund too: it is
            // when one of just that amount is known, and the refunds that are known
            // account for all that was counted, the release included.
            let is_release =
                |refund: &&RefundFacts| refund.status() == RefundStatus::Succeeded && refund.amount() == released;
            let listed = witness >= released && known >= witness && refunds.iter().copied().any(|r| is_release(&r));
            let listed_release = if listed { released } else { Minor::ZERO };
            if witness.less(released) > known {
                total.refunded = total.refunded.plus(witness.less(released));
                total.missing = true;
            } else {
                total.refunded = total.refunded.plus(succeeded.less(listed_release));
            }
            total.in_flight = total.in_flight.plus(sum(&|status| status <= RefundStatus::RequiresAction));
        }
        self.add_refunds_of_captures(&mut total);
        total
    }

    fn flags(&self) -> BTreeSet<Flag> {
        let mut flags = BTreeSet::new();
        let mut raise = |raised: bool, flag| {
            if raised {
                flags.insert(flag);
            }
        };
        for intent in self.intents.values() {
            raise(intent.succeeded_at.is_some() && intent.canceled_at.is_some(), Flag::SucceededAndCanceled);
            raise(intent.type_disagrees, Flag::TypeDisagrees);
        }
        for session in self.sessions.values() {
            raise(session.expired && session.completed, Flag::SessionExpiredAndCompleted);
            raise(session.intents.len() > 1, Flag::ParentDisagrees);
            raise(session.type_disagrees, Flag::TypeDisagrees);
        }
        for charge in self.charges.values() {
            raise(charge.failed_late(), Flag::ChargeFailedAfterSuccess);
            raise(charge.intents.len() > 1, Flag::ParentDisagrees);
            raise(charge.type_disagrees, Flag::TypeDisagrees);
        }
        for refund in self.refunds.values() {
            raise(refund.contradicts_itself(), Flag::RefundFailedAndCanceled);
            raise(refund.amounts.len() > 1, Flag::RefundAmountDisagrees);
            raise(refund.charges.len() > 1 || refund.intents.len() > 1, Flag::ParentDisagrees);
            raise(refund.type_disagrees, Flag::TypeDisagrees);
        }
        for dispute in self.disputes.values() {
            raise(dispute.contradicts_itself(), Flag::DisputeWonAndLost);
            raise(dispute.charges.len() > 1 || dispute.intents.len() > 1, Flag::ParentDisagrees);
            raise(dispute.type_disagrees, Flag::TypeDisagrees);
        }
        self.paypal_flags(&mut raise);
        self.external_flags(&mut raise);
        // A session may show the payer's own currency, and a dispute the bank's.
        let intents = self.intents.values().filter_map(|intent| intent.details.get());
        let charges = self.charges.values().filter_map(|charge| charge.details.get()).chain(self.paypal_details());
        let refunds = self.refunds.values().flat_map(|refund| refund.currencies.iter().copied());
        let currencies: BTreeSet<_> =
            intents.chain(charges).filter_map(|details| details.currency).chain(refunds).collect();
        raise(currencies.len() > 1, Flag::CurrencyDisagrees);
        raise(!self.thin.is_empty(), Flag::NotFetched);
        flags
    }

    fn refund_list(&self, scope: &Scope) -> Vec<Refund> {
        let refund = |(id, facts): (&String, &RefundFacts)| Refund {
            id: scope.derived_id("rfd", id),
            gateway_refund_id: id.clone(),
            charge_id: self.charge_of_refund(facts).or_else(|| self.capture_of_refund(facts)).map(str::to_owned),
            kind: facts.kind(),
            status: facts.status(),
            amount: facts.amount(),
            currency: facts.currencies.first().copied(),
            reason: facts.reason.get().cloned(),
            failure_reason: facts.failure_reason.get().cloned(),
            created_at: facts.created_at.get(),
        };
        self.refunds.iter().map(refund).collect()
    }

    fn dispute_list(&self, scope: &Scope) -> Vec<Dispute> {
        let dispute = |(id, facts): (&String, &DisputeFacts)| {
            let details = facts.details.get().cloned().unwrap_or_default();
            Dispute {
                id: scope.derived_id("dsp", id),
                gateway_dispute_id: id.clone(),
                charge_id: facts.charges.first().or_else(|| facts.captures.first()).cloned(),
                status: facts.status(),
                stage: facts.stage_word(),
                amount: details.amount,
                currency: details.currency,
                reason: details.reason,
                due_by: details.due_by,
                net: facts.net(),
                created_at: facts.created_at.get(),
            }
        };
        self.disputes.iter().map(dispute).collect()
    }
}
