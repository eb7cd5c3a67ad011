-- Messages that a person does not want.

-- +goose Up

-- Kinds of messages, as cairn.messages has them. Those about the safety of the account are always sent.
ALTER TABLE cairn.users ADD COLUMN unwanted_mail text[] NOT NULL DEFAULT '{}';
