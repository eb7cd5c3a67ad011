-- A session that begins or ends together with the credential behind it, and browsers that have signed in before.

-- +goose Up

-- method_removed: the sign-in method that began this session is no longer one of the account's, so the session does not
-- count as a recent proof of who uses it.
ALTER TABLE cairn.sessions ADD COLUMN method_removed boolean NOT NULL DEFAULT false;

-- replaced: the same browser went on with a new token. method_removed: a sign-in method was removed elsewhere.
ALTER TABLE cairn.ended_sessions DROP CONSTRAINT ended_sessions_reason_check;
ALTER TABLE cairn.ended_sessions ADD CONSTRAINT ended_sessions_reason_check CHECK (reason IN
    ('expired', 'limit', 'signed_out', 'ended', 'password_changed', 'operator', 'replaced', 'method_removed'));

-- A browser that has signed in to an account before. It knows itself by a random cookie, of which only the hash is here.
-- It signs nobody in: it only keeps strangers' failed sign-ins from locking the owner out.
CREATE TABLE cairn.browsers (
    token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    last_used  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_hash, user_id)
);
CREATE INDEX browsers_user_id ON cairn.browsers (user_id);
CREATE INDEX browsers_last_used ON cairn.browsers (last_used);
