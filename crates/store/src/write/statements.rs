//! The statements of an applying transaction, for both databases.

use std::sync::LazyLock;

use crate::sql::{Many, Put, unnest};

/// Only of an event that nobody has settled, or added to, since it was claimed.
pub(crate) static SETTLE_EVENT: Many = Many {
    sqlite: "UPDATE event SET state = ?2, settled_at = ?3, error = ?4, due_at = NULL
             WHERE seq = ?5 AND due_at IS ?6 AND account = ?1",
    postgres: "UPDATE event e SET state = k.state, settled_at = k.settled_at, error = k.error, due_at = NULL
               FROM unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
                    AS k (state, settled_at, error, seq, due_at)
               WHERE e.account = $1 AND e.seq = k.seq AND e.due_at IS NOT DISTINCT FROM k.due_at",
    types: "atitii",
};
/// Of a payment that is there now. An event that another transaction has is applied by it.
pub(crate) static SETTLE_WAITING: Many = Many {
    // With the plus, the payment's events are looked at, and not all that wait.
    sqlite: "UPDATE event SET state = 'applied', settled_at = ?3, error = NULL
             WHERE account = ?1 AND +state = 'waiting'
             AND seq IN (SELECT seq FROM event_facts WHERE payment = ?2 AND account = ?1)",
    postgres: "UPDATE event e SET state = 'applied', settled_at = w.settled_at, error = NULL
               FROM (SELECT e.seq, k.settled_at
                     FROM unnest($2::bigint[], $3::bigint[]) AS k (payment, settled_at)
                     JOIN event_facts f ON f.account = $1 AND f.payment = k.payment
                     JOIN event e ON e.account = $1 AND e.seq = f.seq AND e.state = 'waiting'
                     WHERE e.account = $1 ORDER BY e.seq FOR UPDATE OF e SKIP LOCKED) w
               WHERE e.account = $1 AND e.seq = w.seq",
    types: "aii",
};
pub(crate) static PUT_FACTS: Put = Put::new(
    "event_facts (account, seq, payment, object_id, needs_fetch, facts)",
    "aiitbt",
    "account, seq",
    "DO UPDATE SET payment = excluded.payment, object_id = excluded.object_id, needs_fetch = excluded.needs_fetch,
        facts = excluded.facts",
);
pub(crate) static PUT_OWNER: Put = Put::new(
    "gateway_object (account, gateway, mode, object_id, kind, payment_id)",
    "attttt",
    "account, gateway, mode, object_id, kind",
    "DO UPDATE SET payment_id = excluded.payment_id",
);

/// What a payment's row holds, the account first, in the order of [`payment_row`], with each column's type.
pub(crate) const PAYMENT: [(&str, u8); 31] = [
    ("account", b'a'),
    ("id", b't'),
    ("gateway", b't'),
    ("mode", b't'),
    ("visible", b'b'),
    ("status", b't'),
    ("dispute_status", b't'),
    ("amount", b'i'),
    ("currency", b't'),
    ("amount_captured", b'i'),
    ("amount_refunded", b'i'),
    ("amount_refunding", b'i'),
    ("captured_at", b'i'),
    ("gateway_transaction_id", b't'),
    ("order_id", b't'),
    ("customer", b't'),
    ("method", b't'),
    ("description", b't'),
    ("failure_code", b't'),
    ("failure_message", b't'),
    ("failed_attempts", b'i'),
    ("gateway_response", b't'),
    ("metadata", b't'),
    ("flags", b't'),
    ("facts", b't'),
    ("transaction_id", b't'),
    ("external_id", b't'),
    ("hold_reason", b't'),
    ("booking_id", b't'),
    ("updated_at", b'i'),
    ("number", b'i'),
];

/// Columns by which a payment is known; they never change.
const PAYMENT_KEY: [&str; 3] = ["account", "id", "number"];
/// Columns that have an index and may change. SQLite writes an index anew for each column
/// of it that is set, whether it differs or not: there they have a statement of their own.
const PAYMENT_MOVES: [&str; 2] = ["order_id", "booking_id"];

fn payment_statement(sqlite: String, postgres: impl FnOnce(&str) -> String) -> Many {
    let types: String = PAYMENT.iter().map(|(_, letter)| char::from(*letter)).collect();
    let rows = format!("{} AS k ({})", unnest(&types), columns_after_account());
    Many { sqlite: sqlite.leak(), postgres: postgres(&rows).leak(), types: types.leak() }
}

fn columns_after_account() -> String {
    PAYMENT[1..].iter().map(|(column, _)| *column).collect::<Vec<_>>().join(", ")
}

