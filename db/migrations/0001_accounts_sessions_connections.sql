-- Everything of ours lives in the schema cairn (made by db.Migrate before the first file runs), because the Node server's
-- tables (public.users, public.session, …) stand in the same database during a change-over.

-- +goose Up

CREATE TABLE cairn.users (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    avatar_url   text,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- A way in by e-mail and password. email is as its owner typed it, email_key is what makes it unique (normalised, case
-- folded). The address is unproven: nothing may be decided by it but which password to compare with.
CREATE TABLE cairn.passwords (
    user_id    bigint PRIMARY KEY REFERENCES cairn.users ON DELETE CASCADE,
    email      text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    email_key  text NOT NULL CONSTRAINT passwords_email_key UNIQUE,
    hash       text NOT NULL CHECK (hash LIKE '$argon2id$%'),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- A way in by a provider: an identity is (provider, the provider's own id), never an e-mail or a name.
CREATE TABLE cairn.identities (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    provider   text NOT NULL CHECK (provider IN ('garmin', 'foursquare', 'strava')),
    subject    text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identities_provider_subject UNIQUE (provider, subject),
    UNIQUE (id, user_id, provider)
);
CREATE INDEX identities_user_id ON cairn.identities (user_id);

-- token, data and expiry are pgxstore's layout; the rest is ours. token is a hash (base64url of SHA-256), so a dump of
-- this table signs nobody in. A row always has a user: visitors have no session. last_seen is kept out of every index
-- so that recording it stays a heap-only update.
CREATE TABLE cairn.sessions (
    token      text PRIMARY KEY,
    data       bytea NOT NULL,
    expiry     timestamptz NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT sessions_id UNIQUE,
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    method     text NOT NULL CHECK (method IN ('password', 'garmin', 'foursquare', 'strava')),
    created    timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    address    text NOT NULL DEFAULT '',
    user_agent text NOT NULL DEFAULT '' CHECK (char_length(user_agent) <= 512)
) WITH (fillfactor = 90);
CREATE INDEX sessions_expiry_idx ON cairn.sessions (expiry);
CREATE INDEX sessions_user_id ON cairn.sessions (user_id);

-- One attempt at a provider, taken out by one DELETE … RETURNING. It belongs to the browser that began it: to its session
-- when somebody connects an account, to a short-lived cookie when somebody signs in.
CREATE TABLE cairn.oauth_attempts (
    state_hash   bytea PRIMARY KEY CHECK (length(state_hash) = 32),
    provider     text NOT NULL CHECK (provider IN ('garmin', 'foursquare', 'strava')),
    purpose      text NOT NULL CHECK (purpose IN ('sign_in', 'connect')),
    user_id      bigint REFERENCES cairn.users ON DELETE CASCADE,
    session_id   bigint REFERENCES cairn.sessions (id) ON DELETE CASCADE,
    browser_hash bytea CHECK (length(browser_hash) = 32),
    verifier     text NOT NULL,
    return_path  text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((purpose = 'connect') = (user_id IS NOT NULL AND session_id IS NOT NULL AND browser_hash IS NULL)),
    CHECK ((purpose = 'sign_in') = (user_id IS NULL AND session_id IS NULL AND browser_hash IS NOT NULL))
);
CREATE INDEX oauth_attempts_created_at ON cairn.oauth_attempts (created_at);
CREATE INDEX oauth_attempts_session_id ON cairn.oauth_attempts (session_id);
CREATE INDEX oauth_attempts_browser_hash ON cairn.oauth_attempts (browser_hash);

-- A provider account that we hold tokens for. It hangs on the identity it was proven by; one per person and provider.
-- sealed_tokens is AES-256-GCM, bound to this row, its user and provider. generation counts stored token pairs;
-- refresh_lease is the fencing token of the one instance that may refresh until refresh_lease_until.
CREATE TABLE cairn.connections (
    identity_id         bigint PRIMARY KEY,
    user_id             bigint NOT NULL,
    provider            text NOT NULL,
    account_name        text NOT NULL DEFAULT '',
    picture_url         text NOT NULL DEFAULT '',
    granted             text[] NOT NULL DEFAULT '{}',
    state               text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'needs_reconnect')),
    problem             text NOT NULL DEFAULT '',
    sealed_tokens       bytea NOT NULL,
    token_expires_at    timestamptz,
    generation          bigint NOT NULL DEFAULT 1,
    refresh_lease       text,
    refresh_lease_until timestamptz,
    connected_at        timestamptz NOT NULL DEFAULT now(),
    checked_at          timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (identity_id, user_id, provider)
        REFERENCES cairn.identities (id, user_id, provider) ON DELETE CASCADE,
    CONSTRAINT connections_user_id_provider UNIQUE (user_id, provider)
);

-- Counters of limited actions, shared by all instances. A row past resets_at counts as absent.
CREATE TABLE cairn.rate_limits (
    bucket    text PRIMARY KEY,
    hits      integer NOT NULL,
    resets_at timestamptz NOT NULL
);
CREATE INDEX rate_limits_resets_at ON cairn.rate_limits (resets_at);
