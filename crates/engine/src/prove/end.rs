//! Where a run ended: the rows that people see, in a form of which there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use domain::booking::{BookingInputs, Claim};
use domain::{AccountId, Days};
use serde_json::{Map, Value};
use store::{EventFilter, EventRow, EventState, PublicRow, PublicTable, Store};

use super::inputs::PAGE;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub account: AccountId,
    pub noun: &'static str,
    pub id: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, noun, id } = self;
        write!(f, "{account} {noun} {id}")
    }
}

/// An order of which more than one object of a gateway may be the payment that was
/// registered without naming one. Which it is depends on what came first.
type Contest = (AccountId, String);

#[derive(Clone, Debug, Default)]
pub(super) struct EndState {
    /// Each row as canonical JSON.
    pub rows: BTreeMap<Subject, String>,
    /// What the outcome of each contest reaches.
    contests: BTreeMap<Contest, BTreeSet<Subject>>,
    /// Bookings whose days another one wants too.
    pub contested_bookings: BTreeSet<Subject>,
    /// What must never be, whoever came first.
    pub faults: Vec<String>,
}

/// Where one end differs from another: what it has instead, `None` where it has nothing.
pub(super) type Patch = BTreeMap<Subject, Option<String>>;

impl EndState {
    pub(super) async fn read(store: &Store) -> store::Result<Self> {
        let mut end = Self::default();
        for account in store.accounts().await? {
            let mut rows = BTreeMap::new();
            for table in PublicTable::ALL {
                let read = public_rows(store, &account, table).await?;
                rows.insert(table, read);
            }
            end.judge_bookings(store, &account).await?;
            end.find_contests(store, &account, &rows).await?;
            for (table, rows) in rows {
                for row in rows {
                    end.put(&account, table, row);
                }
            }
            end.read_events(store, &account).await?;
        }
        Ok(end)
    }

    fn put(&mut self, account: &AccountId, table: PublicTable, row: PublicRow) {
        let subject = Subject { account: account.clone(), noun: noun(table), id: row.id };
        let mut columns = row.columns;
        if self.contested_bookings.contains(&subject) {
            for decided in ["status", "reason", "lost_to"] {
                columns.remove(decided);
            }
        }
        // No metadata are none, however that was written.
        if columns.get("metadata").and_then(Value::as_object).is_some_and(Map::is_empty) {
            columns.insert("metadata", Value::Null);
        }
        let columns: Map<String, Value> = columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.rows.insert(subject, canonical(Value::Object(columns)));
    }

