package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/admin"
	"cairn/internal/node"
)

// playsCommand names the variable that makes the test binary play server node, so that tests can kill it.
const playsCommand = "CAIRN_TEST_PLAYS_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(playsCommand) == "" {
		dbtest.Main(m)
		return
	}
	env := admin.Env{Args: os.Args[1:], Environ: os.Environ(), Stderr: os.Stderr, Log: quiet}
	if err := node.Command(context.Background(), env, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func quiet(slog.Level) (*slog.Logger, func()) { return slog.New(slog.DiscardHandler), func() {} }
