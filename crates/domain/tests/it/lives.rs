//! Generators: lives of payments as gateways tell them, and statements that no
//! sane gateway would make.

use domain::dispute::DisputeStage;
use domain::external::ExternalIds;
use domain::intent::Details;
use domain::lattice::{Earliest, Largest, Latest};
use domain::reader::ReaderStatus;
use domain::{AccountId, Currency, EventFacts, Mode, Phase, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use crate::said::{
    at, charge, charge_failed, details, dispute, dollars, external, intent, minor, of, reader, refund, scope, session,
    thin,
};

#[derive(Clone, Copy, Debug)]
enum Opening {
    Intent,
    /// A checkout session; whether it knows its intent from the start.
    Session {
        knows_intent: bool,
        unpaid_first: bool,
    },
    /// A charge without an intent; whether one turns up later.
    Legacy {
        intent_later: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Automatic,
    /// Authorised, then so many thousandths of it captured.
    Manual(i64),
    Canceled,
    Abandoned,
    /// The bank takes the money back after success.
    LateFailure,
}

/// Takes down what happens at the next instant.
type Teller<'a> = dyn FnMut(&dyn Fn(i64) -> EventFacts) + 'a;

/// One payment's life, of which [`Life::events`] makes the events.
#[derive(Clone, Debug)]
pub struct Life {
    opening: Opening,
    ending: Ending,
    amount: i64,
    failed_attempts: usize,
    action: bool,
    processing: bool,
    /// In thousandths of what was captured, with the statuses that each goes through.
    refunds: Vec<(i64, &'static [&'static str])>,
    release_listed: bool,
    disputes: Vec<&'static [&'static str]>,
    reader: bool,
    thin: bool,
    order: Option<usize>,
    /// Seconds between events; 0 puts all of them into one second.
    tick: i64,
    /// Whether the endpoint makes payments from events.
    creates: bool,
    scope: Scope,
}

const REFUNDS: [&[&str]; 6] = [
    &["pending"],
    &["succeeded"],
    &["pending", "succeeded"],
    &["pending", "succeeded", "failed"],
    &["requires_action", "canceled"],
    &["succeeded", "failed"],
];

const DISPUTES: [&[&str]; 5] = [
    &["warning_needs_response", "warning_under_review", "warning_closed"],
    &["warning_needs_response", "needs_response", "lost"],
    &["needs_response", "under_review", "won", "under_review"], // The last is a stale funds_reinstated.
    &["needs_response"],
    &["prevented"],
];

pub fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..100_000_i64, 1 => (i64::MAX - 1000)..=i64::MAX, 1 => Just(0)]
}

pub fn scopes() -> impl Strategy<Value = Scope> {
    let paypal = Scope { gateway: "paypal".to_owned(), ..scope() };
    let test = Scope { mode: Mode::Test, ..scope() };
    let other = Scope { account: AccountId::parse("other").expect("a name"), ..scope() };
    prop_oneof![6 => Just(scope()), 1 => Just(paypal), 1 => Just(test), 1 => Just(other)]
}

pub fn life() -> impl Strategy<Value = Life> {
    let opening = prop_oneof![
        3 => Just(Opening::Intent),
        2 => any::<(bool, bool)>().prop_map(|(knows_intent, unpaid_first)| Opening::Session { knows_intent, unpaid_first }),
        1 => any::<bool>().prop_map(|intent_later| Opening::Legacy { intent_later }),
    ];
    let ending = prop_oneof![
        4 => Just(Ending::Automatic),
        2 => (1..=1000_i64).prop_map(Ending::Manual),
        1 => Just(Ending::Canceled),
        1 => Just(Ending::Abandoned),
        1 => Just(Ending::LateFailure),
    ];
    let way = (0..=2_usize, any::<[bool; 5]>(), 0..=3_i64, prop::option::of(0..=2_usize));
    let after = (
        prop::collection::vec((1..=1000_i64, select(REFUNDS.to_vec())), 0..=3),
        prop::collection::vec(select(DISPUTES.to_vec()), 0..=2),
    );
    (opening, ending, amount(), way, after, prop::bool::weighted(0.8), scopes()).prop_map(
        |(opening, ending, amount, (failed_attempts, told, tick, order), (refunds, disputes), creates, scope)| Life {
            opening,
            ending,
            amount,
            failed_attempts,
            action: told[0],
            processing: told[1],
            refunds,
            release_listed: told[2],
            disputes,
            reader: told[3],
            thin: told[4] && tick == 0,
            order,
            tick,
            creates,
            scope,
        },
    )
}

