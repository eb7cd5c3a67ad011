package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"github.com/ccojocar/zxcvbn-go"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

const (
	minPassword = 12
	maxPassword = 256 // characters

	waitingPerHash = 100 // some three seconds' work
)

// Cost is what argon2id spends on a hash. The zero value is the second choice of OWASP's password storage sheet: 19 MiB, two
// passes. Tests that are not about it spend less.
type Cost struct {
	Memory uint32 // KiB; 0: 19 MiB
	Passes uint32 // 0: 2
}

func (c Cost) params() *argon2id.Params {
	return &argon2id.Params{
		Memory: cmp.Or(c.Memory, 19*1024), Iterations: cmp.Or(c.Passes, 2), Parallelism: 1, SaltLength: 16, KeyLength: 32,
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

// hasher runs argon2id. A hash takes 19 MiB and a core for some 20 ms, so one core is left to everybody else, and only so
// many wait; the rest is told to come back rather than let memory run out.
type hasher struct {
	params  *argon2id.Params
	decoy   string
	slots   *semaphore.Weighted
	waiting atomic.Int64
	queue   int64
}

func newHasher(cost Cost) *hasher {
	params := cost.params()
	slots := max(1, int64(runtime.GOMAXPROCS(0))-1)
	return &hasher{params: params, decoy: decoyHash(params), slots: semaphore.NewWeighted(slots), queue: waitingPerHash * slots}
}

func (h *hasher) make(ctx context.Context, password string) (hash string, err error) {
	err = h.run(ctx, func() error {
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
	return work()
}

// checkPassword refuses what is too short, too long or among the first guesses of anybody: common passwords and their
// variations, the names of this product and its providers, and the person's own name and address. Nothing else is asked
// of a password (no composition rules).
func checkPassword(password string, about ...string) error {
	password = norm.NFC.String(password)
	refuse := func(message string) error { return &FieldError{Field: "password", Message: message} }
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return refuse("This password contains characters that can't be read. Please type it again.")
	case n < minPassword:
		return refuse(fmt.Sprintf("Please use at least %d characters. A few words work well.", minPassword))
	case n > maxPassword:
		return refuse(fmt.Sprintf("Please use at most %d characters.", maxPassword))
	}
	words := []string{"cairn", "garmin", "connect", "foursquare", "swarm", "strava"}
	for _, word := range about {
		words = append(words, strings.FieldsFunc(strings.ToLower(word), func(r rune) bool { return r == '@' || r == '.' || r == ' ' })...)
	}
	// The estimate takes time that grows with the square of the length; a guessable beginning is what it is asked about.
	if r := []rune(password); zxcvbn.PasswordStrength(string(r[:min(len(r), 40)]), words).Score < 2 {
		return refuse("This password is one of the first that others would guess. Please choose another; a few unrelated words work well.")
	}
	return nil
}
