package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"cairn/internal/oauth"
)

// checkProviders checks that each provider's hosts answer at all. It asks all hosts at the same time.
func checkProviders(ctx context.Context, e deployment) []Finding {
	switch {
	case e.config.Sandbox():
		return []Finding{{OK, "providers", "the sandbox simulates all three: no provider has keys"}}
	case len(e.providers) == 0 && e.callbackErr == nil:
		return []Finding{{Warning, "providers",
			"none has keys: people can only sign in with a password, and can't connect anything"}}
	}
	type host struct{ provider, address string }
	var hosts []host
	for _, p := range e.providers {
		for _, address := range hostsOf(p) {
			hosts = append(hosts, host{p.Key, address})
		}
	}
	found := make([]Finding, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { found[i] = reach(ctx, e.limits.Doctor, h.provider, h.address) })
	}
	wg.Wait()
	return found
}

// hostsOf returns the addresses that the server itself calls, without paths.
func hostsOf(p *oauth.Provider) (hosts []string) {
	for _, address := range []string{p.Config.Endpoint.TokenURL, p.API, p.Revoke} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			continue
		}
		if host := u.Scheme + "://" + u.Host; !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func reach(ctx context.Context, limit time.Duration, provider, address string) Finding {
	what := "reach " + provider
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, address+"/", nil)
	if err != nil {
		return Finding{Failure, what, address + " is not a valid address"}
	}
	began := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(r) // a redirect is an answer too
	switch {
	case ctx.Err() != nil:
		return Finding{Failure, what, fmt.Sprintf("%s does not answer within %v: "+
			"check the provider, firewalls and the DNS", address, limit)}
	case err != nil:
		return Finding{Failure, what, fmt.Sprintf("%s can't be reached: %v", address, err)}
	}
	_ = resp.Body.Close()
	return Finding{OK, what, fmt.Sprintf("%s answers in %v", address, time.Since(began).Round(time.Millisecond))}
}

// checkCallbacks shows the callback URLs, which operators have to register at the providers.
func checkCallbacks(_ context.Context, e deployment) (found []Finding) {
	switch {
	case e.callbackErr != nil:
		return []Finding{{Failure, "callback", e.callbackErr.Error()}}
	case e.config.Production && e.config.PublicURL == nil:
		return nil // the configuration's problem
	}
	for _, p := range e.providers {
		address := p.Config.RedirectURL
		words := address + " has to be registered exactly like this"
		if p.RegistersDomain {
			u, err := url.Parse(address)
			if err != nil {
				continue // the configuration's problem
			}
			words = fmt.Sprintf("%s; register its bare domain, %s", address, u.Hostname())
		}
		found = append(found, Finding{OK, "callback " + p.Key, words})
	}
	return found
}

// noticeAhead is how long before a deadline the doctor begins to warn.
const noticeAhead = 90 * 24 * time.Hour

// checkDates lists what providers have announced, and warns of deadlines that concern this site.
func checkDates(_ context.Context, e deployment) (found []Finding) {
	for _, p := range e.known {
		for _, d := range p.Deadlines {
			f := Finding{OK, "dates", fmt.Sprintf("%s (%s): %s",
				d.Day.Format(time.DateOnly), DaysTo(d.Day, e.today), d.Words)}
			if d.Open != nil && d.Open(p) && slices.Contains(e.providers, p) && d.Day.Sub(e.today) < noticeAhead {
				f.Verdict = Warning
			}
			found = append(found, f)
		}
	}
	return found
}

// DaysTo says how far away a day is.
func DaysTo(day, today time.Time) string {
	days := int(day.Sub(today.Truncate(24*time.Hour)).Hours() / 24)
	switch {
	case days == 0:
		return "today"
	case days < 0:
		return Plural(-days, "day") + " ago"
	}
	return Plural(days, "day") + " left"
}
