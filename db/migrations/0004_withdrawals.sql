-- What a person disconnects is taken back at the provider too, however long that takes.

-- +goose Up

-- A provider that has to be told that its tokens are not wanted any more. user_id is no reference, because telling
-- outlives the account. sealed_tokens is bound to provider and subject; the row is gone when the provider has confirmed.
CREATE TABLE cairn.withdrawals (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          bigint NOT NULL,
    provider         text NOT NULL CHECK (provider IN ('garmin', 'foursquare', 'strava')),
    subject          text NOT NULL,
    sealed_tokens    bytea NOT NULL,
    token_expires_at timestamptz,
    busy_until       timestamptz, -- somebody tells the provider now
    held_until       timestamptz, -- its person is connecting again: telling now would end the new connection
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX withdrawals_user_id_provider ON cairn.withdrawals (user_id, provider);
CREATE INDEX withdrawals_provider_subject ON cairn.withdrawals (provider, subject);

ALTER TABLE cairn.connection_events DROP CONSTRAINT connection_events_state_check;
ALTER TABLE cairn.connection_events ADD CONSTRAINT connection_events_state
    CHECK (state IN ('active', 'trouble', 'paused', 'needs_reconnect', 'withdrawing', 'ended'));

-- When the tokens were stored: refresh tokens that nobody uses lapse at some providers.
ALTER TABLE cairn.connections ADD COLUMN tokens_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX connections_provider_tokens_at ON cairn.connections (provider, tokens_at);
