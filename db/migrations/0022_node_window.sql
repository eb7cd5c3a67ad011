-- The way back to the Node server: while it is open, sessions are where that server finds them, too, and what ends here
-- ends there. It is open if cairn.node_settings says so; otherwise nothing in the schema public is written.
--
-- Each statement is a transaction of its own, and can be repeated (0017).

-- +goose NO TRANSACTION
-- +goose Up

-- What servers run with (NODE_WINDOW).
CREATE TABLE IF NOT EXISTS cairn.node_settings (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    way_back boolean NOT NULL
);

-- Sessions that are in that server's table, too: under sid, in the table place, until expires as far as we know.
CREATE TABLE IF NOT EXISTS cairn.node_mirrors (
    session_id bigint PRIMARY KEY REFERENCES cairn.sessions (id) ON DELETE CASCADE,
    sid        text NOT NULL,
    place      text NOT NULL,
    expires    timestamptz NOT NULL
);

-- A session that ends here, however it ends, ends there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_mirror_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(OLD.place) IS NOT NULL AND EXISTS (SELECT FROM cairn.node_settings WHERE way_back) THEN
        EXECUTE format('DELETE FROM %s WHERE sid = $1', OLD.place::regclass) USING OLD.sid;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_mirror_ended ON cairn.node_mirrors;
CREATE TRIGGER node_mirror_ended AFTER DELETE ON cairn.node_mirrors
    FOR EACH ROW EXECUTE FUNCTION cairn.node_mirror_ended();

-- Empties columns of a row of that server's users, those that its table has, while the way back is open. values are SQL.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_set(node_id bigint, columns text[], value text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    IF node_id < 0 OR NOT EXISTS (SELECT FROM cairn.node_settings WHERE way_back) THEN
        RETURN;
    END IF;
    FOR name IN
        SELECT attname FROM pg_attribute
        WHERE attrelid = to_regclass('public.users') AND attname = ANY(columns) AND NOT attisdropped
    LOOP
        EXECUTE format('UPDATE public.users SET %I = $2 WHERE id = $1 AND %1$I IS NOT NULL', name) USING node_id, value;
    END LOOP;
END $$;
-- +goose StatementEnd

-- The columns with the tokens of a provider; NULL: of all.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_forget(node_id bigint, provider text) RETURNS void LANGUAGE sql AS $$
    SELECT cairn.node_set(node_id, array_agg(name), NULL)
    FROM (VALUES ('foursquare', 'access_token_encrypted'), ('strava', 'strava_oauth_tokens_encrypted'),
                 ('garmin', 'garmin_oauth_tokens_encrypted')) AS columns (of, name)
    WHERE of = provider OR provider IS NULL
$$;
-- +goose StatementEnd

-- What is disconnected here is forgotten there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_connection_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cairn.node_connections (node_id, provider, ended_at)
    SELECT node_id, OLD.provider, now() FROM cairn.node_users WHERE user_id = OLD.user_id
    ON CONFLICT (node_id, provider) DO UPDATE SET text_hash = NULL, generation = NULL, ended_at = now();
    PERFORM cairn.node_forget(node_id, OLD.provider) FROM cairn.node_users WHERE user_id = OLD.user_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- Nothing but the id is left of a person who deletes the account, and no token and no link there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_user_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cairn.node_connections WHERE node_id = OLD.node_id;
    PERFORM cairn.node_forget(OLD.node_id, NULL);
    PERFORM cairn.node_set(OLD.node_id, '{secret_token}', cairn.node_nobodys_token());
    NEW.link_hash := NULL;
    NEW.link_ended_at := NULL;
    NEW.link_used_at := NULL;
    NEW.ended_since := NULL;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- A token that nobody knows: 64 hex digits, of which 244 bits are random.
CREATE OR REPLACE FUNCTION cairn.node_nobodys_token() RETURNS text LANGUAGE sql AS
    $$ SELECT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') $$;

-- A private link that ends here ends there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_link_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM cairn.node_set(NEW.node_id, '{secret_token}', cairn.node_nobodys_token());
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_link_ended ON cairn.node_users;
CREATE TRIGGER node_link_ended AFTER UPDATE OF link_hash ON cairn.node_users
    FOR EACH ROW WHEN (OLD.link_hash IS NOT NULL AND NEW.link_hash IS NULL AND NEW.user_id IS NOT NULL)
    EXECUTE FUNCTION cairn.node_link_ended();
