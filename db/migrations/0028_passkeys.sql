-- Passkeys: credentials of WebAuthn that sign in without an address and a password.

-- +goose Up

-- What authenticators know a user by: random, so that it says nothing to anybody else. The row is made when the user
-- first begins to add a passkey, or declines to.
CREATE TABLE cairn.passkey_users (
    user_id        bigint PRIMARY KEY REFERENCES cairn.users ON DELETE CASCADE,
    handle         bytea NOT NULL UNIQUE CHECK (length(handle) = 32),
    offer_declined boolean NOT NULL DEFAULT false -- the home page doesn't offer a passkey any more
);

CREATE TABLE cairn.passkeys (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         bigint NOT NULL REFERENCES cairn.passkey_users ON DELETE CASCADE,
    credential_id   bytea NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key      bytea NOT NULL,
    host            text NOT NULL, -- of PUBLIC_URL when it was made: it signs in there alone
    name            text NOT NULL,
    aaguid          bytea NOT NULL CHECK (length(aaguid) = 16), -- the make of its authenticator; zeros: not told
    transports      text[] NOT NULL DEFAULT '{}', -- how browsers reach the authenticator
    counter         bigint NOT NULL,              -- of its uses, by the authenticator; many don't count
    counter_back_at timestamptz,                  -- when the counter last went back; NULL: never
    backup_eligible boolean NOT NULL,             -- it may be on several devices
    backed_up       boolean NOT NULL,             -- it is
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz
);
CREATE INDEX passkeys_user_id ON cairn.passkeys (user_id);

-- Challenges that were answered, by their SHA-256, until they are no longer good: each is answered once. Those that
-- nobody answered have no row.
CREATE TABLE cairn.used_challenges (
    challenge_hash bytea PRIMARY KEY CHECK (length(challenge_hash) = 32),
    expires_at     timestamptz NOT NULL
);
CREATE INDEX used_challenges_expires_at ON cairn.used_challenges (expires_at);

INSERT INTO cairn.sign_in_methods (key) VALUES ('passkey') ON CONFLICT DO NOTHING;
