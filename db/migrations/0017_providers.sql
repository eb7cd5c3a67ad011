-- Providers are rows, so that a new one is a row here and not a change of five tables' checks.
--
-- Each statement is a transaction of its own: together they would hold the locks of several busy tables and wait for each
-- other's. Each can be repeated, because a migration that is cut off begins again.

-- +goose NO TRANSACTION
-- +goose Up

CREATE TABLE IF NOT EXISTS cairn.providers (
    key text PRIMARY KEY CHECK (key ~ '^[a-z][a-z0-9]{0,31}$' AND key <> 'password')
);

-- What can begin a session: a password, or an account at a provider.
CREATE TABLE IF NOT EXISTS cairn.sign_in_methods (key text PRIMARY KEY);
INSERT INTO cairn.sign_in_methods (key) VALUES ('password') ON CONFLICT DO NOTHING;

-- A provider is a sign-in method and has a budget of calls, whose limits are not known yet.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.provider_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cairn.sign_in_methods (key) VALUES (NEW.key) ON CONFLICT DO NOTHING;
    INSERT INTO cairn.budgets (provider) VALUES (NEW.key) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS provider_added ON cairn.providers;
CREATE TRIGGER provider_added AFTER INSERT ON cairn.providers
    FOR EACH ROW EXECUTE FUNCTION cairn.provider_added();
INSERT INTO cairn.providers (key) VALUES ('garmin'), ('foursquare'), ('strava') ON CONFLICT DO NOTHING;

-- The rows there are passed the checks, so nothing has to be read under these locks: 0018 validates them without.
ALTER TABLE cairn.identities
    DROP CONSTRAINT IF EXISTS identities_provider_check,
    DROP CONSTRAINT IF EXISTS identities_provider,
    ADD CONSTRAINT identities_provider FOREIGN KEY (provider) REFERENCES cairn.providers NOT VALID;
ALTER TABLE cairn.sessions
    DROP CONSTRAINT IF EXISTS sessions_method_check,
    DROP CONSTRAINT IF EXISTS sessions_method,
    ADD CONSTRAINT sessions_method FOREIGN KEY (method) REFERENCES cairn.sign_in_methods NOT VALID;
ALTER TABLE cairn.oauth_attempts
    DROP CONSTRAINT IF EXISTS oauth_attempts_provider_check,
    DROP CONSTRAINT IF EXISTS oauth_attempts_provider,
    ADD CONSTRAINT oauth_attempts_provider FOREIGN KEY (provider) REFERENCES cairn.providers NOT VALID;
ALTER TABLE cairn.withdrawals
    DROP CONSTRAINT IF EXISTS withdrawals_provider_check,
    DROP CONSTRAINT IF EXISTS withdrawals_provider,
    ADD CONSTRAINT withdrawals_provider FOREIGN KEY (provider) REFERENCES cairn.providers NOT VALID;
ALTER TABLE cairn.budgets
    DROP CONSTRAINT IF EXISTS budgets_provider_check,
    DROP CONSTRAINT IF EXISTS budgets_provider,
    ADD CONSTRAINT budgets_provider FOREIGN KEY (provider) REFERENCES cairn.providers NOT VALID;
