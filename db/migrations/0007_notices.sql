-- Owners are told once, by mail, that a connection needs them.

-- +goose Up

-- The state_since that the owner has been told of. With another value, or none, they have not been told of the state it is in.
ALTER TABLE cairn.connections ADD COLUMN noticed_since timestamptz;
