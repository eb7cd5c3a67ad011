package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

const waitingPerHash = 100 // some three seconds' work

// Cost is what argon2id spends on a hash. The zero value is the second choice of OWASP's password storage sheet: 19
// MiB, two passes. Tests that are not about it spend less.
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

// decoyHash is what a password is compared with when there is no account, so that a failed sign-in takes the same time
// either way. It is nobody's: the salt and the key are random.
func decoyHash(p *argon2id.Params) string {
	random := func(n uint32) string {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return base64.RawStdEncoding.EncodeToString(b)
	}
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		p.Memory, p.Iterations, p.Parallelism, random(p.SaltLength), random(p.KeyLength))
}

// hasher runs argon2id. A hash takes 19 MiB and a core for some 20 ms, so one core is left to everybody else, and
// only so many wait; the rest is told to come back rather than let memory run out.
type hasher struct {
	params  *argon2id.Params
	decoy   string
	slots   *semaphore.Weighted
	cores   int64        // how many slots there are
	waiting atomic.Int64 // those that run included
	running atomic.Int64
	queue   int64
}

// HashLoad is how busy the hashing of passwords is on this server.
type HashLoad struct{ Running, Waiting, MaxRunning, MaxWaiting int }

// HashLoad is for an operator's metrics.
func (a *Accounts) HashLoad() HashLoad {
	h := a.hash
	running := h.running.Load()
	return HashLoad{
		Running: int(running), Waiting: int(max(0, h.waiting.Load()-running)),
		MaxRunning: int(h.cores), MaxWaiting: int(h.queue - h.cores),
	}
}

func newHasher(cost Cost) *hasher {
	params := cost.params()
	slots := max(1, int64(runtime.GOMAXPROCS(0))-1)
	return &hasher{
		params: params, decoy: decoyHash(params),
		slots: semaphore.NewWeighted(slots), cores: slots, queue: waitingPerHash * slots,
	}
}

// make hashes a new password unless it is easy to guess; that too takes time. about is what others know of its owner.
// Errors: *FieldError, ErrBusy.
func (h *hasher) make(ctx context.Context, password string, about ...string) (hash string, err error) {
	if err := checkLength(password); err != nil {
		return "", err
	}
	err = h.run(ctx, func() error {
		if guessable(password, about...) {
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
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	if err := h.slots.Acquire(ctx, 1); err != nil {
		return ErrBusy
	}
	defer h.slots.Release(1)
	h.running.Add(1)
	defer h.running.Add(-1)
	return work()
}
