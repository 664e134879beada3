-- The tables of migrations/sqlite, for PostgreSQL 15 and later. Base tables are named
-- in the singular and hold what is fast to write: text ids, instants in integer
-- microseconds, money in minor units. The plural names are views with friendly types,
-- for people and their SQL; they are the contract.
--
-- Every primary key and unique constraint begins with the account, so that the tables
-- can be spread over a sharded PostgreSQL by it. Texts are compared byte by byte
-- (COLLATE "C"), as in SQLite and in the program: keys page in the same order
-- everywhere, and an upgrade of the system's collations breaks no index. There are no
-- foreign keys: the statements keep them, and checking each row would cost a search
-- and a row lock.

-- Under another encoding, or none, texts would not come back as they went in.
DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the encoding of database % is %, and has to be UTF8: create it with ENCODING ''UTF8'' TEMPLATE template0',
            current_database(), current_setting('server_encoding');
    END IF;
END $$;

-- For the constraint that keeps bookings disjoint.
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- What views are made of ---------------------------------------------------------

-- Immutable, as adding an interval is not, so that an index can hold it; exact to the
-- microsecond, because a double holds today's seconds to a quarter of one and
-- to_timestamp rounds.
CREATE FUNCTION quittance_time(micros bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_timestamp(micros / 1000000::double precision);

-- Null for what jsonb cannot hold, although it may be JSON: a \u0000, half of a
-- surrogate pair, a number out of range, nesting that is too deep. One such row must
-- not fail everybody's query. Not parallel safe: catching needs a subtransaction.
CREATE FUNCTION quittance_json(json text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT COST 1000 AS $$
BEGIN
    RETURN json::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END $$;

-- As above, of bytes; null also where they are not UTF-8.
CREATE FUNCTION quittance_json(body bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT COST 1000 AS $$
BEGIN
    RETURN convert_from(body, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END $$;

-- Whose data there is. A transaction that changes what is derived or registered of an
-- account holds its row, so that there is one at a time.
CREATE TABLE account (
    account text COLLATE "C" PRIMARY KEY
);

-- What gateways delivered -----------------------------------------------------

-- Grows with acceptance; with several writers only nearly so. An accepting transaction
-- takes a block of numbers, so that the events of a batch have theirs in the order in
-- which they came; what it does not use is missing.
CREATE SEQUENCE event_seq INCREMENT BY 1024;

-- One row an event. It stays narrow, because every acceptance and every application
-- writes it; bodies and facts have tables of their own. Columns of fixed width come
-- first, so that no padding is stored. Room is left on each page for the version that
-- application writes. That update is in every index of the table, because `due_at` and
-- `state` are indexed: each index here costs two entries an event.
CREATE TABLE event (
    seq               bigint  NOT NULL,
    received_at       bigint  NOT NULL,
    settled_at        bigint  NOT NULL,      -- last applied, ignored or failed; until then when received
    attempts          bigint  NOT NULL,      -- that failed
    batch             bigint  NOT NULL,
    creates           boolean NOT NULL,      -- whether its endpoint makes payments from events
    holds_mismatch    boolean NOT NULL DEFAULT false, -- whether its endpoint holds a payment of another amount
    account           text COLLATE "C" NOT NULL,
    event_id          text COLLATE "C" NOT NULL, -- the gateway's
    gateway           text COLLATE "C" NOT NULL,
    mode              text COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    connected_account text COLLATE "C" NOT NULL, -- '' where there is none
    endpoint          text COLLATE "C" NOT NULL, -- at which it came first
    event_type        text COLLATE "C" NOT NULL,
    source            text COLLATE "C" NOT NULL, -- webhook
    state             text COLLATE "C" NOT NULL
                      CHECK (state IN ('applied', 'pending', 'ignored', 'waiting', 'failed', 'dead')),
    writer            text COLLATE "C" NOT NULL, -- with batch: the link of the hash chain that it is in
    body_hash         bytea   NOT NULL,      -- SHA-256 of the raw body
    due_at            bigint,                -- when to apply it; null when there is nothing to do
    gateway_time      bigint,                -- the gateway's own, never used for order
    api_version       text COLLATE "C",
    error             text COLLATE "C",
    PRIMARY KEY (account, seq),
    CONSTRAINT event_identity UNIQUE (account, event_id, gateway, mode, connected_account)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- What was due leaves dead entries at its low end until the table is vacuumed; hence
-- the vacuuming above, and a claim had better say from which instant on it looks.
CREATE INDEX event_due ON event (account, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX event_troubled ON event (account, state, seq) WHERE state IN ('waiting', 'failed', 'dead');
-- Of few rows too: what people's monitoring asks for, without an account.
CREATE INDEX event_unprocessed ON event (quittance_time(received_at))
    WHERE state NOT IN ('applied', 'ignored') AND error IS NOT NULL;
-- The lists' other filters, people's `created_at > …`, and the links of the chain that are
-- verified together. A list of what is common walks the primary key backwards and soon
-- has a page; these find what is rare, without reading the rest. They keep a summary of
-- each half megabyte instead of entries, and vacuum makes it: measured, both cost about a
-- twentieth of an event's two writes, where one B-tree by type cost a fifth.
-- Two, because what grows with each row would have all of a summary written again.
CREATE INDEX event_times ON event USING brin (received_at, quittance_time(received_at)) WITH (pages_per_range = 64);
CREATE INDEX event_words ON event USING brin (
    batch int8_minmax_multi_ops, event_type text_bloom_ops (n_distinct_per_range = 64),
    endpoint text_bloom_ops (n_distinct_per_range = 64), gateway text_bloom_ops (n_distinct_per_range = 64)
) WITH (pages_per_range = 64);

-- Raw bodies, byte for byte; they can be dropped by age while the rest stays, which is
-- why they are partitioned by time (`received_at` is the event's) and why the key holds
-- it. The program makes the dated partitions.
--
-- Bodies are stored as they are: processors are scarcer than disks here, and a body is
-- read once or twice, soon after it came. Measured, PostgreSQL's own compression costs
-- several times the insert; lz4 costs a third more, and not every server has it. Most
-- bodies have 2 to 4 kB, just above the size at which PostgreSQL would move them to a
-- table beside this one, with an index to be written and searched; up to 8 kB they stay
-- in the row. STORAGE is handed down to partitions, the target is not: each has to be
-- made WITH (toast_tuple_target = 8160).
CREATE TABLE event_body (
    seq         bigint  NOT NULL,
    received_at bigint  NOT NULL,
    is_json     boolean NOT NULL,
    account     text COLLATE "C" NOT NULL,
    body        bytea   NOT NULL,
    PRIMARY KEY (account, seq, received_at)
) PARTITION BY RANGE (received_at);
ALTER TABLE event_body ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE event_body_default PARTITION OF event_body DEFAULT WITH (toast_tuple_target = 8160);

-- The same event delivered again in another API version.
CREATE TABLE event_rendering (
    account     text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    api_version text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    endpoint    text COLLATE "C" NOT NULL,
    writer      text COLLATE "C" NOT NULL,
    batch       bigint NOT NULL,
    body_hash   bytea  NOT NULL,
    body        bytea  NOT NULL,
    PRIMARY KEY (account, seq, api_version)
) WITH (toast_tuple_target = 8160);
ALTER TABLE event_rendering ALTER COLUMN body SET STORAGE EXTERNAL;

-- Deliveries after the first; the first is the event's own row.
CREATE TABLE redelivery (
    account     text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    received_at bigint NOT NULL,
    endpoint    text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, seq, received_at, endpoint)
);

-- What an event states. Outlives the body, so that state can always be rebuilt.
CREATE TABLE event_facts (
    seq         bigint  NOT NULL,
    payment     bigint,                      -- its number, where it concerns one
    needs_fetch boolean NOT NULL,
    account     text COLLATE "C" NOT NULL,
    object_id   text COLLATE "C",
    facts       text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, seq)
) WITH (toast_tuple_target = 8160);
CREATE INDEX event_facts_payment ON event_facts (account, payment) WHERE payment IS NOT NULL;

-- Attempts to apply an event that failed.
CREATE TABLE failed_attempt (
    account text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    number  bigint NOT NULL,
    at      bigint NOT NULL,
    error   text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, seq, number)
);

-- The hash chains: one link an accepted batch, by account and writer.
CREATE TABLE batch (
    account       text COLLATE "C" NOT NULL,
    writer        text COLLATE "C" NOT NULL,
    number        bigint NOT NULL,
    committed_at  bigint NOT NULL,
    event_count   bigint NOT NULL,
    previous_hash bytea  NOT NULL,
    hash          bytea  NOT NULL,
    PRIMARY KEY (account, writer, number)
);

-- The newest link of each chain. Who accepts takes one that nobody holds (FOR UPDATE
-- SKIP LOCKED) and adds to its chain. Few rows, each written by every batch: pages are
-- left nearly empty, so that new versions stay on theirs and no index is written.
CREATE TABLE chain_head (
    account text COLLATE "C" NOT NULL,
    writer  text COLLATE "C" NOT NULL,
    number  bigint NOT NULL,
    hash    bytea  NOT NULL,
    PRIMARY KEY (account, writer)
) WITH (fillfactor = 10);

-- What follows from it ----------------------------------------------------------

CREATE SEQUENCE payment_number;

-- `facts` is what this row is a function of; the columns are that function's value.
-- Rows that are not visible hold facts whose payment is not known yet.
-- What refers to a payment does so by its number: numbers grow with time, so that an
-- index over them is written where it was written a moment ago.
-- Every event of a payment writes its row anew, and about when its neighbours' are. Half
-- of each page is left for that (measured, writing takes a quarter less time than with
-- four fifths full, and the table ends no larger), and there is no index on what changes
-- (the status, whether it is visible), so that mostly no index is written: a list by
-- status walks the account's payments backwards.
CREATE TABLE payment (
    number                 bigint  NOT NULL DEFAULT nextval('payment_number'),
    created_at             bigint  NOT NULL,
    updated_at             bigint  NOT NULL,
    amount_captured        bigint  NOT NULL,
    amount_refunded        bigint  NOT NULL,
    amount_refunding       bigint  NOT NULL,
    failed_attempts        bigint  NOT NULL,
    visible                boolean NOT NULL,
    account                text COLLATE "C" NOT NULL,
    id                     text COLLATE "C" NOT NULL,
    gateway                text COLLATE "C" NOT NULL,
    mode                   text COLLATE "C" NOT NULL,
    status                 text COLLATE "C" NOT NULL,
    dispute_status         text COLLATE "C" NOT NULL,
    amount                 bigint,
    captured_at            bigint,
    currency               text COLLATE "C",
    gateway_transaction_id text COLLATE "C",
    transaction_id         text COLLATE "C",
    external_id            text COLLATE "C",
    order_id               text COLLATE "C",
    booking_id             text COLLATE "C",
    hold_reason            text COLLATE "C",
    customer               text COLLATE "C",
    method                 text COLLATE "C",
    description            text COLLATE "C",
    failure_code           text COLLATE "C",
    failure_message        text COLLATE "C",
    gateway_response       text COLLATE "C" NOT NULL,
    metadata               text COLLATE "C" NOT NULL,
    flags                  text COLLATE "C" NOT NULL,
    facts                  text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT payment_number_unique UNIQUE (account, number)
) WITH (fillfactor = 50, toast_tuple_target = 8160);
CREATE INDEX payment_order ON payment (account, order_id) WHERE order_id IS NOT NULL;
CREATE INDEX payment_booking ON payment (account, booking_id) WHERE booking_id IS NOT NULL;

-- To which payment each of the gateway's objects belongs. The object comes before the
-- rest of the key, because registering looks for it under any gateway.
CREATE TABLE gateway_object (
    account    text COLLATE "C" NOT NULL,
    gateway    text COLLATE "C" NOT NULL,
    mode       text COLLATE "C" NOT NULL,
    object_id  text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, object_id, kind, gateway, mode)
);

-- Ids that a payment had before facts showed that it is another one.
CREATE TABLE payment_alias (
    account    text COLLATE "C" NOT NULL,
    alias      text COLLATE "C" NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, alias)
);
CREATE INDEX payment_alias_of ON payment_alias (account, payment_id);

-- Rows of the following tables are numbered for the lists, newest first, which SQLite's
-- row ids do there.
CREATE SEQUENCE merchant_order_number;
CREATE SEQUENCE refund_number;
CREATE SEQUENCE dispute_number;
CREATE SEQUENCE resource_number;
CREATE SEQUENCE booking_number;

CREATE TABLE merchant_order (
    account         text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    rowid           bigint NOT NULL DEFAULT nextval('merchant_order_number'),
    payment_status  text COLLATE "C" NOT NULL,
    amount_due      bigint,                  -- null until the application registers it
    currency        text COLLATE "C",
    amount_paid     bigint NOT NULL,
    amount_refunded bigint NOT NULL,
    customer        text COLLATE "C",
    metadata        text COLLATE "C",
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT merchant_order_rowid_unique UNIQUE (account, rowid)
) WITH (fillfactor = 80);

CREATE TABLE refund (
    account           text COLLATE "C" NOT NULL,
    id                text COLLATE "C" NOT NULL,
    rowid             bigint NOT NULL DEFAULT nextval('refund_number'),
    payment_id        text COLLATE "C" NOT NULL,
    gateway_refund_id text COLLATE "C" NOT NULL,
    charge_id         text COLLATE "C",
    status            text COLLATE "C" NOT NULL,
    amount            bigint NOT NULL,
    currency          text COLLATE "C",
    reason            text COLLATE "C",
    failure_reason    text COLLATE "C",
    gateway_time      bigint,
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT refund_rowid_unique UNIQUE (account, rowid)
) WITH (fillfactor = 80);
CREATE INDEX refund_payment ON refund (account, payment_id);

CREATE TABLE dispute (
    account            text COLLATE "C" NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    rowid              bigint NOT NULL DEFAULT nextval('dispute_number'),
    payment_id         text COLLATE "C" NOT NULL,
    gateway_dispute_id text COLLATE "C" NOT NULL,
    charge_id          text COLLATE "C",
    status             text COLLATE "C" NOT NULL,
    stage              text COLLATE "C",
    amount             bigint,
    currency           text COLLATE "C",
    reason             text COLLATE "C",
    due_by             bigint,
    net                bigint NOT NULL,
    gateway_time       bigint,
    created_at         bigint NOT NULL,
    updated_at         bigint NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT dispute_rowid_unique UNIQUE (account, rowid)
) WITH (fillfactor = 80);
CREATE INDEX dispute_payment ON dispute (account, payment_id);

CREATE SEQUENCE history_seq;

-- Every stored transition, in the order in which it was observed. It is the outbox too: a
-- row that somebody is to be told of says so in `notice`.
CREATE TABLE history (
    seq         bigint NOT NULL DEFAULT nextval('history_seq'),
    payment     bigint NOT NULL,             -- the number of the one through which it came; 0 for none
    event_seq   bigint NOT NULL,             -- 0 where no event caused it
    at          bigint NOT NULL,
    account     text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,   -- payment, payment_dispute, order, refund, dispute, booking
    subject_id  text COLLATE "C" NOT NULL,
    from_status text COLLATE "C",
    to_status   text COLLATE "C" NOT NULL,
    notice      text COLLATE "C",
    PRIMARY KEY (account, seq)
);
CREATE INDEX history_payment ON history (account, payment);
CREATE INDEX history_order ON history (account, subject_id) WHERE subject = 'order';
CREATE INDEX history_booking ON history (account, subject_id) WHERE subject = 'booking';
CREATE INDEX history_notice ON history (account, seq) WHERE notice IS NOT NULL;

-- What the application registers ------------------------------------------------

-- As it was registered, with the names that were added since.
CREATE TABLE payment_registration (
    account      text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    registration text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    PRIMARY KEY (account, id)
);

-- Under which names registered payments are found; a name of one kind means one payment.
CREATE TABLE payment_name (
    account    text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,    -- id, transaction, external, gateway
    payment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, name, kind)
);

-- Names that gateways' statements gave, of payments, bookings and orders that may be
-- registered later.
CREATE TABLE wanted_name (
    account    text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,    -- payment, booking, order
    payment_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, name, kind, payment_id)
);
CREATE INDEX wanted_by ON wanted_name (account, payment_id);