impl Life {
    /// The life's events in the order in which they happened. `n` tells one life's
    /// objects from another's.
    fn events(&self, n: usize) -> Vec<EventFacts> {
        let (pi, ch, cs) = (format!("pi_{n}"), format!("ch_{n}"), format!("cs_{n}"));
        let mut seconds = 100;
        let mut told: Vec<EventFacts> = Vec::new();
        let mut tell = |event_at: &dyn Fn(i64) -> EventFacts| {
            told.push(event_at(seconds));
            seconds += self.tick;
        };
        let captured = match self.ending {
            Ending::Automatic | Ending::LateFailure => self.amount,
            Ending::Manual(share) => part(self.amount, share),
            Ending::Canceled | Ending::Abandoned => 0,
        };
        let has_intent = !matches!(self.opening, Opening::Legacy { .. });
        let order = self.order.map(|order| format!("ord_{order}"));
        let said = |t: i64| Latest::said(at(t), &format!("evt_{n}_{t}"), details(self.amount, order.as_deref()));
        let pi_is = |t: i64, status: &str| {
            intent(&pi, t, status, |intent| {
                intent.details = said(t);
                if status == "succeeded" {
                    intent.amount_received = Largest::of(minor(captured));
                    intent.charges.insert(ch.clone());
                }
            })
        };
        let ch_is = |t: i64, captured: i64, refunded: i64| {
            charge(&ch, t, [self.amount, captured, refunded], |charge| {
                charge.details = said(t);
                charge.intents.extend(has_intent.then(|| pi.clone()));
            })
        };
        let cs_is = |t: i64, status: &str, knows: bool| {
            session(&cs, t, status, |session| {
                session.details = said(t);
                session.intents.extend(knows.then(|| pi.clone()));
            })
        };
        if has_intent {
            tell(&|t| pi_is(t, "requires_payment_method"));
            for attempt in 0..self.failed_attempts {
                tell(&|t| {
                    charge_failed(&format!("{ch}_failed_{attempt}"), t, |charge| {
                        charge.intents.insert(pi.clone());
                    })
                });
                tell(&|t| pi_is(t, "payment_failed"));
            }
            for (happens, status) in [(self.action, "requires_action"), (self.processing, "processing")] {
                if happens {
                    tell(&|t| pi_is(t, status));
                }
            }
            if self.reader {
                tell(&|t| reader("tmr_1", t, ReaderStatus::Succeeded, &pi));
            }
        }
        if let Opening::Session { knows_intent, unpaid_first } = self.opening {
            tell(&|t| cs_is(t, "open", knows_intent));
            if unpaid_first && captured > 0 {
                tell(&|t| cs_is(t, "unpaid", true));
            }
            match self.ending {
                Ending::Canceled | Ending::Abandoned => tell(&|t| cs_is(t, "expired", knows_intent)),
                Ending::Automatic | Ending::Manual(_) | Ending::LateFailure => tell(&|t| cs_is(t, "paid", true)),
            }
        }
        match self.ending {
            Ending::Canceled if has_intent => tell(&|t| pi_is(t, "canceled")),
            Ending::Manual(_) => {
                tell(&|t| ch_is(t, 0, 0));
                if has_intent {
                    tell(&|t| pi_is(t, "requires_capture"));
                }
                tell(&|t| ch_is(t, captured, self.amount - captured));
            }
            Ending::Automatic | Ending::LateFailure => tell(&|t| ch_is(t, captured, 0)),
            Ending::Canceled | Ending::Abandoned => {}
        }
        if captured > 0 && has_intent {
            tell(&|t| pi_is(t, "succeeded"));
        }
        if let Opening::Legacy { intent_later: true } = self.opening {
            tell(&|t| charge(&ch, t, [self.amount, captured, 0], |charge| charge.intents.extend([pi.clone()])));
        }
        if captured > 0 {
            self.afterwards(n, captured, &ch, &mut tell);
        }
        if matches!(self.ending, Ending::LateFailure) {
            tell(&|t| charge_failed(&ch, t, |charge| charge.captured_at = Earliest::of(at(100))));
        }
        if self.thin {
            tell(&|t| thin(&format!("evt_thin_{n}"), t, &pi));
        }
        for event in &mut told {
            event.scope = self.scope.clone();
            event.facts.creates = self.creates;
        }
        told
    }

    /// Refunds and disputes.
    fn afterwards(&self, n: usize, captured: i64, ch: &str, tell: &mut Teller<'_>) {
        let released = self.amount - captured;
        if released > 0 && self.release_listed {
            tell(&|_| refund(&format!("re_{n}_release"), "succeeded", released, of(ch)));
        }
        let mut refunded = released;
        for (index, (share, statuses)) in self.refunds.iter().enumerate() {
            let amount = part(captured, *share);
            for status in *statuses {
                tell(&|_| refund(&format!("re_{n}_{index}"), status, amount, of(ch)));
            }
            refunded = refunded.saturating_add(amount).min(self.amount);
            tell(&|t| charge(ch, t, [self.amount, captured, refunded], |_| {}));
        }
        for (index, stages) in self.disputes.iter().enumerate() {
            let transactions = [("txn_0", -2500), ("txn_1", 2500)];
            for (step, stage) in stages.iter().enumerate() {
                let told = &transactions[..step.min(2)];
                tell(&|t| dispute(&format!("dp_{n}_{index}"), t, stage, ch, told));
            }
        }
    }
}

/// So many thousandths, rounded up, so that something is never nothing.
fn part(amount: i64, share: i64) -> i64 {
    i64::try_from((i128::from(amount) * i128::from(share) + 999) / 1000).expect("less than the whole")
}

