package dbtest_test

import (
	"testing"

	"cairn/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestDatabasesAreMigratedAndPrivate(t *testing.T) {
	t.Parallel()
	one, two := dbtest.New(t), dbtest.New(t)
	if _, err := one.Exec(t.Context(), "INSERT INTO cairn.users (display_name) VALUES ('Ada')"); err != nil {
		t.Fatal(err)
	}
	var people int
	if err := two.QueryRow(t.Context(), "SELECT count(*) FROM cairn.users").Scan(&people); err != nil {
		t.Fatal(err)
	}
	if people != 0 {
		t.Errorf("a second database has %d users of the first", people)
	}
}
