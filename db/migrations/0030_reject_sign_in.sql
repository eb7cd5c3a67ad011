-- A link in the message about a sign-in in a new browser takes back what was done since.

-- +goose Up

ALTER TABLE cairn.links
    DROP CONSTRAINT links_purpose_check,
    ADD CONSTRAINT links_purpose_check CHECK (
        purpose IN ('signup', 'reset', 'verify', 'change', 'undo', 'invite', 'reject'));
