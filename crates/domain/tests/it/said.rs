//! What a gateway says, in one line each: the facts of one event, as a gateway's
//! normaliser would make them from a snapshot of an object.

use domain::charge::{ChargeFacts, ChargeRank};
use domain::dispute::{DisputeDetails, DisputeFacts, DisputeStage};
use domain::external::{ExternalFacts, ExternalIds, Seen, StatedAmount};
use domain::intent::{Details, Failure, IntentFacts};
use domain::lattice::{Earliest, Largest, Latest};
use domain::money::Minor;
use domain::reader::{ReaderAction, ReaderFacts, ReaderStatus};
use domain::refund::{RefundFacts, RefundStatus};
use domain::session::SessionFacts;
use domain::thin::ThinFacts;
use domain::{AccountId, Currency, EventFacts, Facts, Mode, Money, ObjectKey, ObjectKind, Phase, Scope, Timestamp};

pub fn scope() -> Scope {
    Scope { account: AccountId::default(), gateway: "stripe".to_owned(), mode: Mode::Live }
}

/// An event of an endpoint that makes payments.
pub fn event(facts: Facts) -> EventFacts {
    EventFacts { scope: scope(), facts: Facts { creates: true, ..facts }, decides: true }
}

pub fn minor(units: i64) -> Minor {
    Minor::new(units).expect("not negative")
}

pub fn usd() -> Option<Currency> {
    Currency::parse("USD")
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub fn details(amount: i64, order_id: Option<&str>) -> Details {
    Details {
        amount: Some(minor(amount)),
        currency: usd(),
        order_id: order_id.map(str::to_owned),
        ..Details::default()
    }
}

/// `status` is the payment intent's, or `payment_failed` for the event of that name.
pub fn intent(id: &str, seconds: i64, status: &str, edit: impl FnOnce(&mut IntentFacts)) -> EventFacts {
    let mut intent = IntentFacts::default();
    let mut newest = |phase| intent.newest = Largest::of((at(seconds), phase));
    match status {
        "succeeded" => intent.succeeded_at = Earliest::of(at(seconds)),
        "canceled" => intent.canceled_at = Earliest::of(at(seconds)),
        "payment_failed" => {
            newest(Phase::Failed);
            intent.failed_attempts.insert(format!("{seconds} card_declined"));
            let failure = Failure { code: Some("card_declined".to_owned()), message: None };
            intent.failure = Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), failure);
        }
        "requires_action" => newest(Phase::RequiresAction),
        "processing" => newest(Phase::Processing),
        "requires_capture" => newest(Phase::Authorized),
        "requires_payment_method" | "requires_confirmation" => newest(Phase::Pending),
        other => panic!("{other:?} is no status of a payment intent"),
    }
    edit(&mut intent);
    event(Facts { intents: [(id.to_owned(), intent)].into(), ..Facts::default() })
}

/// A successful payment intent of 500 US cents.
pub fn succeeded(id: &str, seconds: i64) -> EventFacts {
    intent(id, seconds, "succeeded", |intent| {
        intent.amount_received = Largest::of(minor(500));
        intent.details = Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), details(500, None));
    })
}

/// A charge that succeeded: `captured` of `amount` is money (0: authorised only),
/// and the gateway counts `refunded`.
pub fn charge(
    id: &str,
    seconds: i64,
    [amount, captured, refunded]: [i64; 3],
    edit: impl FnOnce(&mut ChargeFacts),
) -> EventFacts {
    let mut charge = ChargeFacts {
        rank: Largest::of(ChargeRank::Succeeded),
        amount_captured: Largest::of(minor(captured)),
        amount_refunded: Largest::of(minor(refunded)),
        details: Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), details(amount, None)),
        ..ChargeFacts::default()
    };
    if captured > 0 {
        charge.captured_at = Earliest::of(at(seconds));
    } else {
        charge.newest = Largest::of((at(seconds), Phase::Authorized));
    }
    edit(&mut charge);
    event(Facts { charges: [(id.to_owned(), charge)].into(), ..Facts::default() })
}

