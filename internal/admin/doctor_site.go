package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"cairn/internal/config"
	"cairn/internal/instance"
)

// checkVariables names variables that are set but not read, if they look as if they were meant for us.
func checkVariables(_ context.Context, e deployment) (found []Finding) {
	for _, name := range e.names {
		meant, suspect := config.Misspelt(name)
		switch {
		case suspect && meant != "":
			found = append(found, Finding{Warning, "variables",
				fmt.Sprintf("%s is set, but nothing reads it: is %s meant?", name, meant)})
		case suspect:
			found = append(found, Finding{Warning, "variables",
				fmt.Sprintf("%s is set, but nothing reads it: docs/configuration.md lists the variables", name)})
		}
	}
	return found
}

// namesOf returns the names of the variables that are set in the environment or in .env.
func namesOf(environment []string, file map[string]string) (names []string) {
	for _, variable := range environment {
		if name, value, _ := strings.Cut(variable, "="); value != "" {
			names = append(names, name)
		}
	}
	for name, value := range file {
		if value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkProxies lists the trusted proxies, and warns of untrusted peers that sent X-Forwarded-For to running servers.
func checkProxies(ctx context.Context, e deployment) (found []Finding) {
	servers, err := e.servers(ctx)
	if err != nil {
		return []Finding{{Warning, "proxies", fmt.Sprintf(
			"the servers' reports about proxies can't be read: %v", err)}}
	}
	for _, s := range servers {
		if s.UntrustedProxy != nil {
			found = append(found, Finding{Warning, "proxies", fmt.Sprintf(
				"%s sent X-Forwarded-For to server %s, and TRUSTED_PROXIES does not name it. "+
					"If it is your proxy, everyone behind it shares its address and one person's limits",
				s.UntrustedProxy, s.ID)})
		}
	}
	switch trusted := e.config.TrustedProxies; {
	case len(found) > 0:
	case len(trusted) > 0:
		var names []string
		for _, prefix := range trusted {
			names = append(names, prefix.String())
		}
		found = append(found, Finding{OK, "proxies", "the client is named by " + strings.Join(names, ", ")})
	case e.config.Public() && !e.config.Production:
		found = append(found, Finding{Warning, "proxies", "TRUSTED_PROXIES is empty: " +
			"if a proxy or tunnel stands in front, everyone behind it shares its address"})
	case e.config.Production:
		found = append(found, Finding{OK, "proxies",
			"none, as TRUSTED_PROXIES says: a client has the address that it connects from"})
	}
	return found
}

// servers returns the running servers, or none if the database or its tables are missing.
func (e deployment) servers(ctx context.Context) (live []instance.Instance, err error) {
	if e.databaseErr != nil || e.database.Version == 0 || len(e.database.Pending) > 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	all, err := instance.List(ctx, e.pool)
	return slices.DeleteFunc(all, func(i instance.Instance) bool { return !i.Live }), err
}

// checkPublicURL asks the server at PUBLIC_URL for its id. It is no failure if this machine can't reach it: that may be
// intended.
func checkPublicURL(ctx context.Context, e deployment) []Finding {
	site := e.config.PublicURL
	if site == nil {
		return nil
	}
	say := func(v Verdict, format string, args ...any) []Finding {
		return []Finding{{v, "public url", fmt.Sprintf(format, args...)}}
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, site.JoinPath("/healthz").String(), nil)
	if err != nil {
		return say(Failure, "PUBLIC_URL is not a valid address")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return []Finding{unreached(site.Host, err)}
	}
	defer func() { _ = resp.Body.Close() }()
	if to, err := resp.Location(); err == nil && to.Host != site.Host {
		return say(Warning, "%s redirects browsers to %s: should PUBLIC_URL be that? "+
			"Forms and callbacks work at one name only", site.Host, to.Host)
	}
	var answer struct{ Status, Instance string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil || answer.Instance == "" {
		return say(Warning, "something at %s answers that is not this version of Cairn (status %d): "+
			"is PUBLIC_URL mistyped, or does the proxy lead elsewhere?", site.Host, resp.StatusCode)
	}
	servers, err := e.servers(ctx)
	switch {
	case err != nil || e.databaseErr != nil:
		return say(OK, "a Cairn answers at %s; without the database it can't be compared with this one", site.Host)
	case !slices.ContainsFunc(servers, func(i instance.Instance) bool { return i.ID == answer.Instance }):
		return say(Warning, "a Cairn answers at %s that is none of this database's servers: "+
			"is PUBLIC_URL mistyped, or does the proxy lead elsewhere?", site.Host)
	}
	return say(OK, "%s leads here, to server %s", site.Host, answer.Instance)
}

// unreached explains why nothing answered. An unknown name or an untrusted certificate is a mistake. Otherwise the
// network may keep this machine from the public address on purpose.
func unreached(host string, err error) Finding {
	var dns *net.DNSError
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return Finding{Warning, "public url", fmt.Sprintf("the name %s is unknown here: is PUBLIC_URL mistyped? "+
			"Browsers and providers are sent there", host)}
	case badCertificate:
		return Finding{Warning, "public url",
			fmt.Sprintf("the certificate of %s is not trusted for this name: %v", host, err)}
	}
	return Finding{OK, "public url", fmt.Sprintf("%s can't be reached from this machine, which may be intended: "+
		"look with a browser (%v)", host, cmp.Or(errors.Unwrap(err), err))}
}
