-- What the change-over from the Node server remembers of rows that it refused, and of an operator who ended all sessions.

-- +goose Up

-- Rows there that an import refused when their owners came here with a session of that server, and ids without a row:
-- for a while, their visits don't look for them again.
CREATE TABLE cairn.node_refused (
    node_id    bigint PRIMARY KEY,
    refused_at timestamptz NOT NULL DEFAULT now()
);

-- When an operator last ended all sessions: none that may have begun at the Node server before is adopted.
ALTER TABLE cairn.node_settings ADD COLUMN ended_since timestamptz;
INSERT INTO cairn.node_settings (way_back) VALUES (false) ON CONFLICT DO NOTHING;
