-- How a person reads times and distances.

-- +goose Up

-- time_zone is a name of the IANA database, guessed by the browser or chosen; NULL: neither yet, and pages say UTC.
-- units is chosen; NULL: by the language of the browser.
ALTER TABLE cairn.users
    ADD COLUMN time_zone text CHECK (time_zone ~ '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$'),
    ADD COLUMN units text CHECK (units IN ('metric', 'imperial'));
