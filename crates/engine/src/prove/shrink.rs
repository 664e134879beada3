//! From a difference to as few inputs as show it, delivered one after the other.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde::Serialize;
use serde_json::Value;

use super::Difference;
use super::Error;
use super::end::EndState;
use super::inputs::{Inputs, names_of_delivery};
use super::run::{Order, Step, run};
use super::scratch::Template;

/// More than this belongs together: what shows the difference would be no story.
const STEPS_MAX: usize = 60;
/// Each opens a database, and a process may have so many files open.
const RUNS_MAX: usize = 240;
/// Orders that are tried for one set of inputs.
const TRIES: usize = 12;

/// As little as shows a difference: the same inputs, in two orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Smallest {
    pub one_order: Vec<String>,
    pub another: Vec<String>,
}

struct Shrinking<'a> {
    inputs: &'a Inputs,
    template: &'a Template,
    rng: Rng,
    runs_left: usize,
}

/// `None` where what belongs to the row does not show it by itself: too much belongs to
/// it, or it takes more than another order.
pub(super) async fn shrink(
    inputs: &Inputs,
    template: &Template,
    difference: &Difference,
) -> Result<Option<Smallest>, Error> {
    let mut steps = together(inputs, difference);
    if steps.len() > STEPS_MAX {
        return Ok(None);
    }
    let rng = Rng::with_seed(difference.seed.unwrap_or_default());
    let mut shrinking = Shrinking { inputs, template, rng, runs_left: RUNS_MAX };
    let Some(mut other) = shrinking.other_order(&steps, None, TRIES).await? else { return Ok(None) };
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut index = 0;
        while index < steps.len() {
            let (mut fewer, after) = (steps[..index].to_vec(), steps.len().min(index + size));
            fewer.extend(&steps[after..]);
            let likely: Vec<Step> = other.iter().copied().filter(|step| fewer.contains(step)).collect();
            let tries = if size == 1 { TRIES } else { 1 };
            match shrinking.other_order(&fewer, Some(likely), tries).await? {
                Some(found) => (steps, other) = (fewer, found),
                None => index = after,
            }
        }
        size /= 2;
    }
    let named = |steps: &[Step]| steps.iter().map(|step| name(inputs, *step)).collect();
    Ok(Some(Smallest { one_order: named(&steps), another: named(&other) }))
}

fn name(inputs: &Inputs, step: Step) -> String {
    match step {
        Step::Delivery(index) => {
            let event = &inputs.deliveries[index];
            let version = event.api_version.as_deref().map_or(String::new(), |version| format!(" ({version})"));
            format!("{} {}{version}", event.event_type, event.event_id)
        }
        Step::Call(call) => format!("registration: {}", inputs.calls[call]),
    }
}

/// The inputs that share a name with the row, or with one another: calls, then deliveries.
fn together(inputs: &Inputs, difference: &Difference) -> Vec<Step> {
    let mut names: BTreeSet<String> = difference.subject.id.split_whitespace().map(str::to_owned).collect();
    for row in [&difference.expected, &difference.found].into_iter().flatten() {
        texts(row, &mut names);
    }
    let calls = inputs.calls.iter().enumerate().map(|(index, call)| (Step::Call(index), call.names()));
    let deliveries = inputs.deliveries.iter().enumerate();
    let deliveries = deliveries.map(|(index, event)| (Step::Delivery(index), names_of_delivery(event)));
    let mut apart: Vec<(Step, BTreeSet<String>)> = calls.chain(deliveries).collect();
    let mut found = BTreeSet::new();
    loop {
        let before = apart.len();
        apart.retain(|(step, theirs)| {
            let is_ours = !theirs.is_disjoint(&names);
            if is_ours {
                names.extend(theirs.iter().cloned());
                found.insert(match step {
                    Step::Call(index) => (0, *index),
                    Step::Delivery(index) => (1, *index),
                });
            }
            !is_ours
        });
        if apart.len() == before || found.len() > STEPS_MAX {
            break;
        }
    }
    let step = |(kind, index)| if kind == 0 { Step::Call(index) } else { Step::Delivery(index) };
    found.into_iter().map(step).collect()
}

/// Every text in it.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Shrinking<'_> {
    /// An order of these steps that ends otherwise than they do as they are.
    async fn other_order(
        &mut self,
        steps: &[Step],
        likely: Option<Vec<Step>>,
        tries: usize,
    ) -> Result<Option<Vec<Step>>, Error> {
        let Some(expected) = self.end(steps).await? else { return Ok(None) };
        let mut shuffled = steps.to_vec();
        for number in 0..tries {
            let order = match &likely {
                Some(likely) if number == 0 => likely.clone(),
                _ => {
                    self.rng.shuffle(&mut shuffled);
                    shuffled.clone()
                }
            };
            let Some(end) = self.end(&order).await? else { continue };
            let patch = expected.patch_to(&end);
            let excused: BTreeSet<_> = expected.contested(&end, &patch).into_values().flatten().collect();
            if patch.keys().any(|subject| !excused.contains(subject)) {
                return Ok(Some(order));
            }
        }
        Ok(None)
    }

    /// `None` where the API refuses them in that order, and when enough was tried.
    async fn end(&mut self, steps: &[Step]) -> Result<Option<EndState>, Error> {
        let Some(left) = self.runs_left.checked_sub(1) else { return Ok(None) };
        self.runs_left = left;
        match run(self.inputs, self.template, Order::Given(steps)).await {
            Ok(ran) => Ok(Some(ran.end)),
            Err(Error::Refused { .. } | Error::Unregistered(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
