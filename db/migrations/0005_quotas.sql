-- Providers' quotas are one budget for all instances, and a connection says when its provider may be asked again.

-- +goose Up

-- quarter and day are the beginnings of the windows that are counted in; a count whose window is over is worth nothing.
-- Limits are those of our application, as the provider last told them; NULL: none is known. paused_until: the provider
-- wants no calls before then.
CREATE TABLE cairn.budgets (
    provider      text PRIMARY KEY CHECK (provider IN ('garmin', 'foursquare', 'strava')),
    paused_until  timestamptz,
    quarter       timestamptz NOT NULL DEFAULT 'epoch',
    quarter_used  integer NOT NULL DEFAULT 0,
    quarter_limit integer,
    day           timestamptz NOT NULL DEFAULT 'epoch',
    day_used      integer NOT NULL DEFAULT 0,
    day_limit     integer
);
-- Strava's are the documented ones for calls that do not upload, as all of ours, until it tells others.
INSERT INTO cairn.budgets (provider, quarter_limit, day_limit)
VALUES ('garmin', NULL, NULL), ('foursquare', NULL, NULL), ('strava', 100, 1000);

-- When the provider may be asked again, where that is known.
ALTER TABLE cairn.connections ADD COLUMN retry_at timestamptz;
