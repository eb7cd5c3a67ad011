package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

func (c *reader) port() int {
	value := cmp.Or(c.value("PORT"), "3001")
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		c.problem("PORT is not a number from 0 to 65535")
	}
	return int(port)
}

func (c *reader) listenAddr() string {
	value := c.value("LISTEN_ADDR")
	if _, err := netip.ParseAddr(value); value != "" && err != nil {
		c.problem("LISTEN_ADDR is not an IP address like 0.0.0.0, :: or 127.0.0.1; PORT sets the port")
	}
	return value
}

func (c *reader) publicURL() *url.URL {
	value, name := c.first("PUBLIC_URL")
	if value == "" {
		return nil
	}
	u, err := url.Parse(strings.TrimRight(value, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.Path != "" || u.RawQuery != "" || u.User != nil {
		c.problem("%s is not an address like https://cairn.example.org, without a path", name)
		return nil
	}
	return u
}

// metricsAddr reads the address of the metrics, with its own port: clients that reach PORT should not see metrics.
func (c *reader) metricsAddr() string {
	value := c.value("METRICS_ADDR")
	if value == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		c.problem("METRICS_ADDR is not an address to listen on, like 127.0.0.1:9464 or :9464")
	}
	return value
}

// noProxies is the value of TRUSTED_PROXIES for a server with no proxy in front.
const noProxies = "none"

func (c *reader) trustedProxies() (prefixes []netip.Prefix) {
	value := c.value("TRUSTED_PROXIES")
	if value == noProxies {
		return nil
	}
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if addr, addrErr := netip.ParseAddr(part); addrErr == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err == nil && prefix.Bits() == 0 {
			c.problem("TRUSTED_PROXIES: %s trusts every address, "+
				"so anyone could claim any client address and escape all limits", part)
			continue
		}
		if err != nil {
			c.problem("TRUSTED_PROXIES: %q is neither an address nor a range like 10.0.0.0/8; "+
				"without a proxy, the whole value is the word none", part)
			continue
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}

// IsLoopback reports whether a host name or address always means the machine on which it is used.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// SelfAddr returns the address at which this machine reaches its own server.
func (c Config) SelfAddr() string {
	addr, err := netip.ParseAddr(c.ListenAddr)
	if err != nil || addr.IsUnspecified() {
		return "127.0.0.1"
	}
	return addr.String()
}

// LocalSite returns the URL at which a browser on this machine reaches a server on port.
func LocalSite(port int) *url.URL {
	return &url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(port))}
}
