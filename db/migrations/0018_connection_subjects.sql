-- A connection names its account at the provider itself, so that work on connections reads no other feature's tables.
--
-- Each statement is a transaction of its own, and can be repeated (0017).

-- +goose NO TRANSACTION
-- +goose Up

ALTER TABLE cairn.identities VALIDATE CONSTRAINT identities_provider;
ALTER TABLE cairn.sessions VALIDATE CONSTRAINT sessions_method;
ALTER TABLE cairn.oauth_attempts VALIDATE CONSTRAINT oauth_attempts_provider;
ALTER TABLE cairn.withdrawals VALIDATE CONSTRAINT withdrawals_provider;
ALTER TABLE cairn.budgets VALIDATE CONSTRAINT budgets_provider;

-- An identity never changes its subject.
ALTER TABLE cairn.connections ADD COLUMN IF NOT EXISTS subject text;
-- The release before this one inserts connections without a subject. The next one can drop this trigger.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.connection_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT subject INTO NEW.subject FROM cairn.identities WHERE id = NEW.identity_id;
    RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS connection_subject ON cairn.connections;
CREATE TRIGGER connection_subject BEFORE INSERT ON cairn.connections
    FOR EACH ROW WHEN (NEW.subject IS NULL) EXECUTE FUNCTION cairn.connection_subject();
UPDATE cairn.connections c SET subject = i.subject
    FROM cairn.identities i WHERE i.id = c.identity_id AND c.subject IS NULL;
ALTER TABLE cairn.connections ALTER COLUMN subject SET NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS connections_provider_subject ON cairn.connections (provider, subject);
