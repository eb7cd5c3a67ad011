-- Pictures of connected accounts, as small copies of ours.

-- +goose Up

-- image is NULL if there is none that can be shown. tried_at is when it was last asked for, fetched_at when image came.
CREATE TABLE cairn.avatars (
    identity_id bigint PRIMARY KEY REFERENCES cairn.connections (identity_id) ON DELETE CASCADE,
    tried_at    timestamptz NOT NULL DEFAULT now(),
    fetched_at  timestamptz,
    media_type  text CHECK (media_type IN ('image/jpeg', 'image/png')),
    image       bytea CHECK (length(image) BETWEEN 1 AND 524288),
    CHECK ((image IS NULL) = (media_type IS NULL) AND (image IS NULL) = (fetched_at IS NULL))
);
CREATE INDEX avatars_fetched_at ON cairn.avatars (fetched_at);