/// Lives beside one another, some on one order, interleaved as they are listed.
pub fn events(lives: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<EventFacts>> {
    prop::collection::vec(life(), lives)
        .prop_map(|lives| lives.iter().enumerate().flat_map(|(n, life)| life.events(n)).collect())
}

/// Anything that could be said, about few enough objects that statements meet.
pub fn statement() -> impl Strategy<Value = EventFacts> {
    (0..8_usize, 0..3_usize, 0..3_usize, 0..3_i64, 0..8_usize, amount(), amount(), any::<[bool; 4]>(), scopes())
        .prop_map(|(kind, n, parent, seconds, word, amount, other, told, scope)| {
            let (pi, ch) = (format!("pi_{parent}"), format!("ch_{parent}"));
            let order = told[0].then(|| format!("ord_{parent}"));
            let currency = Currency::parse(if word == 0 { "EUR" } else { "USD" });
            let described = Details { currency, ..details(amount, order.as_deref()) };
            let said = Latest::said(at(seconds), &format!("evt_{word}"), described);
            let mut event = match kind {
                0 => intent(&format!("pi_{n}"), seconds, INTENTS[word], |intent| {
                    intent.details = said;
                    intent.amount_received = if told[1] { Largest::of(minor(other)) } else { Largest::default() };
                    intent.charges.extend(told[2].then_some(ch));
                    intent.type_disagrees = told[3];
                }),
                1 => session(&format!("cs_{n}"), seconds, SESSIONS[word % 4], |session| {
                    session.details = said;
                    session.intents.extend(told[1].then_some(pi));
                }),
                2 => charge(&format!("ch_{n}"), seconds, [amount, other, if told[1] { amount } else { 0 }], |charge| {
                    charge.intents.extend(told[2].then_some(pi));
                    charge.voided = told[3];
                    charge.newest = Largest::of((at(seconds), Phase::ALL[word % 5]));
                }),
                3 => charge_failed(&format!("ch_{n}"), seconds, |charge| charge.intents.extend(told[1].then_some(pi))),
                4 => refund(&format!("re_{n}"), REFUNDS[word % 6][0], amount, |refund| {
                    refund.intents.extend(told[1].then_some(pi));
                    refund.charges.extend(told[2].then_some(ch));
                }),
                5 => {
                    let stage = DisputeStage::ALL[word].as_str();
                    dispute(&format!("dp_{n}"), seconds, stage, &ch, &[("txn_0", amount), ("txn_1", -other)])
                }
                6 => {
                    let id = |given: bool, id: usize| given.then(|| id.to_string());
                    let ids = ExternalIds {
                        transaction: id(told[1], n),
                        payment: id(told[2] || !told[1], parent),
                        order: id(told[3], word),
                    };
                    external(ids, seconds, ["completed", "failed"][word % 2], |external| {
                        let seen = if word % 2 == 0 { &mut external.completed } else { &mut external.failed };
                        seen.amounts.extend(told[0].then(|| dollars(amount)));
                        seen.details = said;
                        external.time_unreliable = word == 7;
                    })
                }
                _ if told[1] => reader("tmr_1", seconds, ReaderStatus::ALL[word % 3], &pi),
                _ => thin(&format!("evt_thin_{n}"), seconds, &pi),
            };
            event.facts.creates = told[0] || told[2];
            event.scope = scope;
            event
        })
}

const SESSIONS: [&str; 4] = ["open", "unpaid", "paid", "expired"];
const INTENTS: [&str; 8] = [
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "requires_capture",
    "succeeded",
    "canceled",
    "payment_failed",
];

/// Up to `len_max` events of lives, with or without contradictions among them.
pub fn short(len_max: usize) -> impl Strategy<Value = Vec<EventFacts>> {
    let told = (events(1..=2), prop::collection::vec(statement(), 0..=3))
        .prop_map(|(told, contradictions)| told.into_iter().chain(contradictions).collect::<Vec<_>>())
        .prop_flat_map(move |told| {
            let len = told.len();
            prop::sample::subsequence(told, 1.min(len)..=len_max.min(len))
        });
    prop_oneof![2 => told, 1 => prop::collection::vec(statement(), 1..=len_max)]
}

/// Up to about 40 events.
pub fn long() -> impl Strategy<Value = Vec<EventFacts>> {
    const LEN_MAX: usize = 40;
    (events(1..=4), prop::collection::vec(statement(), 0..=6)).prop_map(|(mut told, contradictions)| {
        told.truncate(LEN_MAX - contradictions.len());
        told.extend(contradictions);
        told
    })
}

/// The events in any order, some of them more than once.
pub fn shuffled(events: Vec<EventFacts>) -> impl Strategy<Value = Vec<EventFacts>> {
    let len = events.len();
    prop::collection::vec(0..len.max(1), 0..=4).prop_flat_map(move |again| {
        let again = again.iter().filter_map(|index| events.get(*index).cloned());
        Just(events.iter().cloned().chain(again).collect::<Vec<_>>()).prop_shuffle()
    })
}
