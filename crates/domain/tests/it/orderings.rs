//! End states, and every way to get there.

use domain::lattice::Join;
use domain::{EventFacts, Facts, Ledger, Money, Order, Payment, Scope};
use serde_json::{Value, json};

use crate::said::{minor, usd};

/// What a working set has come to, to be compared.
#[derive(PartialEq)]
struct State<'a> {
    /// With their facts and the view of them.
    payments: Vec<(&'a String, &'a Scope, &'a Facts, &'a Payment)>,
    /// Those that are there.
    orders: Vec<(&'a String, &'a Order)>,
}

impl<'a> State<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        let payments = ledger.payments().iter().map(|(id, entry)| (id, &entry.scope, &entry.facts, &entry.payment));
        let orders = ledger.orders().iter().filter_map(|(id, entry)| Some((id, entry.order.as_ref()?)));
        Self { payments: payments.collect(), orders: orders.collect() }
    }
}

pub fn as_json(ledger: &Ledger) -> Value {
    let State { payments, orders } = State::of(ledger);
    let payments = payments.into_iter().map(|(id, scope, facts, view)| {
        let scope = (scope.account.as_str(), &scope.gateway, scope.mode);
        json!({"id": id, "scope": scope, "facts": facts, "view": view})
    });
    let orders = orders.into_iter().map(|(id, order)| json!({"id": id, "order": order}));
    json!({"payments": payments.collect::<Vec<_>>(), "orders": orders.collect::<Vec<_>>()})
}

#[track_caller]
pub fn assert_same(name: &str, expected: &Ledger, found: &Ledger) {
    if State::of(expected) != State::of(found) {
        panic!("{name}: two end states\n{:#}\n{:#}", as_json(expected), as_json(found));
    }
}

/// A working set in which the application has registered two orders.
pub fn registered() -> Ledger {
    let mut ledger = Ledger::default();
    for (id, amount) in DUE {
        ledger.load_order(id.to_owned(), due(amount));
    }
    ledger
}

pub const DUE: [(&str, i64); 2] = [("ord_0", 500), ("ord_1", 1000)];

pub fn due(amount: i64) -> Option<Money> {
    Some(Money { amount: minor(amount), currency: usd()? })
}

pub fn apply_all<'a>(events: impl IntoIterator<Item = &'a EventFacts>) -> Ledger {
    let mut ledger = registered();
    for event in events {
        ledger.apply(event);
    }
    ledger
}

/// Every permutation of the events, and every permutation with one of them
/// delivered twice, ends in the state that is returned.
#[track_caller]
pub fn one_end_state(name: &str, events: &[EventFacts]) -> Ledger {
    let expected = apply_all(events);
    let mut leaves = 0;
    for twice in 0..=events.len() {
        let mut left = vec![1; events.len()];
        if let Some(times) = left.get_mut(twice) {
            *times += 1;
        }
        visit(&registered(), events, &mut left, &mut |ledger| {
            leaves += 1;
            assert_same(name, &expected, ledger);
        });
    }
    let permutations: usize = (1..=events.len()).product();
    // n + 1 deliveries of which two are alike can be ordered in (n + 1)! / 2 ways.
    assert_eq!(leaves, permutations + events.len() * permutations * (events.len() + 1) / 2, "{name}");
    expected
}

/// Orderings share the working set that their common beginning makes.
fn visit(ledger: &Ledger, events: &[EventFacts], left: &mut Vec<usize>, leaf: &mut impl FnMut(&Ledger)) {
    if left.iter().all(|times| *times == 0) {
        return leaf(ledger);
    }
    for next in 0..events.len() {
        if left[next] > 0 {
            let mut further = ledger.clone();
            further.apply(&events[next]);
            left[next] -= 1;
            visit(&further, events, left, leaf);
            left[next] += 1;
        }
    }
}

pub fn permutations(len: usize) -> Vec<Vec<usize>> {
    if len == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(len - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, len - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..len).map(move |at| insert(order, at))).collect()
}

/// Joins neighbours that belong to one payment in the end (only those may be
/// joined: a statement that names two payments would make them one). `joins[i]`
/// says whether the event at `i + 1` is to be joined to the one before it.
pub fn regroup(events: &[EventFacts], joins: &[bool]) -> Vec<EventFacts> {
    let end = apply_all(events);
    let owner = |event: &EventFacts| {
        let key = event.facts.keys().pop_first()?;
        let holds = |entry: &domain::ledger::Entry| entry.scope == event.scope && entry.facts.keys().contains(&key);
        end.payments().iter().find(|(_, entry)| holds(entry)).map(|(id, _)| id.clone())
    };
    let mut grouped: Vec<(Option<String>, EventFacts)> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let owner = owner(event);
        let wanted = index > 0 && joins.get(index - 1).copied().unwrap_or(false);
        match grouped.last_mut() {
            Some((payment, batch)) if wanted && owner.is_some() && *payment == owner => {
                batch.facts.join(event.facts.clone());
            }
            _ => grouped.push((owner, event.clone())),
        }
    }
    grouped.into_iter().map(|(_, event)| event).collect()
}
