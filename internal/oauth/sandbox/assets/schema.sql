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

-- What the control page has set; a switch without a row stands at its default.
CREATE TABLE IF NOT EXISTS cairn_sandbox.switches (
    provider text NOT NULL,
    name     text NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (provider, name)
);

CREATE TABLE IF NOT EXISTS cairn_sandbox.token_requests (
    provider     text NOT NULL,
    grant_type   text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS token_requests_provider ON cairn_sandbox.token_requests (provider);

-- API calls per quarter of an hour, for the rate limit headers.
CREATE TABLE IF NOT EXISTS cairn_sandbox.usage (
    provider text NOT NULL,
    quarter  timestamptz NOT NULL,
    calls    integer NOT NULL,
    PRIMARY KEY (provider, quarter)
);
