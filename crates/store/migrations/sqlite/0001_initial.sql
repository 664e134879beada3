-- Base tables are named in the singular and hold what is fast to write: text ids,
-- instants in integer microseconds, money in minor units. The plural names are
-- views with friendly types, for people and their SQL; they are the contract.

-- What gateways delivered -----------------------------------------------------

-- One row an event. It stays narrow, because every acceptance and every
-- application writes it; bodies and facts have tables of their own.
CREATE TABLE event (
    seq               INTEGER PRIMARY KEY,   -- in the order of acceptance
    account           TEXT    NOT NULL,
    event_id          TEXT    NOT NULL,      -- the gateway's
    gateway           TEXT    NOT NULL,
    mode              TEXT    NOT NULL CHECK (mode = 'live' OR mode = 'test'),
    connected_account TEXT    NOT NULL,      -- '' where there is none
    endpoint          TEXT    NOT NULL,      -- at which it came first
    event_type        TEXT    NOT NULL,
    api_version       TEXT,
    gateway_time      INTEGER,               -- the gateway's own, never used for order
    creates           INTEGER NOT NULL,      -- whether its endpoint makes payments from events
    source            TEXT    NOT NULL,      -- webhook
    received_at       INTEGER NOT NULL,
    settled_at        INTEGER NOT NULL,      -- last applied, ignored or failed; until then when received
    -- No `IN` list: SQLite builds a table for one at each write.
    state             TEXT    NOT NULL CHECK (state = 'applied' OR state = 'pending' OR state = 'ignored'
                                              OR state = 'waiting' OR state = 'failed' OR state = 'dead'),
    due_at            INTEGER,               -- when to apply it; null when there is nothing to do
    attempts          INTEGER NOT NULL,      -- that failed
    error             TEXT,
    writer            TEXT    NOT NULL,      -- with batch: the link of the hash chain that it is in
    batch             INTEGER NOT NULL,
    body_hash         BLOB    NOT NULL       -- SHA-256 of the raw body
) STRICT;
-- SQLite's keys begin with what differs most, because each step of a search compares
-- from the left; on a database that is spread by account they begin with the account.
CREATE UNIQUE INDEX event_identity ON event (event_id, account, gateway, mode, connected_account);
CREATE INDEX event_due ON event (account, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX event_troubled ON event (account, state) WHERE state = 'waiting' OR state = 'failed' OR state = 'dead';

-- Raw bodies, byte for byte; they can be dropped by age while the rest stays.
CREATE TABLE event_body (
    seq     INTEGER PRIMARY KEY REFERENCES event (seq),
    is_json INTEGER NOT NULL,
    body    BLOB    NOT NULL
) STRICT;

-- The same event delivered again in another API version.
CREATE TABLE event_rendering (
    account     TEXT    NOT NULL,
    seq         INTEGER NOT NULL REFERENCES event (seq),
    api_version TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    endpoint    TEXT    NOT NULL,
    writer      TEXT    NOT NULL,
    batch       INTEGER NOT NULL,
    body_hash   BLOB    NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (account, seq, api_version)
) STRICT, WITHOUT ROWID;

-- Deliveries after the first; the first is the event's own row.
CREATE TABLE redelivery (
    account     TEXT    NOT NULL,
    seq         INTEGER NOT NULL REFERENCES event (seq),
    received_at INTEGER NOT NULL,
    endpoint    TEXT    NOT NULL,
    PRIMARY KEY (account, seq, received_at, endpoint)
) STRICT, WITHOUT ROWID;

-- What an event states. Outlives the body, so that state can always be rebuilt.
CREATE TABLE event_facts (
    seq         INTEGER PRIMARY KEY REFERENCES event (seq),
    account     TEXT    NOT NULL,
    payment     INTEGER,                     -- its number, where it concerns one
    object_id   TEXT,
    needs_fetch INTEGER NOT NULL,
    facts       TEXT    NOT NULL
) STRICT;
CREATE INDEX event_facts_payment ON event_facts (payment, account) WHERE payment IS NOT NULL;

-- Attempts to apply an event that failed.
CREATE TABLE failed_attempt (
    account TEXT    NOT NULL,
    seq     INTEGER NOT NULL REFERENCES event (seq),
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    error   TEXT    NOT NULL,
    PRIMARY KEY (account, seq, number)
) STRICT, WITHOUT ROWID;

-- The hash chain: one link an accepted batch, by account and writer.
CREATE TABLE batch (
    account       TEXT    NOT NULL,
    writer        TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    committed_at  INTEGER NOT NULL,
    event_count   INTEGER NOT NULL,
    previous_hash BLOB    NOT NULL,
    hash          BLOB    NOT NULL,
    PRIMARY KEY (account, writer, number)
) STRICT, WITHOUT ROWID;

-- What follows from it ----------------------------------------------------------

-- `facts` is what this row is a function of; the columns are that function's value.
-- Rows that are not visible hold facts whose payment is not known yet.
-- What refers to a payment does so by its number: numbers grow with time, so that an
-- index over them is written where it was written a moment ago.
CREATE TABLE payment (
    number                 INTEGER PRIMARY KEY,
    account                TEXT    NOT NULL,
    id                     TEXT    NOT NULL,
    gateway                TEXT    NOT NULL,
    mode                   TEXT    NOT NULL,
    visible                INTEGER NOT NULL,
    status                 TEXT    NOT NULL,
    dispute_status         TEXT    NOT NULL,
    amount                 INTEGER,
    currency               TEXT,
    amount_captured        INTEGER NOT NULL,
    amount_refunded        INTEGER NOT NULL,
    amount_refunding       INTEGER NOT NULL,
    captured_at            INTEGER,
    gateway_transaction_id TEXT,
    order_id               TEXT,
    customer               TEXT,
    method                 TEXT,
    description            TEXT,
    failure_code           TEXT,
    failure_message        TEXT,
    failed_attempts        INTEGER NOT NULL,
    gateway_response       TEXT    NOT NULL,
    metadata               TEXT    NOT NULL,
    flags                  TEXT    NOT NULL,
    facts                  TEXT    NOT NULL,
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL,
    UNIQUE (id, account)
) STRICT;
CREATE INDEX payment_order ON payment (order_id, account) WHERE order_id IS NOT NULL;

-- To which payment each of the gateway's objects belongs.
CREATE TABLE gateway_object (
    account    TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    mode       TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    PRIMARY KEY (object_id, kind, account, gateway, mode)
) STRICT, WITHOUT ROWID;

-- Ids that a payment had before facts showed that it is another one.
CREATE TABLE payment_alias (
    account    TEXT NOT NULL,
    alias      TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    PRIMARY KEY (account, alias)
) STRICT, WITHOUT ROWID;

CREATE TABLE merchant_order (
    account         TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    payment_status  TEXT    NOT NULL,
    amount_due      INTEGER,               -- null until the application registers it
    currency        TEXT,
    amount_paid     INTEGER NOT NULL,
    amount_refunded INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;

CREATE TABLE refund (
    account           TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    payment_id        TEXT    NOT NULL,
    gateway_refund_id TEXT    NOT NULL,
    charge_id         TEXT,
    status            TEXT    NOT NULL,
    amount            INTEGER NOT NULL,
    currency          TEXT,
    reason            TEXT,
    failure_reason    TEXT,
    gateway_time      INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;
CREATE INDEX refund_payment ON refund (payment_id, account);

CREATE TABLE dispute (
    account            TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    payment_id         TEXT    NOT NULL,
    gateway_dispute_id TEXT    NOT NULL,
    charge_id          TEXT,
    status             TEXT    NOT NULL,
    stage              TEXT,
    amount             INTEGER,
    currency           TEXT,
    reason             TEXT,
    due_by             INTEGER,
    net                INTEGER NOT NULL,
    gateway_time       INTEGER,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    PRIMARY KEY (id, account)
) STRICT;
CREATE INDEX dispute_payment ON dispute (payment_id, account);

-- Every stored transition, in the order in which it was observed.
CREATE TABLE history (
    seq         INTEGER PRIMARY KEY,
    account     TEXT    NOT NULL,
    subject     TEXT    NOT NULL,            -- payment, payment_dispute, order, refund, dispute
    subject_id  TEXT    NOT NULL,
    payment     INTEGER NOT NULL,            -- the number of the one through which it came
    from_status TEXT,
    to_status   TEXT    NOT NULL,
    event_seq   INTEGER NOT NULL,
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX history_order ON history (subject_id, account) WHERE subject = 'order';
CREATE INDEX history_payment ON history (payment, account);

-- Who may ask -------------------------------------------------------------------

CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,
    account    TEXT,                          -- null: all accounts
    scope      TEXT    NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE,       -- SHA-256 of the key
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- Laid down for what is to come, so that their names can be queried today ---------

CREATE TABLE booking (
    account        TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    resource_id    TEXT    NOT NULL,
    starts_on      TEXT    NOT NULL,
    ends_on        TEXT    NOT NULL,          -- the first day after it
    status         TEXT    NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    payment_status TEXT    NOT NULL CHECK (payment_status IN ('pending', 'paid', 'failed', 'refunded')),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT;

CREATE TABLE notification (
    account    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    error      TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT;

-- The contract: names and types for people ---------------------------------------

-- Times read like SQLite's own datetime(), so that they compare with it.
CREATE VIEW webhook_events AS
SELECT e.seq AS id, e.account, e.gateway, e.endpoint, e.mode, e.connected_account, e.event_id, e.event_type,
       e.api_version, CASE WHEN b.is_json THEN CAST(b.body AS TEXT) END AS payload, e.state,
       e.state IN ('applied', 'ignored') AS processed, e.error AS error_message, e.attempts, e.source,
       strftime('%Y-%m-%d %H:%M:%S', e.received_at / 1000000, 'unixepoch') || printf('.%06d', e.received_at % 1000000) AS created_at,
       CASE WHEN e.state IN ('applied', 'ignored')
            THEN strftime('%Y-%m-%d %H:%M:%S', e.settled_at / 1000000, 'unixepoch') || printf('.%06d', e.settled_at % 1000000) END AS processed_at
FROM event e LEFT JOIN event_body b ON b.seq = e.seq;

CREATE VIEW payments AS
SELECT p.id, p.account, p.gateway, p.mode, p.order_id, p.status AS payment_status, p.dispute_status, p.amount,
       p.currency, p.amount_captured, p.amount_refunded, p.amount_refunding, p.gateway_transaction_id, p.customer,
       p.method, p.description, p.failure_code, p.failure_message, p.gateway_response, p.metadata, p.flags,
       strftime('%Y-%m-%d %H:%M:%S', p.captured_at / 1000000, 'unixepoch') || printf('.%06d', p.captured_at % 1000000) AS captured_at,
       strftime('%Y-%m-%d %H:%M:%S', p.created_at / 1000000, 'unixepoch') || printf('.%06d', p.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', p.updated_at / 1000000, 'unixepoch') || printf('.%06d', p.updated_at % 1000000) AS updated_at
FROM payment p WHERE p.visible;

CREATE VIEW orders AS
SELECT o.id, o.account, o.payment_status, o.amount_due AS amount, o.currency, o.amount_paid, o.amount_refunded,
       strftime('%Y-%m-%d %H:%M:%S', o.created_at / 1000000, 'unixepoch') || printf('.%06d', o.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', o.updated_at / 1000000, 'unixepoch') || printf('.%06d', o.updated_at % 1000000) AS updated_at
FROM merchant_order o;

CREATE VIEW order_status_history AS
SELECT h.seq AS id, h.account, h.subject_id AS order_id, p.id AS payment_id, h.from_status, h.to_status, e.event_id,
       strftime('%Y-%m-%d %H:%M:%S', h.at / 1000000, 'unixepoch') || printf('.%06d', h.at % 1000000) AS created_at
FROM history h LEFT JOIN event e ON e.seq = h.event_seq LEFT JOIN payment p ON p.number = h.payment
WHERE h.subject = 'order';

CREATE VIEW refunds AS
SELECT r.id, r.account, r.payment_id, r.gateway_refund_id, r.charge_id, r.status, r.amount, r.currency, r.reason,
       r.failure_reason, strftime('%Y-%m-%d %H:%M:%S', r.created_at / 1000000, 'unixepoch') || printf('.%06d', r.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', r.updated_at / 1000000, 'unixepoch') || printf('.%06d', r.updated_at % 1000000) AS updated_at
FROM refund r;

CREATE VIEW disputes AS
SELECT d.id, d.account, d.payment_id, d.gateway_dispute_id, d.charge_id, d.status, d.stage, d.amount, d.currency,
       d.reason, d.net, strftime('%Y-%m-%d %H:%M:%S', d.due_by / 1000000, 'unixepoch') || printf('.%06d', d.due_by % 1000000) AS due_by,
       strftime('%Y-%m-%d %H:%M:%S', d.created_at / 1000000, 'unixepoch') || printf('.%06d', d.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', d.updated_at / 1000000, 'unixepoch') || printf('.%06d', d.updated_at % 1000000) AS updated_at
FROM dispute d;

CREATE VIEW bookings AS
SELECT b.id, b.account, b.resource_id, b.starts_on, b.ends_on, b.status, b.payment_status,
       strftime('%Y-%m-%d %H:%M:%S', b.created_at / 1000000, 'unixepoch') || printf('.%06d', b.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', b.updated_at / 1000000, 'unixepoch') || printf('.%06d', b.updated_at % 1000000) AS updated_at
FROM booking b;

CREATE VIEW notifications AS
SELECT n.id, n.account, n.type, n.payload, n.state, n.attempts, n.error,
       strftime('%Y-%m-%d %H:%M:%S', n.created_at / 1000000, 'unixepoch') || printf('.%06d', n.created_at % 1000000) AS created_at,
       strftime('%Y-%m-%d %H:%M:%S', n.updated_at / 1000000, 'unixepoch') || printf('.%06d', n.updated_at % 1000000) AS updated_at
FROM notification n;
