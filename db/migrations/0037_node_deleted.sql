-- People who deleted their account here before an import came to their row at the Node server.

-- +goose Up

-- person_hash is as in node_users. When an import meets the row, its id there takes the place of this.
CREATE TABLE cairn.node_deleted (
    person_hash bytea PRIMARY KEY CHECK (length(person_hash) = 32)
);

-- Where there is no trace of a Node server, nothing is left of anybody.
-- +goose StatementBegin
CREATE FUNCTION cairn.node_person_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM cairn.node_imports) OR EXISTS (
        SELECT FROM pg_namespace s JOIN pg_class c ON c.relnamespace = s.oid JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE s.nspname = 'public' AND c.relname = 'users' AND a.attname = 'foursquare_user_id' AND NOT a.attisdropped)
    THEN
        INSERT INTO cairn.node_deleted (person_hash)
        SELECT hash FROM cairn.identities, sha256(convert_to(subject, 'UTF8')) AS hash
        WHERE user_id = OLD.id AND provider = 'foursquare'
          AND NOT EXISTS (SELECT FROM cairn.node_users n WHERE n.user_id = OLD.id AND n.person_hash = hash)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER node_person_deleted BEFORE DELETE ON cairn.users
    FOR EACH ROW EXECUTE FUNCTION cairn.node_person_deleted();
