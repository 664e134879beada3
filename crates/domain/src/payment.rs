//! What a merchant reads off a payment's facts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::charge::ChargeFacts;
use crate::dispute::{Dispute, DisputeFacts};
use crate::intent::{Details, Failure};
use crate::money::{Currency, Minor};
use crate::refund::{Refund, RefundFacts, RefundStatus};
use crate::status::text_enum;
use crate::{DisputeStatus, Facts, PaymentStatus, Phase, Scope, Timestamp};

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
        /// The bank took the money back after success.
        ChargeFailedAfterSuccess = "charge_failed_after_success",
        CurrencyDisagrees = "currency_disagrees",
        /// A charge, refund or dispute names more than one parent.
        ParentDisagrees = "parent_disagrees",
        /// An event's type and its object say different things.
        TypeDisagrees = "type_disagrees",
        /// A thin event named an object that was not fetched yet.
        NotFetched = "not_fetched",
    }
}

/// A payment as the merchant sees it: a pure function of its [`Facts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    pub id: String,
    /// False while only others name it (a refund that came before its payment).
    #[serde(skip)]
    pub visible: bool,
    #[serde(rename = "payment_status")]
    pub status: PaymentStatus,
    pub dispute_status: DisputeStatus,
    /// What was asked for.
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
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
struct Refunded {
    refunded: Minor,
    in_flight: Minor,
    missing: bool,
}

impl Facts {
    /// `None` without any object.
    pub fn payment(&self, scope: &Scope) -> Option<Payment> {
        let id = self.payment_id(scope)?;
        let success = self.captured_at();
        let amount = self.described(|details| details.amount);
        let captured = self.captured();
        let Refunded { refunded, in_flight, missing } = self.refunded();
        let newest = self.newest();
        let mut flags = self.flags();
        let paid_in = if captured == Minor::ZERO { amount.unwrap_or_default() } else { captured };
        if missing {
            flags.insert(Flag::RefundMissing);
        }
        if success.is_some() && self.canceled() {
            flags.insert(Flag::SucceededAndCanceled); // One object says this, another that.
        }
        if captured > Minor::ZERO && refunded > captured {
            flags.insert(Flag::RefundedMoreThanCaptured);
        }
        // The first that holds; disputes are told apart from it.
        let status = if refunded > Minor::ZERO && refunded >= paid_in {
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
            visible: self.creates && self.has_payment(),
            status,
            dispute_status: self.disputes.values().map(|d| d.status()).max().unwrap_or(DisputeStatus::None),
            amount,
            currency: self.described(|details| details.currency),
            amount_captured: captured,
            amount_refunded: refunded,
            amount_refunding: in_flight,
            captured_at: success,
            newest,
            gateway_transaction_id: self.primary().map(|(_, id)| id.to_owned()),
            order_id: self.described(|details| details.order_id.clone()),
            customer: self.described(|details| details.customer.clone()),
            description: self.described(|details| details.description.clone()),
            method: self.described(|details| details.method.clone()),
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
        intents.chain(sessions).chain(charges)
    }

    fn described<T>(&self, field: impl Fn(&Details) -> Option<T>) -> Option<T> {
        self.details().find_map(field)
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let mut merged = BTreeMap::new();
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
        intents.chain(sessions).chain(charges).min()
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
        [intents, charges].into_iter().max().filter(|most| *most > Minor::ZERO).unwrap_or(sessions)
    }

    /// Every object that stands for the payment is canceled, and there is one.
    fn canceled(&self) -> bool {
        if !self.intents.is_empty() {
            self.intents.values().all(|intent| intent.canceled_at.is_some())
        } else if !self.sessions.is_empty() {
            self.sessions.values().all(|session| session.expired)
        } else {
            !self.charges.is_empty() && self.charges.values().all(|charge| charge.voided)
        }
    }

    fn newest(&self) -> Option<(Timestamp, Phase)> {
        let intents = self.intents.values().filter_map(|intent| intent.newest.get());
        let sessions = self.sessions.values().filter_map(|session| session.newest.get());
        let charges = self.charges.values().filter_map(ChargeFacts::newest);
        intents.chain(sessions).chain(charges).max()
    }

    fn failure(&self) -> Option<&Failure> {
        let of_intents = self.intents.values().find_map(|intent| intent.failure.get());
        of_intents.or_else(|| self.charges.values().find_map(|charge| charge.failure.get()))
    }

    fn failed_attempts(&self) -> usize {
        let of_intents = self.intents.values().flat_map(|intent| &intent.failed_attempts);
        let of_charges = self.charges.iter().filter(|(_, charge)| charge.failed()).map(|(id, _)| id);
        of_intents.chain(of_charges).collect::<BTreeSet<_>>().len()
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
        for refund in self.refunds.values() {
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
        // A session may show the payer's own currency, and a dispute the bank's.
        let intents = self.intents.values().filter_map(|intent| intent.details.get());
        let charges = self.charges.values().filter_map(|charge| charge.details.get());
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
            charge_id: self.charge_of_refund(facts).map(str::to_owned),
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
                charge_id: facts.charges.first().cloned(),
                status: facts.status(),
                stage: facts.stage(),
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
