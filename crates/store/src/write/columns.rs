//! The columns of derived tables beside [`super::statements::PAYMENT`], in the order of
//! their rows, with each's type.

pub(crate) const REFUND: [(&str, u8); 13] = [
    ("account", b't'),
    ("id", b't'),
    ("payment_id", b't'),
    ("gateway_refund_id", b't'),
    ("charge_id", b't'),
    ("status", b't'),
    ("amount", b'i'),
    ("currency", b't'),
    ("reason", b't'),
    ("failure_reason", b't'),
    ("gateway_time", b'i'),
    ("created_at", b'i'),
    ("updated_at", b'i'),
];
pub(crate) const DISPUTE: [(&str, u8); 15] = [
    ("account", b't'),
    ("id", b't'),
    ("payment_id", b't'),
    ("gateway_dispute_id", b't'),
    ("charge_id", b't'),
    ("status", b't'),
    ("stage", b't'),
    ("amount", b'i'),
    ("currency", b't'),
    ("reason", b't'),
    ("due_by", b'i'),
    ("net", b'i'),
    ("gateway_time", b'i'),
    ("created_at", b'i'),
    ("updated_at", b'i'),
];
pub(crate) const ORDER: [(&str, u8); 9] = [
    ("account", b't'),
    ("id", b't'),
    ("payment_status", b't'),
    ("currency", b't'),
    ("amount_paid", b'i'),
    ("amount_refunded", b'i'),
    ("created_at", b'i'),
    ("updated_at", b'i'),
    ("amount_due", b'i'),
];
pub(crate) const BOOKING: [(&str, u8); 17] = [
    ("account", b't'),
    ("id", b't'),
    ("resource_id", b't'),
    ("starts_on", b't'),
    ("ends_on", b't'),
    ("amount", b'i'),
    ("currency", b't'),
    ("on_conflict", b't'),
    ("released", b'b'),
    ("canceled", b'b'),
    ("claim", b't'),
    ("lost_to", b't'),
    ("status", b't'),
    ("payment_status", b't'),
    ("reason", b't'),
    ("created_at", b'i'),
    ("updated_at", b'i'),
];
pub(crate) const OWNER: [(&str, u8); 6] =
    [("account", b't'), ("gateway", b't'), ("mode", b't'), ("object_id", b't'), ("kind", b't'), ("payment_id", b't')];
pub(crate) const NAME: [(&str, u8); 4] = [("account", b't'), ("name", b't'), ("kind", b't'), ("payment_id", b't')];
