package bench

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BenchmarkStorm has 200 people sign in at the same moment to a server with 512 MiB, while others read pages.
func BenchmarkStorm(b *testing.B) {
	const people = 200
	m := newMachine(b)
	address := m.ours("storm")
	fill(b, address, cookies, "30 days")
	// prlimit bounds the process's data. Go crashes if the kernel refuses more.
	limited := []string{"prlimit", "--data=536870912", m.server}
	ours := m.start(limited, "DATABASE_URL="+address, "TRUSTED_PROXIES=127.0.0.1,::1")
	out := figures{os.Stdout}
	calm := run(b, load{ours.address, 8, 3 * time.Second, signedIn("/", cookies)})
	for i := range people {
		status, _, err := post(ours, i, "/signup")
		if err != nil || status != http.StatusSeeOther && status != http.StatusServiceUnavailable {
			b.Fatalf("sign-up %d: %d %v", i, status, err)
		}
	}
	var during outcome
	var others errgroup.Group
	others.Go(func() (err error) {
		during, err = load{ours.address, 8, 3 * time.Second, signedIn("/", cookies)}.run(b.Context())
		return err
	})
	answers, waits := map[string]int{}, sync.Mutex{}
	began, last := time.Now(), time.Duration(0)
	var storm sync.WaitGroup
	for i := range people {
		storm.Go(func() {
			status, retry, err := post(ours, i, "/login")
			waits.Lock()
			defer waits.Unlock()
			answers[strings.TrimSpace(fmt.Sprint(status, " ", retry, errorText(err)))]++
			last = time.Since(began)
		})
	}
	storm.Wait()
	if err := others.Wait(); err != nil {
		b.Fatal(err)
	}
	out.line("\n%d sign-ins at once, 512 MiB: %v, the last after %v; memory at most %.0f MiB",
		people, answers, last.Round(time.Millisecond), ours.memory("VmHWM"))
	out.line("pages of others at 8 connections: p95 %v before, %v during (p99 %v)",
		calm.percentile(0.95), during.percentile(0.95), during.percentile(0.99))
	if err := during.only(http.StatusOK); err != nil {
		b.Fatal(err)
	}
}

func errorText(err error) string {
	if err != nil {
		return " failed"
	}
	return ""
}

// post sends a sign-up or sign-in of the ith person, from their own address because limits are per network.
func post(p process, i int, path string) (status int, retry string, err error) {
	form := url.Values{
		"name":     {"Ada"},
		"email":    {fmt.Sprintf("ada%d@example.org", i)},
		"password": {"granite lichen and slow rain"},
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+p.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", 100+i/200, 1+i%200))
	client := &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	_ = resp.Body.Close()
	if after := resp.Header.Get("Retry-After"); after != "" {
		retry = "with Retry-After"
	}
	return resp.StatusCode, retry, nil
}
