-- What the application registers: payments, orders, resources and bookings. Like
-- events these are inputs of state; what is derived from them stands beside them.

-- Payments ------------------------------------------------------------------------

ALTER TABLE payment ADD COLUMN transaction_id TEXT;
ALTER TABLE payment ADD COLUMN external_id TEXT;
ALTER TABLE payment ADD COLUMN hold_reason TEXT;
ALTER TABLE payment ADD COLUMN booking_id TEXT;
CREATE INDEX payment_booking ON payment (booking_id, account) WHERE booking_id IS NOT NULL;

-- As it was registered, with the names that were added since.
CREATE TABLE payment_registration (
    account      TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    registration TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;

-- Under which names registered payments are found; a name of one kind means one payment.
CREATE TABLE payment_name (
    account    TEXT NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,            -- id, transaction, external, gateway
    payment_id TEXT NOT NULL,
    PRIMARY KEY (name, kind, account)
) STRICT, WITHOUT ROWID;

-- Names that gateways' statements gave, of payments, bookings and orders that may be
-- registered later.
CREATE TABLE wanted_name (
    account    TEXT NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,            -- payment, booking, order
    payment_id TEXT NOT NULL,
    PRIMARY KEY (name, kind, account, payment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX wanted_by ON wanted_name (payment_id, account);

DROP VIEW payments;
CREATE VIEW payments AS
SELECT p.id, p.account, p.gateway, p.mode, p.order_id, p.booking_id, p.transaction_id, p.external_id,
       p.status AS payment_status, p.hold_reason, p.dispute_status, p.amount,
       p.currency, p.amount_captured, p.amount_refunded, p.amount_refunding, p.gateway_transaction_id, p.customer,
       p.method, p.description, p.failure_code, p.failure_message, p.gateway_response, p.metadata, p.flags,
       strftime('%Y-%m-%d %H:%M:%S', p.captured_at / 1000000, 'unixepoch') || printf('.%06d', p.captured_at % 1000000) AS captured_at,
       strftime('%Y-%m-%d %H:%M:%S', p.created_at / 1000000, 'unixepoch') || printf('.%06d', p.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', p.updated_at / 1000000, 'unixepoch') || printf('.%06d', p.updated_at % 1000000) AS updated_at
FROM payment p WHERE p.visible;

-- Orders ----------------------------------------------------------------------------

ALTER TABLE merchant_order ADD COLUMN customer TEXT;
ALTER TABLE merchant_order ADD COLUMN metadata TEXT;

DROP VIEW orders;
CREATE VIEW orders AS
SELECT o.id, o.account, o.payment_status, o.amount_due AS amount, o.currency, o.amount_paid, o.amount_refunded,
       o.customer, o.metadata,
       strftime('%Y-%m-%d %H:%M:%S', o.created_at / 1000000, 'unixepoch') || printf('.%06d', o.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', o.updated_at / 1000000, 'unixepoch') || printf('.%06d', o.updated_at % 1000000) AS updated_at
FROM merchant_order o;

-- Bookings --------------------------------------------------------------------------

CREATE TABLE resource (
    account    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;

DROP VIEW bookings;
DROP TABLE booking;
CREATE TABLE booking (
    account        TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    starts_on      TEXT    NOT NULL,         -- YYYY-MM-DD
    ends_on        TEXT    NOT NULL,         -- the first day after it
    amount         INTEGER,
    currency       TEXT,
    on_conflict    TEXT    NOT NULL,
    released       INTEGER NOT NULL,
    canceled       INTEGER NOT NULL,         -- given up by the application
    claim          TEXT,                     -- won, lost: an input once it is there
    lost_to        TEXT,
    status         TEXT    NOT NULL CHECK (status = 'pending' OR status = 'confirmed' OR status = 'cancelled'),
    payment_status TEXT    NOT NULL,
    reason         TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;
CREATE INDEX booking_days ON booking (resource_id, account, ends_on) WHERE status = 'confirmed';

CREATE TABLE booking_session (
    account    TEXT NOT NULL,
    session_id TEXT NOT NULL,
    booking_id TEXT NOT NULL,
    vouched    INTEGER NOT NULL,             -- the application registered it; else a payer came back with it
    PRIMARY KEY (session_id, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX booking_sessions ON booking_session (booking_id, account);

-- The last line of defence: confirmed bookings of a resource never share a day.
CREATE TRIGGER booking_disjoint_insert BEFORE INSERT ON booking WHEN NEW.status = 'confirmed'
BEGIN
    SELECT RAISE(ABORT, 'these days of the resource are taken') WHERE EXISTS (
        SELECT 1 FROM booking b WHERE b.resource_id = NEW.resource_id AND b.account = NEW.account
        AND b.status = 'confirmed' AND b.id <> NEW.id AND b.ends_on > NEW.starts_on AND b.starts_on < NEW.ends_on);
END;
CREATE TRIGGER booking_disjoint_update BEFORE UPDATE ON booking WHEN NEW.status = 'confirmed'
BEGIN
    SELECT RAISE(ABORT, 'these days of the resource are taken') WHERE EXISTS (
        SELECT 1 FROM booking b WHERE b.resource_id = NEW.resource_id AND b.account = NEW.account
        AND b.status = 'confirmed' AND b.id <> NEW.id AND b.ends_on > NEW.starts_on AND b.starts_on < NEW.ends_on);
END;

CREATE VIEW bookings AS
SELECT b.id, b.account, b.resource_id, b.starts_on, b.ends_on, b.amount, b.currency, b.status, b.payment_status,
       b.reason, b.lost_to,
       strftime('%Y-%m-%d %H:%M:%S', b.created_at / 1000000, 'unixepoch') || printf('.%06d', b.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', b.updated_at / 1000000, 'unixepoch') || printf('.%06d', b.updated_at % 1000000) AS updated_at
FROM booking b;

-- Notifications ----------------------------------------------------------------------

-- The outbox is the history: a row that somebody is to be told of says so, in the
-- transaction in which it was observed.
ALTER TABLE history ADD COLUMN notice TEXT;
CREATE INDEX history_notice ON history (account, seq) WHERE notice IS NOT NULL;
CREATE INDEX history_booking ON history (subject_id, account) WHERE subject = 'booking';

DROP VIEW notifications;
DROP TABLE notification;
CREATE VIEW notifications AS
SELECT 'ntf_' || printf('%016x', h.seq) AS id, h.account, h.notice AS type, h.subject_id,
       json_object('type', h.notice,
                   'timestamp', strftime('%Y-%m-%dT%H:%M:%S', h.at / 1000000, 'unixepoch') || printf('.%06dZ', h.at % 1000000),
                   'data', json_object('id', h.subject_id, 'payment_id', p.id, 'from', h.from_status, 'to', h.to_status)
       ) AS payload,
       'unsent' AS state, 0 AS attempts, NULL AS error,
       strftime('%Y-%m-%d %H:%M:%S', h.at / 1000000, 'unixepoch') || printf('.%06d', h.at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', h.at / 1000000, 'unixepoch') || printf('.%06d', h.at % 1000000) AS updated_at
FROM history h LEFT JOIN payment p ON p.number = h.payment
WHERE h.notice IS NOT NULL;

-- The way in ---------------------------------------------------------------------------

-- Whether its endpoint holds a payment of another amount than the registered one.
ALTER TABLE event ADD COLUMN holds_mismatch INTEGER NOT NULL DEFAULT 0;

-- A PayPal signature covers a CRC of the body, which binds nothing: a transmission has
-- the body that came first.
CREATE TABLE transmission (
    account         TEXT    NOT NULL,
    transmission_id TEXT    NOT NULL,
    body_hash       BLOB    NOT NULL,
    received_at     INTEGER NOT NULL,
    PRIMARY KEY (transmission_id, account)
) STRICT, WITHOUT ROWID;

-- A POST that is sent again with the same key does nothing again.
CREATE TABLE idempotency_key (
    account      TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    request_hash BLOB    NOT NULL,
    resource_id  TEXT    NOT NULL,
    was_new      INTEGER NOT NULL,           -- whether it was made then, or was there already
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (key, account)
) STRICT;
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);
