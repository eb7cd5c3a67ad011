-- State of the sandbox providers. Every statement can be repeated; drop the schema to forget everything.
CREATE SCHEMA IF NOT EXISTS cairn_sandbox;

-- One person's consent at one provider, with what was ticked.
CREATE TABLE IF NOT EXISTS cairn_sandbox.grants (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text NOT NULL,
    person      text NOT NULL,
    permissions text[] NOT NULL,
    granted_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, person)
);

CREATE TABLE IF NOT EXISTS cairn_sandbox.codes (
    hash         bytea PRIMARY KEY,
    grant_id     bigint NOT NULL REFERENCES cairn_sandbox.grants ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL, -- PKCE S256; empty where the provider has none
    expires_at   timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS cairn_sandbox.tokens (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grant_id   bigint NOT NULL REFERENCES cairn_sandbox.grants ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('access', 'refresh', 'pull')),
    nonce      bytea NOT NULL, -- with the client secret, makes the token again
    hash       bytea NOT NULL UNIQUE,
    expires_at timestamptz -- NULL: never
);
CREATE INDEX IF NOT EXISTS tokens_grant_id ON cairn_sandbox.tokens (grant_id, kind);

-- What the control page has set; a switch without a row has its default.
CREATE TABLE IF NOT EXISTS cairn_sandbox.switches (
    provider text NOT NULL,
    name     text NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (provider, name)
);
-- How many more times the call fails; NULL: until the switch is set again.
ALTER TABLE cairn_sandbox.switches ADD COLUMN IF NOT EXISTS remaining integer;

-- Every request of ours, refused ones included.
CREATE TABLE IF NOT EXISTS cairn_sandbox.requests (
    provider     text NOT NULL,
    call         text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS requests_call ON cairn_sandbox.requests (provider, call);

-- API calls per quarter of an hour, for the quotas.
CREATE TABLE IF NOT EXISTS cairn_sandbox.quota_use (
    provider text NOT NULL,
    token    bytea NOT NULL, -- hash of the access token where the quota is the token's own; empty: the app's
    quarter  timestamptz NOT NULL,
    calls    integer NOT NULL,
    PRIMARY KEY (provider, token, quarter)
);

-- Strava's push subscription, one for each app.
CREATE TABLE IF NOT EXISTS cairn_sandbox.subscriptions (
    id           bigint GENERATED ALWAYS AS IDENTITY (START 131300) PRIMARY KEY,
    client_id    text NOT NULL UNIQUE,
    callback_url text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- What was posted to us, without addresses and bodies: they hold secrets.
CREATE TABLE IF NOT EXISTS cairn_sandbox.deliveries (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    what     text NOT NULL,
    tries    integer NOT NULL DEFAULT 0,
    result   text NOT NULL DEFAULT '', -- of the last try
    sent_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS deliveries_provider ON cairn_sandbox.deliveries (provider, id);

-- What the control page has added to people's diaries or changed in them; the rest of a diary is made up anew each time.
CREATE SEQUENCE IF NOT EXISTS cairn_sandbox.made_ids START 17000000000;
CREATE TABLE IF NOT EXISTS cairn_sandbox.entries (
    id      bigint PRIMARY KEY,
    person  text NOT NULL,
    kind    text NOT NULL CHECK (kind IN ('outing', 'visit')),
    made_at timestamptz,          -- NULL: the diary has it already
    title   text,                 -- NULL: as it was
    private boolean,              -- NULL: as it was
    deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS entries_person ON cairn_sandbox.entries (person);

-- Garmin answers 409 if the same time is asked for again.
CREATE TABLE IF NOT EXISTS cairn_sandbox.backfills (
    grant_id bigint NOT NULL REFERENCES cairn_sandbox.grants ON DELETE CASCADE,
    asked    text NOT NULL,
    PRIMARY KEY (grant_id, asked)
);

-- All mail that Cairn has sent, to any address.
CREATE TABLE IF NOT EXISTS cairn_sandbox.mail (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       text NOT NULL UNIQUE,
    recipient text NOT NULL,
    subject   text NOT NULL,
    plain     text NOT NULL,
    html      text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
