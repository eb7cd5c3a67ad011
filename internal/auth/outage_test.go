package auth_test

import (
	"net/url"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/auth"
)

// A database that fails is never a wrong password, a link that is too old, or an account that is gone.
func TestDatabaseErrorsStayDatabaseErrors(t *testing.T) {
	t.Parallel()
	accounts := auth.New(dbtest.Closed(t), "the secret of this test", auth.Options{
		Sealer: sealedBy(t, 1), Cost: auth.Cost{Memory: 64, Passes: 1},
		Site: &url.URL{Scheme: "https", Host: "cairn.example.org"},
	})
	dbtest.WantErrors(t, accounts, []any{[]auth.Count{auth.DefaultLimits().ChangePerson.Of(1)}},
		// These run no statement.
		"Admits", "NewCodes", "PasskeySignal", "Reconcile", "Seal", "SecretOf",
		// These refuse the arguments before they run one.
		"CheckNewApp", "CheckPasskey", "CheckReset", "GuessTimeZone", "Open", "Prefer", "SignUp")
}
