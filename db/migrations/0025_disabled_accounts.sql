-- Accounts that the operator has disabled.

-- +goose Up

-- From when on nobody signs in to the account, and nothing is fetched for it; NULL: it isn't disabled. Servers of the
-- release before don't know, so an account can only be disabled once they are gone.
ALTER TABLE cairn.users ADD COLUMN disabled_at timestamptz;
