-- A connection says how it is, since when and why, and what happened to it before.

-- +goose Up

-- state: active, or trouble (temporary: the provider does not answer usably), paused (the provider refuses our whole
-- application, or this account's share of it), needs_reconnect (the person's permission is gone). cause says why in a
-- word of ours; the version before this one wrote neither cause nor state_since.
ALTER TABLE cairn.connections DROP CONSTRAINT connections_state_check;
ALTER TABLE cairn.connections ADD CONSTRAINT connections_state CHECK (state IN ('active', 'trouble', 'paused', 'needs_reconnect'));
ALTER TABLE cairn.connections ADD COLUMN state_since timestamptz NOT NULL DEFAULT now();
ALTER TABLE cairn.connections ADD COLUMN cause text NOT NULL DEFAULT '';
ALTER TABLE cairn.connections DROP COLUMN problem;

-- Every change of a connection's state. It belongs to the person and provider, not to the connection, so that it tells of
-- disconnecting and connecting again too.
CREATE TABLE cairn.connection_events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id   bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    provider  text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    state     text NOT NULL CHECK (state IN ('active', 'trouble', 'paused', 'needs_reconnect', 'ended')),
    cause     text NOT NULL,
    status    integer NOT NULL DEFAULT 0, -- the provider's HTTP status, 0 if it gave none
    reference text NOT NULL DEFAULT ''    -- the id of the request that was served, as in the log
);
CREATE INDEX connection_events_user_id_provider ON cairn.connection_events (user_id, provider, id DESC);
