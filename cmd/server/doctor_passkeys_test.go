package main

import (
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The doctor says how many passkeys another host of PUBLIC_URL loses.
func TestDoctorCountsPasskeys(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	testkit.Execute(t, database, `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id),
		     h AS (INSERT INTO cairn.passkey_users (user_id, handle) SELECT id, sha256('Ada') FROM u RETURNING user_id)
		INSERT INTO cairn.passkeys (user_id, credential_id, public_key, host, name, aaguid, counter, backup_eligible,
		                            backed_up)
		SELECT user_id, sha256(n::text::bytea), '', 'localhost', n::text, decode(repeat('00', 16), 'hex'), 0, false,
		       false
		FROM h, generate_series(1, 3) n`)
	for _, tt := range []struct{ site, want string }{
		{"http://LOCALHOST:1", `ok | passkeys | 3, for localhost; they stop working if the host in PUBLIC_URL changes`},
		{"http://cairn.example.org", `warn | passkeys | 3 of 3 are for another host than cairn\.example\.org`},
	} {
		_, says := seeDoctor(t, "DATA_DIR="+testkit.DataDir(t), "DATABASE_URL="+database, "PUBLIC_URL="+tt.site)
		testkit.WantFindings(t, says, tt.want)
	}
}