    async fn read_events(&mut self, store: &Store, account: &AccountId) -> store::Result<()> {
        let mut filter = EventFilter { account: Some(account.clone()), ..EventFilter::default() };
        loop {
            let page = store.list_events(&filter, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            filter.before = Some(last.seq);
            for event in page {
                // Why it was kept aside is told by whatever endpoint had it first, and applied
                // or ignored by whether its payment was there when it came.
                let (state, error) = match event.state {
                    EventState::Ignored if event.error_message.is_some() => ("kept aside", None),
                    EventState::Applied | EventState::Ignored => ("processed", None),
                    state => (state.as_str(), event.error_message.as_deref()),
                };
                let row = serde_json::json!({ "type": event.event_type, "state": state, "error_message": error });
                self.rows.insert(subject_of(&event), canonical(row));
            }
        }
    }

    /// Confirmed bookings share no day, and whoever lost did so to one who had won.
    async fn judge_bookings(&mut self, store: &Store, account: &AccountId) -> store::Result<()> {
        let mut by_resource: BTreeMap<String, Vec<(String, BookingInputs, String)>> = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = store.stored_bookings(account, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for booking in page {
                let of_resource = by_resource.entry(booking.inputs.terms.resource_id.clone()).or_default();
                of_resource.push((booking.id, booking.inputs, booking.payment_status));
            }
        }
        for (resource, bookings) in by_resource {
            for (id, inputs, payment_status) in &bookings {
                let days: &Days = &inputs.terms.days;
                let mut rivals =
                    bookings.iter().filter(|(other, theirs, _)| other != id && theirs.terms.days.overlaps(days));
                if rivals.clone().next().is_some() {
                    self.contested_bookings.insert(Subject {
                        account: account.clone(),
                        noun: "booking",
                        id: id.clone(),
                    });
                }
                let mut fault = |what: String| self.faults.push(format!("{account} booking {id} of {resource} {what}"));
                if inputs.holds_days()
                    && let Some((other, ..)) = rivals.clone().find(|(_, theirs, _)| theirs.holds_days())
                {
                    fault(format!("is confirmed for days that {other} is confirmed for"));
                }
                if let Some(Claim::Lost(to)) = &inputs.claim
                    && !rivals.any(|(other, theirs, _)| other == to && theirs.claim == Some(Claim::Won))
                {
                    fault(format!("lost its days to {to}, which never had them"));
                }
                if inputs.claim.is_none() && !inputs.canceled && payment_status == "paid" {
                    fault("is paid and claims no days".to_owned());
                }
            }
        }
        Ok(())
    }

    async fn find_contests(
        &mut self,
        store: &Store,
        account: &AccountId,
        rows: &BTreeMap<PublicTable, Vec<PublicRow>>,
    ) -> store::Result<()> {
        // By order: payments that name it, and whether one was registered without an object.
        let mut named: BTreeMap<String, (BTreeSet<String>, bool)> = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = store.stored_payments(account, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            for payment in page {
                let facts = &payment.facts;
                let is_free = facts.registration().is_some_and(|(_, registration)| registration.gateway_ids.is_empty());
                for order in facts.order_ids().into_iter().chain(facts.wanted_orders()) {
                    let (members, has_free) = named.entry(order.to_owned()).or_default();
                    members.insert(payment.id.clone());
                    *has_free |= is_free;
                }
            }
        }
        let hanging = by_payment(account, rows);
        for (order, (members, _)) in named.into_iter().filter(|(_, (members, has_free))| *has_free && members.len() > 1)
        {
            let mut reached = BTreeSet::from([Subject { account: account.clone(), noun: "order", id: order.clone() }]);
            for payment in members {
                reached.extend(hanging.get(&payment).into_iter().flatten().cloned());
                let of_payment = EventFilter { payment: Some(payment), ..EventFilter::default() };
                let of_payment = EventFilter { account: Some(account.clone()), ..of_payment };
                reached.extend(store.list_events(&of_payment, PAGE).await?.iter().map(subject_of));
            }
            self.contests.insert((account.clone(), order), reached);
        }
        Ok(())
    }

    /// What `other` has instead.
    pub(super) fn patch_to(&self, other: &Self) -> Patch {
        let mut patch = Patch::new();
        for (subject, row) in &other.rows {
            if self.rows.get(subject) != Some(row) {
                patch.insert(subject.clone(), Some(row.clone()));
            }
        }
        let missing = self.rows.keys().filter(|subject| !other.rows.contains_key(*subject));
        patch.extend(missing.map(|subject| (subject.clone(), None)));
        patch
    }

    /// Contests that ended otherwise in `other`, with all that they reach in either.
    pub(super) fn contested(&self, other: &Self, patch: &Patch) -> BTreeMap<Contest, BTreeSet<Subject>> {
        let mut contests = self.contests.clone();
        for (contest, reached) in &other.contests {
            contests.entry(contest.clone()).or_default().extend(reached.iter().cloned());
        }
        contests.retain(|_, reached| reached.iter().any(|subject| patch.contains_key(subject)));
        contests
    }

    /// SHA-256 over the rows, as `patch` changes them, without those that are `left_out`.
    pub(super) fn hash(&self, patch: &Patch, left_out: &BTreeSet<Subject>) -> String {
        let patched = patch.iter().filter_map(|(subject, row)| Some((subject, row.as_ref()?)));
        let kept = self.rows.iter().filter(|(subject, _)| !patch.contains_key(*subject));
        let rows: BTreeMap<&Subject, &String> = kept.chain(patched).collect();
        let mut context = Context::new(&SHA256);
        for (Subject { account, noun, id }, row) in rows.into_iter().filter(|(subject, _)| !left_out.contains(*subject))
        {
            let subject = Value::from(vec![account.as_str(), noun, id]);
            context.update(format!("[{subject},{row}]\n").as_bytes());
        }
        context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn subject_of(event: &EventRow) -> Subject {
    let EventRow { account, gateway, mode, connected_account, event_id, .. } = event;
    let of = if connected_account.is_empty() { String::new() } else { format!(" of {connected_account}") };
    Subject { account: account.clone(), noun: "event", id: format!("{event_id} ({gateway}, {mode}{of})") }
}

const fn noun(table: PublicTable) -> &'static str {
    match table {
        PublicTable::Payments => "payment",
        PublicTable::Orders => "order",
        PublicTable::Refunds => "refund",
        PublicTable::Disputes => "dispute",
        PublicTable::Bookings => "booking",
    }
}

async fn public_rows(store: &Store, account: &AccountId, table: PublicTable) -> store::Result<Vec<PublicRow>> {
    let mut rows: Vec<PublicRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.id.clone()).unwrap_or_default();
        let page = store.public_rows(account, table, &after, PAGE).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

/// What hangs on each payment: its row, its refunds and disputes, its order and its booking.
fn by_payment(account: &AccountId, rows: &BTreeMap<PublicTable, Vec<PublicRow>>) -> BTreeMap<String, Vec<Subject>> {
    let subject = |noun, id: &str| Subject { account: account.clone(), noun, id: id.to_owned() };
    let mut hanging: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
    for (table, rows) in rows {
        for row in rows {
            let text = |column| row.columns.get(column).and_then(Value::as_str);
            if *table == PublicTable::Payments {
                let of_payment = hanging.entry(row.id.clone()).or_default();
                of_payment.push(subject(noun(*table), &row.id));
                of_payment.extend(text("order_id").map(|order| subject("order", order)));
                of_payment.extend(text("booking_id").map(|booking| subject("booking", booking)));
            } else if let Some(payment) = text("payment_id") {
                hanging.entry(payment.to_owned()).or_default().push(subject(noun(*table), &row.id));
            }
        }
    }
    hanging
}

/// A row that [`EndState`] wrote.
pub(super) fn parsed(row: &str) -> Value {
    serde_json::from_str(row).unwrap_or_default()
}

/// The one way to write it: keys in order, no spaces.
fn canonical(value: Value) -> String {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields: BTreeMap<String, Value> =
                    fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                Value::Object(fields.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
            scalar => scalar,
        }
    }
    sorted(value).to_string()
}
