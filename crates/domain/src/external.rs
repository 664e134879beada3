//! Payments of senders that have two words for them, `completed` and `failed`: a
//! merchant's own payment service, or a gateway behind it.
//!
//! Their clocks order nothing but failures and successes of one payment, and only
//! to tell a retry from a contradiction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::intent::{Details, Failure};
use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::{Decimal, Minor, Money};
use crate::{Currency, Facts, Flag, Phase, Timestamp};

/// An amount as a sender states it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatedAmount {
    Money(Money),
    /// Without a currency it is not known what its minor unit is.
    Decimal(Decimal),
}

impl StatedAmount {
    /// The minor units if it is an amount of that currency, or may be one. `None` if
    /// it states another currency or has more decimals.
    pub fn in_currency(&self, currency: Currency) -> Option<Minor> {
        match self {
            Self::Money(money) => (money.currency == currency).then_some(money.amount),
            Self::Decimal(decimal) => decimal.in_currency(currency).map(|money| money.amount),
        }
    }

    pub const fn money(&self) -> Option<Money> {
        match self {
            Self::Money(money) => Some(*money),
            Self::Decimal(_) => None,
        }
    }
}

/// What was said under one of the two words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    #[serde(skip_serializing_if = "is_bottom")]
    pub first: Earliest,
    #[serde(skip_serializing_if = "is_bottom")]
    pub last: Largest<Timestamp>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub amounts: BTreeSet<StatedAmount>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
}

join_by_field!(Seen { first, last, amounts, details });

impl Seen {
    /// Said once, at that time.
    pub const fn at(at: Timestamp) -> Self {
        Self { first: Earliest::of(at), last: Largest::of(at), amounts: BTreeSet::new(), details: Latest::unsaid() }
    }

    /// The largest amount in a currency that is known.
    fn largest_amount(&self) -> Option<Minor> {
        self.amounts.iter().filter_map(StatedAmount::money).map(|money| money.amount).max()
    }
}

/// Facts about one payment of such a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalFacts {
    /// Absorbing: whatever is said to have failed, money that came in came in.
    #[serde(skip_serializing_if = "is_bottom")]
    pub completed: Seen,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failed: Seen,
    #[serde(skip_serializing_if = "is_bottom")]
    pub transaction_ids: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub payment_ids: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub order_ids: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure: Latest<Failure>,
    /// A statement came without an instant that can be relied on; the time at which
    /// it was received stands in.
    #[serde(skip_serializing_if = "is_bottom")]
    pub time_unreliable: bool,
    /// The keys of its transactions and payments: they tie statements together that
    /// name it differently. An order ties nothing, it may have several payments.
    #[serde(skip_serializing_if = "is_bottom")]
    pub names: BTreeSet<String>,
}

join_by_field!(ExternalFacts {
    completed,
    failed,
    transaction_ids,
    payment_ids,
    order_ids,
    failure,
    time_unreliable,
    names,
});

/// The ids that one statement has of its payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExternalIds {
    pub transaction: Option<String>,
    pub payment: Option<String>,
    pub order: Option<String>,
}

impl ExternalIds {
    /// Nothing said yet of the payment with these ids, and its key in
    /// [`crate::Facts::externals`]: the transaction's, else the payment's, else the
    /// order's. Keys tell the three apart, because the same text can be a transaction
    /// here and a payment there. `None` without any id.
    pub fn facts(self) -> Option<(String, ExternalFacts)> {
        let transaction = self.transaction.as_ref().map(|id| format!("transaction:{id}"));
        let payment = self.payment.as_ref().map(|id| format!("payment:{id}"));
        let order = || self.order.as_ref().map(|id| format!("order:{id}"));
        let names: BTreeSet<String> = transaction.iter().chain(&payment).cloned().collect();
        let key = transaction.or(payment).or_else(order)?;
        let facts = ExternalFacts {
            transaction_ids: self.transaction.into_iter().collect(),
            payment_ids: self.payment.into_iter().collect(),
            order_ids: self.order.into_iter().collect(),
            names,
            ..ExternalFacts::default()
        };
        Some((key, facts))
    }
}

impl ExternalFacts {
    /// When it was completed first.
    pub fn completed_at(&self) -> Option<Timestamp> {
        self.completed.first.get()
    }

    /// Success was stated in more than one currency.
    fn currency_disagrees(&self) -> bool {
        let mut currencies = self.completed.amounts.iter().filter_map(|amount| Some(amount.money()?.currency));
        let first = currencies.next();
        currencies.any(|currency| Some(currency) != first)
    }

    /// Success was stated with more than one amount.
    fn amount_disagrees(&self) -> bool {
        let amounts = &self.completed.amounts;
        match amounts.iter().find_map(StatedAmount::money) {
            Some(money) => amounts.iter().any(|other| other.in_currency(money.currency) != Some(money.amount)),
            None => amounts.len() > 1,
        }
    }
}

/// The part that these payments have in the view of a payment.
impl Facts {
    fn completed(&self) -> impl Iterator<Item = &ExternalFacts> {
        self.externals.values().filter(|external| external.completed_at().is_some())
    }

    pub(crate) fn external_completed_at(&self) -> impl Iterator<Item = Timestamp> {
        self.completed().filter_map(ExternalFacts::completed_at)
    }

    /// Statements under several ids speak of the same money. Where none has an amount
    /// in a currency, it is the one that was registered.
    pub(crate) fn external_captured(&self) -> Minor {
        let Some(stated) = self.completed().map(|external| external.completed.largest_amount()).max() else {
            return Minor::ZERO;
        };
        let Some((_, registration)) = self.registration() else { return stated.unwrap_or_default() };
        let decimals = self.completed().flat_map(|external| &external.completed.amounts);
        let read = || decimals.filter_map(|amount| amount.in_currency(registration.terms.currency)).max();
        stated.or_else(read).unwrap_or(registration.terms.amount)
    }

    pub(crate) fn external_newest(&self) -> impl Iterator<Item = (Timestamp, Phase)> {
        self.externals.values().filter_map(|external| Some((external.failed.last.get()?, Phase::Failed)))
    }

    pub(crate) fn external_failure(&self) -> Option<&Failure> {
        self.externals.values().find_map(|external| external.failure.get())
    }

    /// The keys of those that failed at least once.
    pub(crate) fn external_failed_attempts(&self) -> impl Iterator<Item = &String> {
        self.externals.iter().filter(|(_, external)| external.failed.first.is_some()).map(|(key, _)| key)
    }

    /// What was said with success describes a payment before what was said with failure.
    pub(crate) fn external_details(&self) -> impl Iterator<Item = &Details> {
        let completed = self.externals.values().filter_map(|external| external.completed.details.get());
        completed.chain(self.externals.values().filter_map(|external| external.failed.details.get()))
    }

    /// Failed before completed is a retry, whichever of the two arrived first. Failed
    /// later, or at the same instant, may be stale or true: nothing here can tell.
    pub(crate) fn external_flags(&self, raise: &mut impl FnMut(bool, Flag)) {
        let failed_last = self.externals.values().filter_map(|external| external.failed.last.get()).max();
        if let (Some(completed), Some(failed)) = (self.external_completed_at().min(), failed_last) {
            raise(failed >= completed, Flag::FailedAfterCompleted);
        }
        for external in self.externals.values() {
            raise(external.currency_disagrees(), Flag::CurrencyDisagrees);
            raise(external.amount_disagrees(), Flag::AmountDisagrees);
        }
    }
}
