-- A request that is under way at the Node server writes its session again after it has ended here. So what ends is noted.

-- +goose Up

-- A session that ends here, however it ends, ends there, and stays ended. Where that can't be written, it ends here all
-- the same, and the operator is warned (the doctor says why, too).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION cairn.node_mirror_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A session that expired here may be in use there.
    IF OLD.expires <= now() OR NOT EXISTS (SELECT FROM cairn.node_settings WHERE way_back) THEN
        RETURN NULL;
    END IF;
    INSERT INTO cairn.node_ended_sessions (sid) VALUES (OLD.sid)
    ON CONFLICT (sid) DO UPDATE SET ended_at = EXCLUDED.ended_at;
    BEGIN
        IF to_regclass(OLD.place) IS NOT NULL THEN
            EXECUTE format('DELETE FROM %s WHERE sid = $1', OLD.place::regclass) USING OLD.sid;
        END IF;
    EXCEPTION
        WHEN transaction_rollback OR insufficient_resources OR lock_not_available THEN
            RAISE; -- it may succeed on another try
        WHEN OTHERS THEN
            RAISE WARNING 'a session that ended here goes on at the Node server: %', SQLERRM;
    END;
    RETURN NULL;
END $$;
-- +goose StatementEnd
