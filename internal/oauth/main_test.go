package oauth

import (
	"testing"

	"cairn/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
