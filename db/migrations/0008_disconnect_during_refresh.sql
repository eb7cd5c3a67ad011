-- A connection that is disconnected while its tokens are refreshed.

-- +goose Up

-- The lease of the refresh that was under way. Until busy_until its new tokens may come here, and are those to take back.
ALTER TABLE cairn.withdrawals ADD COLUMN refresh_lease text;
