// Package avatar fetches a person's picture from a provider and makes a small copy of it.
//
//	avatar.go    fetching, only from the hosts that a provider lists, and never from a private address
//	picture.go   decoding the answer, and encoding the copy
//
// A provider only names an address. What is there may be large, slow, hostile or no picture at all. Only the pixels of
// the copy are kept.
package avatar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrNoPicture means that there is no picture that can be shown, and that asking again won't help.
var ErrNoPicture = errors.New("avatar: no picture that can be shown")

var errPrivate = errors.New("avatar: not a public address")

// Options say how pictures are fetched. The zero value is for production.
type Options struct {
	Timeout time.Duration // for everything about one picture: 10 s
	// Simulated is the host of providers that are simulated on this machine, like "127.0.0.1:3001"; "": there are none.
	// It may be asked over plain HTTP.
	Simulated string
}

// Fetcher fetches pictures. Make it with New.
type Fetcher struct {
	Options
	transport *http.Transport
}

// New returns a fetcher. It uses no proxy: the addresses that a proxy connects to could not be checked.
func New(o Options) *Fetcher {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	f := &Fetcher{Options: o}
	dialer := &net.Dialer{Timeout: o.Timeout, Control: f.control}
	f.transport = &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    o.Timeout,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true,
		DisableKeepAlives:      true, // so that each request's connection is checked
	}
	return f
}

const (
	maxBody      = 2 << 20
	maxRedirects = 3
)

// Fetch makes a copy of the picture at an address. The address and its redirects have to be at hosts; "*.example.com"
// is any host below example.com. Errors: ErrNoPicture; others may pass.
func (f *Fetcher) Fetch(ctx context.Context, address string, hosts []string) (Picture, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil || !f.allowed(u, hosts) {
		return Picture{}, ErrNoPicture
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Picture{}, ErrNoPicture
	}
	r.Header.Set("Accept", "image/webp,image/png,image/jpeg")
	r.Header.Set("User-Agent", "Cairn")
	resp, err := f.client(hosts).Do(r)
	if err != nil {
		return Picture{}, failure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return Picture{}, fmt.Errorf("avatar: status %d", resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength > maxBody {
		return Picture{}, ErrNoPicture
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return Picture{}, failure(err)
	}
	if len(body) > maxBody {
		return Picture{}, ErrNoPicture
	}
	return pictureOf(body)
}

// client follows redirects from one allowed address to another.
func (f *Fetcher) client(hosts []string) *http.Client {
	return &http.Client{
		Transport: f.transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			r.Header.Del("Referer")
			if len(via) > maxRedirects || !f.allowed(r.URL, hosts) {
				return ErrNoPicture
			}
			return nil
		},
	}
}

// failure leaves out the address, which may name a person.
func failure(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if errors.Is(err, errPrivate) || errors.Is(err, ErrNoPicture) {
		return ErrNoPicture
	}
	return fmt.Errorf("avatar: %w", err)
}

// allowed reports whether an address is https at one of the hosts, or at the simulated providers.
func (f *Fetcher) allowed(u *url.URL, hosts []string) bool {
	if u.User != nil || u.Opaque != "" {
		return false
	}
	if f.Simulated != "" && u.Scheme == "http" && u.Host == f.Simulated {
		return true
	}
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return slices.ContainsFunc(hosts, func(pattern string) bool {
		domain, wild := strings.CutPrefix(pattern, "*")
		return host == pattern || wild && strings.HasSuffix(host, domain) && host != domain
	})
}

// control refuses to connect to an address that is not public. It sees the IP address that is connected to, so a name
// can't lead elsewhere between the check and the connection.
func (f *Fetcher) control(_, address string, _ syscall.RawConn) error {
	if f.Simulated != "" && address == f.Simulated {
		return nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || to.Port() != 443 || !public(to.Addr()) {
		return errPrivate
	}
	return nil
}

// reserved are the addresses in IANA's registries of special addresses that netip does not know, and those that contain
// an IPv4 address.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}