/// Plain, so that a payment that is there although nothing led to it is an error and
/// not overwritten.
pub(crate) static INSERT_PAYMENT: LazyLock<Many> = LazyLock::new(|| {
    let columns = columns_after_account();
    let places: Vec<String> = (1..=PAYMENT.len()).map(|place| format!("?{place}")).collect();
    let into = format!("INSERT INTO payment (account, {columns}, created_at)");
    payment_statement(
        // The instant of its update is that of its creation.
        format!("{into} VALUES ({}, ?30)", places.join(", ")),
        |rows| format!("{into} SELECT $1::text, {columns}, updated_at FROM {rows}"),
    )
});
pub(crate) static UPDATE_PAYMENT: LazyLock<Many> = LazyLock::new(|| {
    let columns = || PAYMENT.iter().enumerate().filter(|(_, (column, _))| !PAYMENT_KEY.contains(column));
    let without_moves = columns().filter(|(_, (column, _))| !PAYMENT_MOVES.contains(column));
    let on_sqlite: Vec<String> =
        without_moves.map(|(index, (column, _))| format!("{column} = ?{}", index + 1)).collect();
    let on_postgres: Vec<String> = columns().map(|(_, (column, _))| format!("{column} = k.{column}")).collect();
    payment_statement(
        // The first places are not used but numbered: the row is the same for all.
        format!("UPDATE payment SET {} WHERE number = ?31 AND account = ?1 AND id = ?2", on_sqlite.join(", ")),
        |rows| {
            let set = on_postgres.join(", ");
            format!("UPDATE payment p SET {set} FROM {rows} WHERE p.account = $1 AND p.id = k.id")
        },
    )
});
pub(crate) const MOVE_PAYMENT: &str = "UPDATE payment SET order_id = $1, booking_id = $2
     WHERE number = $3 AND account = $4 AND (order_id IS NOT $1 OR booking_id IS NOT $2)";
pub(crate) static PUT_ORDER: Put = Put::new(
    "merchant_order (account, id, payment_status, currency, amount_paid, amount_refunded, created_at, updated_at,
                     amount_due)",
    "atttiiiii",
    "account, id",
    "DO UPDATE SET payment_status = excluded.payment_status, currency = excluded.currency,
        amount_paid = excluded.amount_paid, amount_refunded = excluded.amount_refunded,
        updated_at = excluded.updated_at, amount_due = excluded.amount_due",
);
pub(crate) static PUT_REFUND: Put = Put::new(
    "refund (account, id, payment_id, gateway_refund_id, charge_id, status, amount, currency, reason, failure_reason,
             gateway_time, created_at, updated_at)",
    "atttttitttiii",
    "account, id",
    "DO UPDATE SET payment_id = excluded.payment_id, gateway_refund_id = excluded.gateway_refund_id,
        charge_id = excluded.charge_id, status = excluded.status, amount = excluded.amount, currency = excluded.currency, reason = excluded.reason,
        failure_reason = excluded.failure_reason, gateway_time = excluded.gateway_time,
        updated_at = excluded.updated_at",
);
pub(crate) static PUT_DISPUTE: Put = Put::new(
    "dispute (account, id, payment_id, gateway_dispute_id, charge_id, status, stage, amount, currency, reason, due_by,
              net, gateway_time, created_at, updated_at)",
    "attttttittiiiii",
    "account, id",
    "DO UPDATE SET payment_id = excluded.payment_id, gateway_dispute_id = excluded.gateway_dispute_id,
        charge_id = excluded.charge_id, status = excluded.status, stage = excluded.stage, amount = excluded.amount, currency = excluded.currency,
        reason = excluded.reason, due_by = excluded.due_by, net = excluded.net,
        gateway_time = excluded.gateway_time, updated_at = excluded.updated_at",
);
pub(crate) static INSERT_HISTORY: Put = Put::new(
    "history (account, subject, subject_id, payment, from_status, to_status, event_seq, at, notice)",
    "attittiit",
    "",
    "",
);
/// What is said of an object once, ever, is found among the history of its payment or order.
pub(crate) static SAID_OF_PAYMENT: Many = Many {
    sqlite: "SELECT 1 FROM history WHERE payment = ?2 AND account = ?1 AND notice = ?3 LIMIT 1",
    postgres: "SELECT k.n FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY AS k (payment, notice, n)
               WHERE EXISTS (SELECT 1 FROM history h
                             WHERE h.account = $1 AND h.payment = k.payment AND h.notice = k.notice)",
    types: "ait",
};
pub(crate) static SAID_OF_ORDER: Many = Many {
    sqlite: "SELECT 1 FROM history WHERE subject_id = ?2 AND account = ?1 AND subject = 'order' AND notice = ?3 LIMIT 1",
    postgres: "SELECT k.n FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (order_id, notice, n)
               WHERE EXISTS (SELECT 1 FROM history h WHERE h.account = $1 AND h.subject_id = k.order_id
                             AND h.subject = 'order' AND h.notice = k.notice)",
    types: "att",
};
/// Returns those that are new, or not what they were.
pub(crate) const PUT_REGISTRATION: &str =
    "INSERT INTO payment_registration (account, id, registration, created_at) VALUES ($1, $2, $3, $4)
     ON CONFLICT (account, id) DO UPDATE SET registration = excluded.registration
        WHERE payment_registration.registration <> excluded.registration";
pub(crate) static PUT_NAME: Put =
    Put::new("payment_name (account, name, kind, payment_id)", "attt", "account, name, kind", "DO NOTHING");
pub(crate) static PUT_WANTED: Put =
    Put::new("wanted_name (account, name, kind, payment_id)", "attt", "account, name, kind, payment_id", "DO NOTHING");
pub(crate) static PUT_BOOKING: Put = Put::new(
    "booking (account, id, resource_id, starts_on, ends_on, amount, currency, on_conflict, released, canceled, claim,
              lost_to, status, payment_status, reason, created_at, updated_at)",
    "attttittbbtttttii",
    "account, id",
    "DO UPDATE SET released = excluded.released, canceled = excluded.canceled, claim = excluded.claim,
        lost_to = excluded.lost_to, status = excluded.status, payment_status = excluded.payment_status,
        reason = excluded.reason, updated_at = excluded.updated_at",
);
pub(crate) static PUT_SESSION: Put =
    Put::new("booking_session (account, session_id, booking_id, vouched)", "attb", "account, session_id", "DO NOTHING");
