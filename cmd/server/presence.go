package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/connection"
	"cairn/internal/instance"
	"cairn/internal/seal"
)

// announceEvery is short enough for a few announcements in a row to fail before instance.LiveFor is over.
const announceEvery = 20 * time.Second

// presence keeps a server known to the others, and follows what it learns of them and of the keys in use.
type presence struct {
	*instance.Self
	log         *slog.Logger
	sealer      *seal.Sealer
	connections *connection.Store
	every       time.Duration         // the time between two announcements, more or less
	limit       time.Duration         // for one
	lacking     atomic.Pointer[error] // which keys it lacks; nil: none
}

func newPresence(
	pool *pgxpool.Pool, log *slog.Logger, sealer *seal.Sealer, connections *connection.Store, limit time.Duration,
) *presence {
	hostname, _ := os.Hostname()
	b := readBuild()
	self := instance.New(pool, hostname, b.name(), b.Schema, sealer.KeyIDs())
	return &presence{Self: self, log: log, sealer: sealer, connections: connections, every: announceEvery, limit: limit}
}

// enter announces the server, and then fails if it lacks a key that is in use. In this order, because "rekey" first
// lists the servers and then uses the key. While the database is read-only "rekey" can't run either: the server starts,
// and is announced when the database can be written to.
func (p *presence) enter(ctx context.Context) error {
	err := p.announce(ctx)
	if db.ReadOnly(err) {
		p.log.WarnContext(ctx, "the database is read-only: this server is announced later")
	} else if err != nil {
		return err
	}
	if err := p.connections.CheckKeys(ctx); err != nil {
		return fmt.Errorf("ENCRYPTION_KEY lacks a key that is in use: %w", err)
	}
	return nil
}

func (p *presence) announce(ctx context.Context) error {
	key, err := p.Announce(ctx)
	if err == nil {
		p.sealer.SealWith(key)
	}
	return err
}

// repeat keeps the server announced until ctx is done, and then takes it out. It has a goroutine of its own, because
// other upkeep may take minutes.
func (p *presence) repeat(ctx context.Context) error {
	next := time.NewTimer(vary(p.every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			p.leave(context.WithoutCancel(ctx))
			return nil
		case <-next.C:
			p.refresh(ctx)
			next.Reset(vary(p.every))
		}
	}
}

// refresh announces the server and checks the keys in use. While the database can't be reached, the last result holds.
func (p *presence) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	if err := p.announce(ctx); err != nil {
		p.log.DebugContext(ctx, "this server could not be announced", "error", err)
		return
	}
	err := p.connections.CheckKeys(ctx)
	switch known := p.lacking.Load() != nil; {
	case errors.Is(err, seal.ErrKey):
		p.lacking.Store(&err)
		if !known {
			p.log.ErrorContext(ctx, "not ready: ENCRYPTION_KEY lacks a key that is in use", "error", err)
		}
	case err == nil:
		p.lacking.Store(nil)
		if known {
			p.log.InfoContext(ctx, "ENCRYPTION_KEY has all keys that are in use again")
		}
	}
}

// ready is check, and an error while the server lacks a key that is in use: others may have it.
func (p *presence) ready(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if lacking := p.lacking.Load(); lacking != nil {
			return fmt.Errorf("not ready: ENCRYPTION_KEY lacks a key that is in use: %w", *lacking)
		}
		return check(ctx)
	}
}

// leave announces that the server stops. If that fails, it counts as running for two minutes more.
func (p *presence) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	if err := p.Leave(ctx); err != nil {
		p.log.WarnContext(ctx, "this server could not announce to the others that it stops", "error", err)
	}
}
