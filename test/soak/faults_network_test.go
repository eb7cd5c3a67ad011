package soak

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// network is the line between the server and PostgreSQL. It can be made bad.
type network struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newNetwork(t *testing.T, address string) network {
	t.Helper()
	control := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(control, "postgres", "127.0.0.1:0", address)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return network{t, proxy}
}

// url returns the address of the database through the line.
func (n network) url() string {
	return "postgres://cairn@" + n.proxy.Listen + "/cairn?sslmode=disable"
}

// add makes the share toxicity of connections bad in one direction ("upstream" is to PostgreSQL). Times are in
// milliseconds.
func (n network) add(kind, direction string, toxicity float64, attributes map[string]any) {
	n.t.Helper()
	toxic, err := json.Marshal(map[string]any{
		"type":       kind,
		"name":       kind + direction,
		"stream":     direction,
		"toxicity":   toxicity,
		"attributes": attributes,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.proxy.Toxics.AddToxicJson(bytes.NewReader(toxic)); err != nil {
		n.t.Fatal(err)
	}
}

// heal makes the line good again. Connections that lost data stay broken.
func (n network) heal() { n.proxy.Toxics.ResetToxics(n.t.Context()) }
