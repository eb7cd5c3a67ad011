-- An account at a provider that came from the Node server and does not sign in until its owner has confirmed it.

-- +goose Up

-- The Node server tied an account at a provider to a user by an id that anyone could guess. Such a link does not prove who
-- owns the account, so it may keep a connection going, but opens nothing.
ALTER TABLE cairn.identities ADD COLUMN signs_in boolean NOT NULL DEFAULT true;
