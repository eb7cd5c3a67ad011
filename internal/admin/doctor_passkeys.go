package admin

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"cairn/internal/auth"
)

// checkPasskeys counts the passkeys that don't sign in at the host of PUBLIC_URL, because they are for one that it had
// before.
func checkPasskeys(ctx context.Context, e deployment) []Finding {
	if e.databaseErr != nil || e.database.Version < 28 { // the first with passkeys
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	host := strings.ToLower(e.config.Site().Hostname())
	there, elsewhere, err := auth.CountPasskeys(ctx, e.pool, host)
	_, noName := netip.ParseAddr(host)
	switch {
	case err != nil:
		return []Finding{{Warning, "passkeys", fmt.Sprintf("they can't be counted: %v", err)}}
	case elsewhere > 0:
		return []Finding{{Warning, "passkeys", fmt.Sprintf("%d of %d are for another host than %s: "+
			"they were made before PUBLIC_URL changed, and don't work here", elsewhere, there+elsewhere, host)}}
	case noName == nil:
		return []Finding{{Warning, "passkeys", "people can't add any: " +
			"PUBLIC_URL has an IP address, and passkeys need a host name"}}
	}
	return []Finding{{OK, "passkeys", fmt.Sprintf("%d, for %s; they stop working if the host in PUBLIC_URL changes",
		there, host)}}
}
