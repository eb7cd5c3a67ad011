-- Roles and database of Cairn, with the least rights that do: psql -U postgres -f deploy/database.sql
-- Then give both roles a password, in psql: \password cairn_owner and \password cairn

-- Owns the tables and changes the schema: server migrate.
CREATE ROLE cairn_owner LOGIN;
-- Serves: it reads and writes rows, and can't change the schema.
CREATE ROLE cairn LOGIN;
-- Cairn sets these limits itself, except outside transactions behind a connection pooler.
ALTER ROLE cairn SET statement_timeout = '10s';
ALTER ROLE cairn SET lock_timeout = '5s';
ALTER ROLE cairn SET idle_in_transaction_session_timeout = '30s';

CREATE DATABASE cairn OWNER cairn_owner;
REVOKE ALL ON DATABASE cairn FROM PUBLIC;
GRANT CONNECT ON DATABASE cairn TO cairn;
\connect cairn
CREATE SCHEMA cairn AUTHORIZATION cairn_owner;
GRANT USAGE ON SCHEMA cairn TO cairn;
-- For everything that migrations make, now and later.
ALTER DEFAULT PRIVILEGES FOR ROLE cairn_owner IN SCHEMA cairn GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cairn;
ALTER DEFAULT PRIVILEGES FOR ROLE cairn_owner IN SCHEMA cairn GRANT USAGE ON SEQUENCES TO cairn;
