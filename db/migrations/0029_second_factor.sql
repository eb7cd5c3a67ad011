-- The second factor: authenticator apps, recovery codes and trusted browsers. Each statement is safe to run twice.

-- +goose NO TRANSACTION
-- +goose Up

-- The accounts that have a second factor. Re-authentication takes two factors then. The row is made with the first
-- passkey or authenticator app, together with recovery codes, and goes with the last one.
CREATE TABLE IF NOT EXISTS cairn.second_factors (
    user_id     bigint PRIMARY KEY REFERENCES cairn.users ON DELETE CASCADE,
    app         bytea,       -- the sealed secret of the authenticator app; NULL: there is no app
    app_since   timestamptz,
    last_step   bigint NOT NULL DEFAULT 0, -- of the last code that was accepted: each works once
    wrong_codes integer NOT NULL DEFAULT 0, -- since the last right one
    CHECK ((app IS NULL) = (app_since IS NULL))
);

-- Which keys are in use is looked up when a server starts, and every minute.
CREATE INDEX IF NOT EXISTS second_factors_key ON cairn.second_factors ((encode(substring(app FROM 2 FOR 4), 'hex')));

-- Recovery codes that are not used yet. The first four letters of a code are stored as they are, so that the rest has
-- to be compared with one hash only.
CREATE TABLE IF NOT EXISTS cairn.recovery_codes (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES cairn.second_factors ON DELETE CASCADE,
    start   text NOT NULL CHECK (length(start) = 4),
    hash    text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, start)
);

-- The sign-in proved two factors: a passkey, or a password or a provider's account and a code.
ALTER TABLE cairn.sessions ADD COLUMN IF NOT EXISTS two_factors boolean NOT NULL DEFAULT false;

-- Until trusted_until, a known browser signs in without a code. user_agent names it in the list.
ALTER TABLE cairn.browsers
    ADD COLUMN IF NOT EXISTS trusted_until timestamptz,
    ADD COLUMN IF NOT EXISTS user_agent text NOT NULL DEFAULT '' CHECK (length(user_agent) <= 512);

CREATE INDEX IF NOT EXISTS browsers_trusted_until ON cairn.browsers (trusted_until) WHERE trusted_until IS NOT NULL;

-- The owner signs in with this account at a provider without a code.
ALTER TABLE cairn.identities ADD COLUMN IF NOT EXISTS skips_code boolean NOT NULL DEFAULT false;
