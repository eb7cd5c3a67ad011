-- Work in the background that a person waits for.

-- +goose Up

-- A call that is made for it may use more of the provider's quota.
ALTER TABLE cairn.errands ADD COLUMN awaited boolean NOT NULL DEFAULT false;
