-- A proxy that TRUSTED_PROXIES does not name gives all people behind it one address, and so the limits of one person.

-- +goose Up

-- The peer that last sent X-Forwarded-For to this server without being trusted; NULL: none has.
ALTER TABLE cairn.instances ADD COLUMN untrusted_proxy inet;
