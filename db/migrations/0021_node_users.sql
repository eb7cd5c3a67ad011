-- People who came from the Node server, while they change over. Package node says when these tables can go.
--
-- Each statement is a transaction of its own, and can be repeated (0017).

-- +goose NO TRANSACTION
-- +goose Up

-- A user of the Node server, by its id. Without user_id the account was deleted here: only the id is left, so that the
-- person is not imported again. person_hash is the SHA-256 of the Foursquare account's id: the same number in another
-- database is somebody else. link_hash is the SHA-256 of the private link's token. From ended_since on, no session
-- that the Node server began is adopted: the user has signed out everywhere, or changed the password, since.
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

-- What ends here stays ended, whatever ends it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_connection_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cairn.node_connections (node_id, provider, ended_at)
    SELECT node_id, OLD.provider, now() FROM cairn.node_users WHERE user_id = OLD.user_id
    ON CONFLICT (node_id, provider) DO UPDATE SET text_hash = NULL, generation = NULL, ended_at = now();
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS node_connection_ended ON cairn.connections;
CREATE TRIGGER node_connection_ended AFTER DELETE ON cairn.connections
    FOR EACH ROW EXECUTE FUNCTION cairn.node_connection_ended();
DROP TRIGGER IF EXISTS node_identity_ended ON cairn.identities;
CREATE TRIGGER node_identity_ended AFTER DELETE ON cairn.identities
    FOR EACH ROW EXECUTE FUNCTION cairn.node_connection_ended();

-- Nothing but the id is left of a person who deletes the account.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_user_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cairn.node_connections WHERE node_id = OLD.node_id;
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

-- Sessions that begin without a proof of who is there, and links from an operator.
INSERT INTO cairn.sign_in_methods (key) VALUES ('private_link'), ('node_session'), ('operator_link') ON CONFLICT DO NOTHING;
