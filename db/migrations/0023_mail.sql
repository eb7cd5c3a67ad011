-- Mail: links in messages, messages on their way, and what happened to an account.

-- +goose Up

-- A link in a message. Its token is computed from id and nonce, so that every try to send the message has the same one,
-- and only its hash is here. A link is a request at first: a job finds out whether anything is sent. Until then a link
-- that a stranger asked for has no user, and nobody can have its token.
CREATE TABLE cairn.links (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    purpose      text NOT NULL CHECK (purpose IN ('signup', 'reset', 'verify', 'change', 'undo')),
    user_id      bigint REFERENCES cairn.users ON DELETE CASCADE,
    email        text NOT NULL CHECK (length(email) BETWEEN 3 AND 254), -- where it is sent
    email_key    text NOT NULL,
    nonce        bytea NOT NULL CHECK (length(nonce) = 16),
    token_hash   bytea UNIQUE CHECK (length(token_hash) = 32),
    browser_hash bytea CHECK (length(browser_hash) = 32), -- of the browser that asked for it, as in cairn.browsers
    details      jsonb NOT NULL DEFAULT '{}',             -- what the purpose needs
    created_at   timestamptz NOT NULL DEFAULT now(),
    sent_at      timestamptz, -- NULL: a job has not looked at it yet
    expires_at   timestamptz NOT NULL,
    CHECK (user_id IS NOT NULL OR purpose IN ('signup', 'reset'))
);
CREATE INDEX links_user_id ON cairn.links (user_id);
CREATE INDEX links_email_key ON cairn.links (email_key);
CREATE INDEX links_expires_at ON cairn.links (expires_at);

-- A message that is on its way. Its words are made when it is sent; then the row is deleted.
CREATE TABLE cairn.messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text NOT NULL UNIQUE, -- names it in Message-ID
    user_id    bigint REFERENCES cairn.users ON DELETE CASCADE, -- NULL: it is about no account, or a deleted one
    recipient  text NOT NULL,
    kind       text NOT NULL,
    facts      jsonb NOT NULL DEFAULT '{}',
    link_id    bigint REFERENCES cairn.links ON DELETE CASCADE, -- the message is about this link, and goes with it
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_user_id ON cairn.messages (user_id);
CREATE INDEX messages_link_id ON cairn.messages (link_id);
CREATE INDEX messages_created_at ON cairn.messages (created_at);

-- What happened to an account that its owner should know. It is kept for 90 days; the account page shows the newest.
CREATE TABLE cairn.account_events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES cairn.users ON DELETE CASCADE,
    kind    text NOT NULL,
    facts   jsonb NOT NULL DEFAULT '{}',
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX account_events_user_id ON cairn.account_events (user_id, id);
CREATE INDEX account_events_at ON cairn.account_events (at);
