-- Sessions of the Node server that have ended.

-- +goose Up

-- None of them goes on here, whatever that server writes into its table later: its rows don't say when a session began.
-- They are those that were there when an operator ended all sessions, and those that ended there because ours did.
CREATE TABLE cairn.node_ended_sessions (
    sid      text PRIMARY KEY,
    ended_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX node_ended_sessions_ended_at ON cairn.node_ended_sessions (ended_at);
