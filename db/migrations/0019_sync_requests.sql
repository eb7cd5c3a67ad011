-- Requests for a sync under the words that the rest of the program uses.

-- +goose Up

ALTER TABLE cairn.errands RENAME TO sync_requests;
ALTER TABLE cairn.sync_requests RENAME COLUMN what TO kind;
ALTER TABLE cairn.sync_requests RENAME COLUMN reason TO number;
ALTER TABLE cairn.sync_requests RENAME COLUMN at TO requested_at;
ALTER INDEX cairn.errands_pkey RENAME TO sync_requests_pkey;
ALTER INDEX cairn.errands_at RENAME TO sync_requests_requested_at;

-- The release before this one reads and writes requests here. The next one can drop this view.
CREATE VIEW cairn.errands AS
    SELECT identity_id, kind AS what, number AS reason, requested_at AS at, awaited FROM cairn.sync_requests;
