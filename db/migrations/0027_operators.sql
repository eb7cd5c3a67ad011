-- What operators do: accounts that are disabled, and invitations. Each statement is safe to run twice.

-- +goose NO TRANSACTION
-- +goose Up

-- From when on nobody signs in to the account, and nothing is fetched for it; NULL: it isn't disabled. Servers of the
-- release before don't know, so an account can only be disabled once they are gone.
ALTER TABLE cairn.users ADD COLUMN IF NOT EXISTS disabled_at timestamptz;

-- An invitation makes an account for its address. It is about no account.
ALTER TABLE cairn.links
    DROP CONSTRAINT IF EXISTS links_purpose_check,
    DROP CONSTRAINT IF EXISTS links_check,
    ADD CONSTRAINT links_purpose_check CHECK (
        purpose IN ('signup', 'reset', 'verify', 'change', 'undo', 'invite')),
    ADD CONSTRAINT links_check CHECK (user_id IS NOT NULL OR purpose IN ('signup', 'reset', 'invite'));