/// A charge that failed, perhaps long after it had succeeded.
pub fn charge_failed(id: &str, seconds: i64, edit: impl FnOnce(&mut ChargeFacts)) -> EventFacts {
    let mut charge = ChargeFacts {
        rank: Largest::of(ChargeRank::Failed),
        newest: Largest::of((at(seconds), Phase::Failed)),
        ..ChargeFacts::default()
    };
    edit(&mut charge);
    event(Facts { charges: [(id.to_owned(), charge)].into(), ..Facts::default() })
}

pub fn refund(id: &str, status: &str, amount: i64, edit: impl FnOnce(&mut RefundFacts)) -> EventFacts {
    let status = RefundStatus::parse(status).expect("a refund's status");
    let mut refund = RefundFacts {
        seen: [status].into(),
        amounts: [minor(amount)].into(),
        currencies: usd().into_iter().collect(),
        ..RefundFacts::default()
    };
    edit(&mut refund);
    event(Facts { refunds: [(id.to_owned(), refund)].into(), ..Facts::default() })
}

/// For [`refund`]: of this charge.
pub fn of(charge: &str) -> impl FnOnce(&mut RefundFacts) {
    move |refund| refund.charges.extend([charge.to_owned()])
}

/// `transactions` are ids with their net effect on the merchant's balance.
pub fn dispute(id: &str, seconds: i64, status: &str, charge: &str, transactions: &[(&str, i64)]) -> EventFacts {
    let stage = DisputeStage::parse(status).expect("a dispute's status");
    let details = DisputeDetails { amount: Some(minor(500)), currency: usd(), reason: None, due_by: None };
    let dispute = DisputeFacts {
        seen: [stage].into(),
        details: Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), details),
        charges: [charge.to_owned()].into(),
        transactions: transactions.iter().map(|(id, net)| ((*id).to_owned(), Largest::of(*net))).collect(),
        ..DisputeFacts::default()
    };
    event(Facts { disputes: [(id.to_owned(), dispute)].into(), ..Facts::default() })
}

/// `status` is `open`, `unpaid` (completed, money on its way), `paid` or `expired`.
pub fn session(id: &str, seconds: i64, status: &str, edit: impl FnOnce(&mut SessionFacts)) -> EventFacts {
    let mut session = SessionFacts { completed: matches!(status, "unpaid" | "paid"), ..SessionFacts::default() };
    match status {
        "paid" => session.paid_at = Earliest::of(at(seconds)),
        "unpaid" => session.newest = Largest::of((at(seconds), Phase::Processing)),
        "open" => session.newest = Largest::of((at(seconds), Phase::Pending)),
        "expired" => session.expired = true,
        other => panic!("{other:?} is no status of a session"),
    }
    edit(&mut session);
    event(Facts { sessions: [(id.to_owned(), session)].into(), ..Facts::default() })
}

pub fn reader(reader: &str, seconds: i64, status: ReaderStatus, intent: &str) -> EventFacts {
    let action = ReaderAction { status, failure_code: None, failure_message: None };
    let facts = ReaderFacts {
        action: Latest::said(at(seconds), &format!("evt_{reader}_{seconds}"), action),
        intents: [intent.to_owned()].into(),
    };
    event(Facts { readers: [(format!("{reader}/{intent}"), facts)].into(), ..Facts::default() })
}

/// `word` is `completed` or `failed`.
pub fn external(ids: ExternalIds, seconds: i64, word: &str, edit: impl FnOnce(&mut ExternalFacts)) -> EventFacts {
    let (key, mut external) = ids.facts().expect("an id");
    match word {
        "completed" => external.completed = Seen::at(at(seconds)),
        "failed" => external.failed = Seen::at(at(seconds)),
        other => panic!("{other:?} is neither completed nor failed"),
    }
    edit(&mut external);
    event(Facts { externals: [(key, external)].into(), ..Facts::default() })
}

pub fn dollars(cents: i64) -> StatedAmount {
    StatedAmount::Money(Money { amount: minor(cents), currency: usd().expect("a code") })
}

pub fn thin(id: &str, seconds: i64, intent: &str) -> EventFacts {
    let facts = ThinFacts {
        related: [ObjectKey::new(ObjectKind::Intent, intent)].into(),
        changed_at: Largest::of(at(seconds)),
    };
    event(Facts { thin: [(id.to_owned(), facts)].into(), ..Facts::default() })
}