CREATE TABLE resource (
    account    text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    rowid      bigint NOT NULL DEFAULT nextval('resource_number'),
    name       text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT resource_rowid_unique UNIQUE (account, rowid)
);

CREATE TABLE booking (
    account        text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    rowid          bigint  NOT NULL DEFAULT nextval('booking_number'),
    resource_id    text COLLATE "C" NOT NULL,
    starts_on      text COLLATE "C" NOT NULL, -- YYYY-MM-DD
    ends_on        text COLLATE "C" NOT NULL, -- the first day after it
    -- By way of make_date, because a cast of text to date hangs on the session's DateStyle.
    days           daterange NOT NULL GENERATED ALWAYS AS (daterange(
                       make_date(substr(starts_on, 1, 4)::integer, substr(starts_on, 6, 2)::integer,
                                 substr(starts_on, 9, 2)::integer),
                       make_date(substr(ends_on, 1, 4)::integer, substr(ends_on, 6, 2)::integer,
                                 substr(ends_on, 9, 2)::integer))) STORED,
    amount         bigint,
    currency       text COLLATE "C",
    on_conflict    text COLLATE "C" NOT NULL,
    released       boolean NOT NULL,
    canceled       boolean NOT NULL,         -- given up by the application
    claim          text COLLATE "C",         -- won, lost: an input once it is there
    lost_to        text COLLATE "C",
    status         text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    payment_status text COLLATE "C" NOT NULL,
    reason         text COLLATE "C",
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL,
    PRIMARY KEY (account, id),
    CONSTRAINT booking_rowid_unique UNIQUE (account, rowid),
    -- The last line of defence: confirmed bookings of a resource never share a day.
    CONSTRAINT booking_disjoint EXCLUDE USING gist (account WITH =, resource_id WITH =, days WITH &&)
        WHERE (status = 'confirmed')
);
CREATE INDEX booking_days ON booking (account, resource_id, ends_on) WHERE status = 'confirmed';

