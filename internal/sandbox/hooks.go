package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	maxPosts   = 16     // that run at once
	maxPending = 10_000 // webhooks that are not done, those that wait for the next try included
)

// hooks sends webhooks in the background. Pending ones are lost at a restart.
type hooks struct {
	client  *http.Client
	retry   time.Duration
	life    context.Context // ends with Close, and with it deliveries and hanging responses
	end     context.CancelFunc
	slots   chan struct{}
	mu      sync.Mutex // guards pending, and work against Close
	pending int
	work    sync.WaitGroup
}

func newHooks(ctx context.Context, retry time.Duration) *hooks {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // webhooks stay on this machine
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h := &hooks{client: client, retry: retry, slots: make(chan struct{}, maxPosts)}
	h.life, h.end = context.WithCancel(ctx)
	return h
}

// Close gives up deliveries, ends hanging responses, and returns when nothing of the sandbox runs in the background.
// The end of New's context does the same without waiting.
func (h *hooks) Close() {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	h.work.Wait()
	h.client.CloseIdleConnections()
}

// webhook is what a provider posts to us.
type webhook struct {
	provider, what string
	url            string
	header         http.Header
	body           []byte
	timeout        time.Duration
	tries          int
	growth         time.Duration // of the wait between tries, each time
}

// send posts the webhook in the background. It is dropped without an address, and if maxPending are pending.
func (s *Sandbox) send(ctx context.Context, n webhook) error {
	if n.url == "" {
		return nil
	}
	var id int64
	err := s.pool.QueryRow(ctx, `
		INSERT INTO cairn_sandbox.deliveries (provider, what) VALUES ($1, $2)
		RETURNING id`, n.provider, n.what).Scan(&id)
	if err != nil {
		return fmt.Errorf("sandbox: record delivery: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return nil
	}
	if s.pending >= maxPending {
		s.log.WarnContext(ctx, "sandbox dropped a webhook: too many are queued", "provider", n.provider, "what", n.what)
		return nil
	}
	s.pending++
	s.work.Go(func() {
		s.deliver(id, n)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending--
	})
	return nil
}

// deliver tries until the response is 200, as often as the provider would.
func (s *Sandbox) deliver(id int64, n webhook) {
	for try, wait := 1, s.retry; ; try, wait = try+1, wait*n.growth {
		result := s.post(n)
		if s.life.Err() != nil {
			return
		}
		if err := s.recordTry(s.life, id, try, result); err != nil && s.life.Err() == nil {
			s.log.ErrorContext(s.life, "sandbox failed", "error", err)
		}
		if result == "200" || try == n.tries || !s.wait(s.life, wait) {
			return
		}
	}
}

// post returns the status, or "no answer". It reads a little of the response.
func (s *Sandbox) post(n webhook) string {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.life.Done():
		return ""
	}
	ctx, done := context.WithTimeout(s.life, n.timeout)
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(n.body))
	if err != nil {
		return "no answer"
	}
	r.Header = n.header.Clone()
	resp, err := s.client.Do(r)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return strconv.Itoa(resp.StatusCode)
}

// Delivery is a webhook that was posted, or is being posted.
type Delivery struct {
	ID       int64
	Provider string
	What     string // "activity create", "deregistrations"
	Tries    int
	Result   string // of the last try: a status, "no answer", or "" before the first is over
	SentAt   time.Time
}

// OK reports whether it was accepted.
func (d Delivery) OK() bool { return d.Result == "200" }

// Deliveries lists the provider's last hundred, newest first.
func (s store) Deliveries(ctx context.Context, provider string) ([]Delivery, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT id, provider, what, tries, result, sent_at
		FROM cairn_sandbox.deliveries WHERE provider = $1
		ORDER BY id DESC LIMIT 100`, provider)
	deliveries, err := pgx.CollectRows(rows, pgx.RowToStructByName[Delivery])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list deliveries: %w", err)
	}
	return deliveries, nil
}

func (s store) recordTry(ctx context.Context, id int64, tries int, result string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn_sandbox.deliveries SET tries = $2, result = $3 WHERE id = $1`, id, tries, result)
	if err != nil {
		return fmt.Errorf("sandbox: record delivery: %w", err)
	}
	return nil
}

// jsonWebhook returns the webhook with a JSON body.
func jsonWebhook(n webhook, contentType string, body any) (webhook, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return n, fmt.Errorf("sandbox: encode webhook: %w", err)
	}
	if n.header == nil {
		n.header = http.Header{}
	}
	n.header.Set("Content-Type", contentType)
	n.body = text
	return n, nil
}
