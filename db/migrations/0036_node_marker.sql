-- Whether a row that is missing in the Node server's table of sessions says that somebody signed out there.

-- +goose Up

-- marker is the id of a row of ours in that table, which is missing, too, if the table was emptied or replaced by an older
-- one. Since whole_since it was not, as far as we know.
ALTER TABLE cairn.node_settings
    ADD COLUMN marker text,
    ADD COLUMN marked_at timestamptz,
    ADD COLUMN whole_since timestamptz;

-- When the row there was last written, or seen.
ALTER TABLE cairn.node_mirrors ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
