-- When somebody last used the site, where the Node server keeps that: it fetches nothing for people who were away for 30
-- days.

-- +goose Up

-- Notes that a user of that server was here, at most once in five minutes as it does, while the way back is open and if its
-- table has the column. It does not wait for the row: whoever has locked it may wait for what the caller has locked.
-- +goose StatementBegin
CREATE FUNCTION cairn.node_seen(node_id bigint) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    IF node_id < 0 OR NOT EXISTS (SELECT FROM cairn.node_settings WHERE way_back) OR NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('public.users') AND attname = 'last_login_at' AND NOT attisdropped)
    THEN
        RETURN;
    END IF;
    EXECUTE 'UPDATE public.users SET last_login_at = now() WHERE id IN (
        SELECT id FROM public.users WHERE id = $1 AND COALESCE(last_login_at < now() - interval ''5 minutes'', true)
        FOR NO KEY UPDATE SKIP LOCKED)' USING node_id;
EXCEPTION
    WHEN transaction_rollback OR insufficient_resources OR lock_not_available THEN
        RAISE;
    WHEN OTHERS THEN
        RAISE WARNING 'when user % was last here stays old at the Node server: %', node_id, SQLERRM;
END $$;
-- +goose StatementEnd
