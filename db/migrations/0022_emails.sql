-- An account's e-mail address, apart from its password.

-- +goose Up

-- An account's e-mail address. A password is one sign-in method, an address is where an account can be reached, so they
-- are apart. email_key is what makes it unique.
CREATE TABLE cairn.emails (
    user_id     bigint PRIMARY KEY REFERENCES cairn.users ON DELETE CASCADE,
    email       text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    email_key   text NOT NULL UNIQUE,
    verified_at timestamptz, -- NULL: nobody has proven that the account's owner reads its mail
    refused_at  timestamptz  -- its mail server has refused a message for good; NULL: it has not
);

-- Servers of the release before know addresses by cairn.passwords alone. Once they are gone, this trigger and the
-- columns email and email_key of that table can go, too. It comes before the copy, so that nobody who signs up meanwhile
-- is left out. An address that another account has is left out, as those servers do with one that has a password.
-- +goose StatementBegin
CREATE FUNCTION cairn.password_changes_email() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM cairn.emails WHERE user_id = OLD.user_id AND verified_at IS NULL;
        RETURN OLD;
    END IF;
    IF EXISTS (SELECT FROM cairn.emails WHERE email_key = NEW.email_key AND user_id <> NEW.user_id) THEN
        RETURN NULL;
    END IF;
    INSERT INTO cairn.emails AS e (user_id, email, email_key) VALUES (NEW.user_id, NEW.email, NEW.email_key)
    ON CONFLICT (user_id) DO UPDATE
    SET email = EXCLUDED.email, email_key = EXCLUDED.email_key, verified_at = NULL, refused_at = NULL
    WHERE e.email_key <> EXCLUDED.email_key;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER password_changes_email BEFORE INSERT OR DELETE OR UPDATE OF email_key ON cairn.passwords
    FOR EACH ROW EXECUTE FUNCTION cairn.password_changes_email();
INSERT INTO cairn.emails (user_id, email, email_key) SELECT user_id, email, email_key FROM cairn.passwords
ON CONFLICT DO NOTHING;
