CREATE TABLE webhook_events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id      text        NOT NULL UNIQUE,
    event_type    text        NOT NULL,
    payload       jsonb       NOT NULL,
    processed     boolean     NOT NULL DEFAULT false,
    error_message text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    processed_at  timestamptz
);
CREATE INDEX webhook_events_created_at ON webhook_events (created_at);

CREATE TABLE orders (
    id             text        PRIMARY KEY,
    payment_status text        NOT NULL,
    amount         bigint      NOT NULL,
    currency       text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payments (
    id                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_transaction_id text        NOT NULL UNIQUE,
    order_id               text        REFERENCES orders (id),
    payment_status         text        NOT NULL,
    dispute_status         text        NOT NULL DEFAULT 'none',
    amount                 bigint      NOT NULL,
    currency               text        NOT NULL,
    amount_captured        bigint      NOT NULL DEFAULT 0,
    amount_refunded        bigint      NOT NULL DEFAULT 0,
    failure_code           text,
    failure_message        text,
    captured_at            timestamptz,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payments_order_id ON payments (order_id);

CREATE TABLE order_status_history (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    text        NOT NULL REFERENCES orders (id),
    payment_id  bigint      NOT NULL REFERENCES payments (id),
    from_status text,
    to_status   text        NOT NULL,
    event_id    text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX order_status_history_order_id ON order_status_history (order_id);

CREATE TABLE refunds (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_refund_id text        NOT NULL UNIQUE,
    payment_id        bigint      NOT NULL REFERENCES payments (id),
    status            text        NOT NULL,
    amount            bigint      NOT NULL,
    currency          text        NOT NULL,
    reason            text,
    failure_reason    text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_payment_id ON refunds (payment_id);

CREATE TABLE disputes (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_dispute_id text        NOT NULL UNIQUE,
    payment_id         bigint      NOT NULL REFERENCES payments (id),
    status             text        NOT NULL,
    amount             bigint      NOT NULL,
    currency           text        NOT NULL,
    reason             text,
    due_by             timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX disputes_payment_id ON disputes (payment_id);
