-- People see their sessions and end them, and learn why one ended.

-- +goose Up

-- kept: the session outlives the browser ("Keep me signed in").
ALTER TABLE cairn.sessions ADD COLUMN kept boolean NOT NULL DEFAULT true;

-- What is left of a session for 30 days, so that its browser can be told why it is signed out. token is the hash that the
-- session had; nothing here signs anybody in.
CREATE TABLE cairn.ended_sessions (
    token    text PRIMARY KEY,
    user_id  bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    reason   text NOT NULL CHECK (reason IN ('expired', 'limit', 'signed_out', 'ended', 'password_changed', 'operator')),
    ended_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ended_sessions_ended_at ON cairn.ended_sessions (ended_at);
CREATE INDEX ended_sessions_user_id ON cairn.ended_sessions (user_id);
