-- People who came from the Node server, while they change over. Package node says when these tables can go.
--
-- While the way back to that server is open (NODE_WINDOW), sessions are where it finds them, too, and what ends here ends
-- there. Otherwise nothing in the schema public is written.
--
-- Each statement is a transaction of its own, and can be repeated (0017).

-- +goose NO TRANSACTION
-- +goose Up

-- A user of the Node server, by its id. Without user_id the account was deleted here: only the id is left, so that the
-- person is not imported again. person_hash is the SHA-256 of the Foursquare account's id: the same number in another
-- database is somebody else. link_hash is the SHA-256 of the private link's token. From ended_since on, no session
-- that the Node server began is adopted: the user has signed out everywhere, or changed the password, since. A row with a
-- negative id is a link that was made here, for the old front end.
CREATE TABLE IF NOT EXISTS cairn.node_users (
    node_id       bigint PRIMARY KEY,
    user_id       bigint REFERENCES cairn.users ON DELETE SET NULL,
    person_hash   bytea CHECK (length(person_hash) = 32),
    link_hash     bytea CHECK (length(link_hash) = 32),
    link_ended_at timestamptz,
    link_used_at  timestamptz,
    ended_since   timestamptz,
    imported_at   timestamptz DEFAULT now()
);
CREATE INDEX IF NOT EXISTS node_users_user_id ON cairn.node_users (user_id);
CREATE INDEX IF NOT EXISTS node_users_link_hash ON cairn.node_users (link_hash);

-- The connections of such a user. text_hash is the SHA-256 of the sealed text that was imported last, generation that of
-- our connection then. Once ended_at is set, the user has disconnected here, and imports leave it at that.
CREATE TABLE IF NOT EXISTS cairn.node_connections (
    node_id    bigint NOT NULL REFERENCES cairn.node_users ON DELETE CASCADE,
    provider   text NOT NULL REFERENCES cairn.providers,
    text_hash  bytea CHECK (length(text_hash) = 32),
    generation bigint,
    ended_at   timestamptz,
    PRIMARY KEY (node_id, provider)
);

-- How far imports have come.
CREATE TABLE IF NOT EXISTS cairn.node_imports (
    source      text PRIMARY KEY, -- a hash of the database's address
    seen        bigint,           -- rows that older transactions wrote need not be read again; NULL: read all
    finished_at timestamptz
);

-- Sessions of the Node server that went on here, by the SHA-256 of their ids. Each does so once: what ends here does not
-- begin again.
CREATE TABLE IF NOT EXISTS cairn.node_sessions (
    sid_hash   bytea PRIMARY KEY CHECK (length(sid_hash) = 32),
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    adopted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS node_sessions_user_id ON cairn.node_sessions (user_id);
CREATE INDEX IF NOT EXISTS node_sessions_adopted_at ON cairn.node_sessions (adopted_at);

-- Links that an operator made for people who have no other way in. Each is good once.
CREATE TABLE IF NOT EXISTS cairn.node_links (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS node_links_user_id ON cairn.node_links (user_id);

-- What a person wants to connect from the old front end, until they confirm that on a page of ours.
CREATE TABLE IF NOT EXISTS cairn.node_consents (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id    bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    provider   text NOT NULL REFERENCES cairn.providers,
    expires_at timestamptz NOT NULL,
    UNIQUE (user_id, provider)
);

-- A browser without a session may connect, too: it confirmed on that page.
ALTER TABLE cairn.oauth_attempts
    DROP CONSTRAINT IF EXISTS oauth_attempts_check,
    DROP CONSTRAINT IF EXISTS oauth_attempts_check1,
    DROP CONSTRAINT IF EXISTS oauth_attempts_owner,
    ADD CONSTRAINT oauth_attempts_owner CHECK (
        (purpose = 'connect') = (user_id IS NOT NULL)
        AND (session_id IS NULL) = (browser_hash IS NOT NULL)
        AND (purpose = 'connect' OR session_id IS NULL));

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

-- What ends here stays ended, whatever ends it.
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
DROP TRIGGER IF EXISTS node_connection_ended ON cairn.connections;
CREATE TRIGGER node_connection_ended AFTER DELETE ON cairn.connections
    FOR EACH ROW EXECUTE FUNCTION cairn.node_connection_ended();
DROP TRIGGER IF EXISTS node_identity_ended ON cairn.identities;
CREATE TRIGGER node_identity_ended AFTER DELETE ON cairn.identities
    FOR EACH ROW EXECUTE FUNCTION cairn.node_connection_ended();

-- Nothing but the id is left of a person who deletes the account, and no token and no link there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_user_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cairn.node_connections WHERE node_id = OLD.node_id;
    PERFORM cairn.node_forget(OLD.node_id, NULL);
    PERFORM cairn.node_set(OLD.node_id, '{secret_token}', cairn.node_nobodys_token());
    NEW.person_hash := NULL;
    NEW.link_hash := NULL;
    NEW.link_ended_at := NULL;
    NEW.link_used_at := NULL;
    NEW.ended_since := NULL;
    NEW.imported_at := NULL;
    RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_user_deleted ON cairn.node_users;
CREATE TRIGGER node_user_deleted BEFORE UPDATE ON cairn.node_users
    FOR EACH ROW WHEN (NEW.user_id IS NULL AND OLD.user_id IS NOT NULL) EXECUTE FUNCTION cairn.node_user_deleted();

-- A link that was made here has nothing that is worth remembering.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_made_link_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cairn.node_users WHERE node_id = NEW.node_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_made_link_ended ON cairn.node_users;
CREATE TRIGGER node_made_link_ended AFTER UPDATE ON cairn.node_users
    FOR EACH ROW WHEN (NEW.node_id < 0 AND (NEW.user_id IS NULL OR NEW.link_hash IS NULL))
    EXECUTE FUNCTION cairn.node_made_link_ended();

-- A session that ends here, however it ends, ends there. Where that can't be written, it ends here all the same, and the
-- operator is warned (the doctor says why, too).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_mirror_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A session that expired here may be in use there.
    IF OLD.expires > now() AND to_regclass(OLD.place) IS NOT NULL
       AND EXISTS (SELECT FROM cairn.node_settings WHERE way_back) THEN
        EXECUTE format('DELETE FROM %s WHERE sid = $1', OLD.place::regclass) USING OLD.sid;
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN transaction_rollback OR insufficient_resources OR lock_not_available THEN
        RAISE; -- it may succeed on another try
    WHEN OTHERS THEN
        RAISE WARNING 'a session that ended here goes on at the Node server: %', SQLERRM;
        RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_mirror_ended ON cairn.node_mirrors;
CREATE TRIGGER node_mirror_ended AFTER DELETE ON cairn.node_mirrors
    FOR EACH ROW EXECUTE FUNCTION cairn.node_mirror_ended();

-- Gives columns of a row of that server's users a value, those that its table has, while the way back is open. Where that
-- can't be written, what caused it happens here all the same, and the operator is warned.
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
EXCEPTION
    WHEN transaction_rollback OR insufficient_resources OR lock_not_available THEN
        RAISE;
    WHEN OTHERS THEN
        RAISE WARNING 'what ended here of user % stays at the Node server: %', node_id, SQLERRM;
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

-- Sessions that begin without a proof of who is there, and links from an operator.
INSERT INTO cairn.sign_in_methods (key) VALUES ('private_link'), ('node_session'), ('operator_link') ON CONFLICT DO NOTHING;
