package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/argon2id"

	"cairn/internal/testkit"
)

func TestRaceHashingIsBounded(t *testing.T) {
	t.Parallel()
	for range testkit.Rounds(t) {
		wantBounded(t, newHasher(Cost{}))
	}
}

// wantBounded gives a hasher more work than it accepts, and checks how much runs at once.
func wantBounded(t *testing.T, h *hasher) {
	t.Helper()
	var running, most, refused atomic.Int64
	full := make(chan struct{}) // closed when the first is refused
	var wg sync.WaitGroup
	for range 10 * h.queue {
		wg.Go(func() {
			err := h.run(t.Context(), func() error {
				now := running.Add(1)
				for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
				}
				<-full
				running.Add(-1)
				return nil
			})
			if errors.Is(err, ErrBusy) && refused.Add(1) == 1 {
				close(full)
			}
		})
	}
	wg.Wait()
	if cores := h.queue / queuePerSlot; most.Load() > cores {
		t.Errorf("%d hashes ran at once on %d cores", most.Load(), cores)
	}
	if refused.Load() == 0 {
		t.Error("no hash was refused")
	}
	if h.queued.Load() != 0 {
		t.Errorf("%d are still counted as queued", h.queued.Load())
	}
}

func TestCancelledWaitEnds(t *testing.T) {
	t.Parallel()
	h := newHasher(Cost{})
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range h.queue / queuePerSlot {
		entered := make(chan struct{})
		wg.Go(func() { _ = h.run(t.Context(), func() error { close(entered); <-release; return nil }) })
		<-entered
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.run(ctx, func() error { return nil }); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(release)
	wg.Wait()
}

// An operator sees how many hashes run and how many wait.
func TestHashLoad(t *testing.T) {
	t.Parallel()
	a := &Accounts{hash: newHasher(Cost{})}
	cores := int(a.hash.slots)
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range cores {
		entered := make(chan struct{})
		wg.Go(func() { _ = a.hash.run(t.Context(), func() error { close(entered); <-release; return nil }) })
		<-entered
	}
	for range 3 {
		wg.Go(func() { _ = a.hash.run(t.Context(), func() error { return nil }) })
	}
	testkit.Eventually(t, "three wait", func() bool { return a.HashLoad().Waiting >= 3 })
	if got, want := a.HashLoad(), (HashLoad{cores, 3, cores, 99 * cores}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	close(release)
	wg.Wait()
	if got := a.HashLoad(); got.Running != 0 || got.Waiting != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// The second choice of OWASP's sheet; less is for tests only.
func TestUsualCostIsOWASPs(t *testing.T) {
	t.Parallel()
	hash, err := newHasher(Options{}.Cost).make(t.Context(), "granite lichen and slow rain")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("made %q, %v", hash, err)
	}
}

// The decoy must cost as much as a real hash, or the time of a failed sign-in reveals whether there is an account.
func TestDecoyCostsAsMuchAsAHash(t *testing.T) {
	t.Parallel()
	for _, cost := range []Cost{{}, {Memory: 64, Passes: 1}} {
		h := newHasher(cost)
		made, err := h.make(t.Context(), "granite lichen and slow rain")
		if err != nil {
			t.Fatal(err)
		}
		real, _, _, err := argon2id.DecodeHash(made)
		if err != nil {
			t.Fatal(err)
		}
		params, _, _, err := argon2id.DecodeHash(h.decoy)
		if err != nil || *params != *real {
			t.Errorf("the decoy has %+v, %v; hashes have %+v", params, err, real)
		}
		if match, err := h.matches(t.Context(), "granite lichen and slow rain", h.decoy); match || err != nil {
			t.Errorf("comparing with the decoy: %v, %v", match, err)
		}
	}
}

func TestStoredHashHasALimitedCost(t *testing.T) {
	t.Parallel()
	huge := "$argon2id$v=19$m=4194304,t=2,p=1$+JxlSEZmWxZ9YxOzhqrdKw$YH0BplG49RR6RcX3IukpM5rZCpXaBJtRHIDRyQ53kSA"
	if _, err := newHasher(Cost{}).matches(t.Context(), "x", huge); err == nil {
		t.Error("a hash of 4 GiB was computed")
	}
}
