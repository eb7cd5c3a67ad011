-- Servers know of each other, and which encryption keys the others hold.

-- +goose Up

-- A server that runs. It writes last_seen again and again, by this clock, and deletes its row when it stops.
CREATE TABLE cairn.instances (
    id             text        PRIMARY KEY,
    hostname       text        NOT NULL,
    version        text        NOT NULL,
    schema_version bigint      NOT NULL, -- the newest it knows
    key_ids        text[]      NOT NULL, -- of the encryption keys it holds, the newest first; not the keys
    started        timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now()
);

-- Each server asks every few seconds which keys are in use. The id of its key stands behind the first byte of a sealed value.
CREATE INDEX connections_key ON cairn.connections (encode(substring(sealed_tokens FROM 2 FOR 4), 'hex'));
