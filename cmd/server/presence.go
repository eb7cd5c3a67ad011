package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/admin"
	"cairn/internal/instance"
	"cairn/internal/seal"
	"cairn/internal/sealed"
)

// announceEvery is short enough that a few announcements in a row may fail before instance.LiveFor is over.
const announceEvery = 20 * time.Second

// presence announces this server to the others, and keeps track of which keys they hold and which are in use.
type presence struct {
	*instance.Self
	log     *slog.Logger
	sealer  *seal.Sealer
	secrets sealed.Columns
	every   time.Duration         // between two announcements, give or take half
	limit   time.Duration         // for one announcement
	lacking atomic.Pointer[error] // names the keys that this server lacks; nil: none
}

func newPresence(pool *pgxpool.Pool, log *slog.Logger, sealer *seal.Sealer, limit time.Duration) *presence {
	hostname, _ := os.Hostname()
	b := readBuild()
	self := instance.New(pool, hostname, b.name(), b.Schema, sealer.KeyIDs())
	return &presence{
		Self: self, log: log, sealer: sealer, secrets: admin.Secrets(pool, sealer), every: announceEvery, limit: limit,
	}
}

// enter announces the server, and then fails if it lacks a key that is in use. The order matters, because "rekey" first
// lists the servers and then uses the key. While the database is read-only, "rekey" can't run either. So the server
// starts, and is announced once the database can be written to.
func (p *presence) enter(ctx context.Context) error {
	err := p.announce(ctx)
	if db.ReadOnly(err) {
		p.log.WarnContext(ctx, "the database is read-only: this server will be announced later")
	} else if err != nil {
		return err
	}
	return admin.CheckKeys(ctx, p.secrets)
}

func (p *presence) announce(ctx context.Context) error {
	key, err := p.Announce(ctx)
	if err == nil {
		p.sealer.SealWith(key)
	}
	return err
}

// repeat keeps the server announced until ctx is done, and then deletes the announcement. It has a goroutine of its
// own, because other upkeep may take minutes.
func (p *presence) repeat(ctx context.Context) error {
	repeat(ctx, p.every, p.refresh)
	p.leave(context.WithoutCancel(ctx))
	return nil
}

// refresh announces the server and checks its keys. While the database can't be reached, the last result holds. It
// finishes even if the server stops meanwhile, because a statement that is cut off may still take effect after leave.
func (p *presence) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.limit)
	defer cancel()
	if err := p.announce(ctx); err != nil {
		p.log.DebugContext(ctx, "this server could not be announced", "error", err)
		return
	}
	err := admin.CheckKeys(ctx, p.secrets)
	switch known := p.lacking.Load() != nil; {
	case errors.Is(err, seal.ErrKey):
		p.lacking.Store(&err)
		if !known {
			p.log.ErrorContext(ctx, "this server is not ready any more", "error", err)
		}
	case err == nil:
		p.lacking.Store(nil)
		if known {
			p.log.InfoContext(ctx, "ENCRYPTION_KEY has every key that is in use again")
		}
	}
}

// ready returns check, but failing while this server lacks a key that is in use: other servers may have it.
func (p *presence) ready(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if lacking := p.lacking.Load(); lacking != nil {
			return *lacking
		}
		return check(ctx)
	}
}

// leave deletes the announcement. If that fails, the others count this server as running for two minutes more.
func (p *presence) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	if err := p.Leave(ctx); err != nil {
		p.log.WarnContext(ctx, "this server could not tell the others that it is stopping", "error", err)
	}
}
