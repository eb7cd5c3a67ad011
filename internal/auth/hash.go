package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

const queuePerSlot = 100 // hashes, which take about three seconds

// Cost is the cost of a hash. The zero value is the second choice of OWASP's password storage sheet: 19 MiB, two
// passes. Tests that are not about it spend less.
type Cost struct {
	Memory uint32 // KiB; 0: 19 MiB
	Passes uint32 // 0: 2
}

func (c Cost) params() *argon2id.Params {
	return &argon2id.Params{
		Memory:      cmp.Or(c.Memory, 19*1024),
		Iterations:  cmp.Or(c.Passes, 2),
		Parallelism: 1,
		SaltLength:  16,
		KeyLength:   32,
	}
}

// decoyHash returns a hash to compare a password with if there is no account, so that a failed sign-in takes the same
// time. No password matches it: the salt and the key are random.
func decoyHash(p *argon2id.Params) string {
	random := func(n uint32) string {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return base64.RawStdEncoding.EncodeToString(b)
	}
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		p.Memory, p.Iterations, p.Parallelism, random(p.SaltLength), random(p.KeyLength))
}

// hasher runs argon2id. A hash takes 19 MiB and a core for about 20 ms. So one core is left for other work, and the
// queue is bounded: ErrBusy is better than running out of memory.
type hasher struct {
	params  *argon2id.Params
	decoy   string
	known   []string // names that passwords must not consist of
	sem     *semaphore.Weighted
	slots   int64        // of sem
	queue   int64        // how many may run and wait
	queued  atomic.Int64 // how many run and wait
	running atomic.Int64
}

// HashLoad is the load of password hashing on this server.
type HashLoad struct{ Running, Waiting, MaxRunning, MaxWaiting int }

// HashLoad returns the present load, for metrics.
func (a *Accounts) HashLoad() HashLoad {
	h := a.hash
	running := h.running.Load()
	return HashLoad{
		Running: int(running), Waiting: int(max(0, h.queued.Load()-running)),
		MaxRunning: int(h.slots), MaxWaiting: int(h.queue - h.slots),
	}
}

func newHasher(cost Cost, known ...string) *hasher {
	params := cost.params()
	slots := max(1, int64(runtime.GOMAXPROCS(0))-1)
	return &hasher{
		params: params, decoy: decoyHash(params), known: known,
		sem: semaphore.NewWeighted(slots), slots: slots, queue: queuePerSlot * slots,
	}
}

// make hashes a new password unless it is easy to guess. To find that out takes time, too, so it is under the same
// limit. about is what others know about the owner. Errors: *FieldError, ErrBusy.
func (h *hasher) make(ctx context.Context, password string, about ...string) (hash string, err error) {
	if err := checkLength(password); err != nil {
		return "", err
	}
	err = h.run(ctx, func() error {
		if guessable(password, slices.Concat(h.known, about)...) {
			return errGuessable
		}
		hash, err = argon2id.CreateHash(norm.NFC.String(password), h.params)
		return err
	})
	return hash, err
}

func (h *hasher) matches(ctx context.Context, password, hash string) (match bool, err error) {
	params, _, _, err := argon2id.DecodeHash(hash)
	if err != nil {
		return false, fmt.Errorf("auth: decode hash: %w", err)
	}
	if params.Memory > 64*1024 || params.Iterations > 8 || params.Parallelism > 4 {
		return false, errors.New("auth: a stored hash asks for more memory or time than is allowed")
	}
	err = h.run(ctx, func() error {
		match, err = argon2id.ComparePasswordAndHash(norm.NFC.String(password), hash)
		return err
	})
	return match, err
}

func (h *hasher) run(ctx context.Context, work func() error) error {
	if h.queued.Add(1) > h.queue {
		h.queued.Add(-1)
		return ErrBusy
	}
	defer h.queued.Add(-1)
	if err := h.sem.Acquire(ctx, 1); err != nil {
		return ErrBusy
	}
	defer h.sem.Release(1)
	h.running.Add(1)
	defer h.running.Add(-1)
	return work()
}