CREATE TABLE booking_session (
    account    text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    booking_id text COLLATE "C" NOT NULL,
    vouched    boolean NOT NULL,             -- the application registered it; else a payer came back with it
    PRIMARY KEY (account, session_id)
);
CREATE INDEX booking_sessions ON booking_session (account, booking_id);

-- The way in ---------------------------------------------------------------------------

-- A PayPal signature covers a CRC of the body, which binds nothing: a transmission has
-- the body that came first.
CREATE TABLE transmission (
    account         text COLLATE "C" NOT NULL,
    transmission_id text COLLATE "C" NOT NULL,
    body_hash       bytea  NOT NULL,
    received_at     bigint NOT NULL,
    PRIMARY KEY (account, transmission_id)
);

-- A POST that is sent again with the same key does nothing again.
CREATE TABLE idempotency_key (
    account      text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    request_hash bytea   NOT NULL,
    resource_id  text COLLATE "C" NOT NULL,
    was_new      boolean NOT NULL,           -- whether it was made then, or was there already
    created_at   bigint  NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_key_age ON idempotency_key (account, created_at);

-- Who may ask. The one table whose keys do not begin with the account: a key is found
-- before it is known whose it is, and may be for all accounts. It is small, and on a
-- sharded PostgreSQL every node has a copy of it (a reference table).
CREATE TABLE api_key (
    id         text COLLATE "C" PRIMARY KEY,
    account    text COLLATE "C",             -- null: all accounts
    scope      text COLLATE "C" NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    name       text COLLATE "C" NOT NULL,
    hash       bytea  NOT NULL,              -- SHA-256 of the key
    created_at bigint NOT NULL,
    revoked_at bigint,
    CONSTRAINT api_key_hash UNIQUE (hash)
);

-- The contract: names and types for people ---------------------------------------

-- The payload is a subquery and not a join, so that who does not ask for it does not read
-- bodies: a join with a partitioned table is made even where nothing of it is wanted.
CREATE VIEW webhook_events AS
SELECT e.seq AS id, e.account, e.gateway, e.endpoint, e.mode, e.connected_account, e.event_id, e.event_type,
       e.api_version,
       (SELECT CASE WHEN b.is_json THEN quittance_json(b.body) END FROM event_body b
        WHERE b.account = e.account AND b.seq = e.seq AND b.received_at = e.received_at) AS payload, e.state,
       e.state IN ('applied', 'ignored') AS processed, e.error AS error_message, e.attempts, e.source,
       quittance_time(e.received_at) AS created_at,
       CASE WHEN e.state IN ('applied', 'ignored') THEN quittance_time(e.settled_at) END AS processed_at
FROM event e;

CREATE VIEW payments AS
SELECT p.id, p.account, p.gateway, p.mode, p.order_id, p.booking_id, p.transaction_id, p.external_id,
       p.status AS payment_status, p.hold_reason, p.dispute_status, p.amount,
       p.currency, p.amount_captured, p.amount_refunded, p.amount_refunding, p.gateway_transaction_id, p.customer,
       p.method, p.description, p.failure_code, p.failure_message,
       quittance_json(p.gateway_response) AS gateway_response, quittance_json(p.metadata) AS metadata,
       quittance_json(p.flags) AS flags, quittance_time(p.captured_at) AS captured_at,
       quittance_time(p.created_at) AS created_at, quittance_time(p.updated_at) AS updated_at
FROM payment p WHERE p.visible;

CREATE VIEW orders AS
SELECT o.id, o.account, o.payment_status, o.amount_due AS amount, o.currency, o.amount_paid, o.amount_refunded,
       quittance_json(o.customer) AS customer, quittance_json(o.metadata) AS metadata,
       quittance_time(o.created_at) AS created_at, quittance_time(o.updated_at) AS updated_at
FROM merchant_order o;

CREATE VIEW order_status_history AS
SELECT h.seq AS id, h.account, h.subject_id AS order_id, p.id AS payment_id, h.from_status, h.to_status, e.event_id,
       quittance_time(h.at) AS created_at
FROM history h
LEFT JOIN event e ON e.account = h.account AND e.seq = h.event_seq
LEFT JOIN payment p ON p.account = h.account AND p.number = h.payment
WHERE h.subject = 'order';

CREATE VIEW refunds AS
SELECT r.id, r.account, r.payment_id, r.gateway_refund_id, r.charge_id, r.status, r.amount, r.currency, r.reason,
       r.failure_reason, quittance_time(r.created_at) AS created_at, quittance_time(r.updated_at) AS updated_at
FROM refund r;

CREATE VIEW disputes AS
SELECT d.id, d.account, d.payment_id, d.gateway_dispute_id, d.charge_id, d.status, d.stage, d.amount, d.currency,
       d.reason, d.net, quittance_time(d.due_by) AS due_by, quittance_time(d.created_at) AS created_at,
       quittance_time(d.updated_at) AS updated_at
FROM dispute d;

CREATE VIEW bookings AS
SELECT b.id, b.account, b.resource_id, lower(b.days) AS starts_on, upper(b.days) AS ends_on, b.amount, b.currency,
       b.status, b.payment_status, b.reason, b.lost_to, quittance_time(b.created_at) AS created_at,
       quittance_time(b.updated_at) AS updated_at
FROM booking b;

CREATE VIEW notifications AS
SELECT 'ntf_' || lpad(to_hex(h.seq), 16, '0') AS id, h.account, h.notice AS type, h.subject_id,
       jsonb_build_object(
           'type', h.notice,
           'timestamp', to_char(quittance_time(h.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'data', jsonb_build_object('id', h.subject_id, 'payment_id', p.id, 'from', h.from_status, 'to', h.to_status)
       ) AS payload,
       'unsent'::text AS state, 0::bigint AS attempts, NULL::text AS error,
       quittance_time(h.at) AS created_at, quittance_time(h.at) AS updated_at
FROM history h LEFT JOIN payment p ON p.account = h.account AND p.number = h.payment
WHERE h.notice IS NOT NULL;
