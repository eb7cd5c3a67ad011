package auth

import (
	"fmt"
	"net/netip"
	"time"
)

// Limit is how many of an action may happen within a window that starts with the first of them.
type Limit struct {
	Name   string // in docs/security.md, in metrics and in the database: not to be changed lightly
	Hits   int
	Window time.Duration
}

// Limits are all rate limits. What they are for, route by route, is in docs/security.md, which a test compares with
// this.
type Limits struct {
	SignInPair, SignInBrowser, SignInNetwork, SignInAccount Limit
	NewEmailPerson, NewEmailNetwork                         Limit
	PasswordPair, PasswordSession                           Limit
	ChangePerson, ChangeNetwork                             Limit
	BeginPerson, BeginNetwork                               Limit
	FinishBrowser, FinishAccount, FinishNetwork             Limit
	CallPause, CallHour, CallNetwork                        Limit
}

// DefaultLimits are the limits of the real world. For an e-mail and a network together the limit is low; for an e-mail
// alone it is high enough that a stranger elsewhere does not easily lock the owner out, and a provider still lets the
// owner in.
func DefaultLimits() Limits {
	const quarter = 15 * time.Minute
	return Limits{
		SignInPair:      Limit{"sign-in, e-mail and network", 10, quarter},
		SignInBrowser:   Limit{"sign-in, known browser", 10, quarter},
		SignInNetwork:   Limit{"sign-in, network", 100, quarter},
		SignInAccount:   Limit{"sign-in, e-mail", 100, time.Hour},
		NewEmailPerson:  Limit{"new e-mail, person", 10, time.Hour},
		NewEmailNetwork: Limit{"new e-mail, network", 20, time.Hour},
		PasswordPair:    Limit{"password check, session and network", 10, quarter},
		PasswordSession: Limit{"password check, session", 100, time.Hour},
		ChangePerson:    Limit{"change, person", 60, quarter},
		ChangeNetwork:   Limit{"change, network", 600, quarter},
		BeginPerson:     Limit{"consent, person", 20, quarter},
		BeginNetwork:    Limit{"consent, network", 100, quarter},
		FinishBrowser:   Limit{"provider sign-in, browser", 5, quarter},
		FinishAccount:   Limit{"provider sign-in, account", 5, quarter},
		FinishNetwork:   Limit{"provider sign-in, network", 20, quarter},
		CallPause:       Limit{"connection call, pause", 1, 15 * time.Second},
		CallHour:        Limit{"connection call, person", 20, time.Hour},
		CallNetwork:     Limit{"connection call, network", 200, time.Hour},
	}
}

// siteFactor is how many times as much an IPv6 /48 may do as a /64. A person with one /64 often has the /48 around it,
// but so may a company, or the neighbours.
const siteFactor = 2

// Count is a limit applied to somebody: one counter, or two for an IPv6 network.
type Count struct {
	limit Limit
	who   []subject
}

type subject struct {
	name string
	hits int
}

// Of applies a limit to what is named: a person, a session, an e-mail.
func (l Limit) Of(who ...any) Count {
	return Count{l, []subject{{fmt.Sprintln(who...), l.Hits}}}
}

// From applies a limit to the network of an address, together with what else is named: to an IPv4 address, or to an
// IPv6 /64 and to the /48 around it.
func (l Limit) From(address string, who ...any) Count {
	rest := fmt.Sprintln(who...)
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return Count{l, []subject{{address + " " + rest, l.Hits}}}
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return Count{l, []subject{{ip.String() + " " + rest, l.Hits}}}
	}
	network := func(bits int) string { return netip.PrefixFrom(ip, bits).Masked().String() + " " + rest }
	return Count{l, []subject{{network(64), l.Hits}, {network(48), siteFactor * l.Hits}}}
}
