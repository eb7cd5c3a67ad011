package auth

import (
	"fmt"
	"net/netip"
	"time"
)

// Limit is how often an action is allowed within a window, which starts with the first of them.
type Limit struct {
	Name   string // in docs/security.md, in metrics and in the database; a new name starts a new count
	Max    int
	Window time.Duration
}

// Limits are all rate limits. docs/security.md says what each is for; a test compares it with this.
type Limits struct {
	SignInPair, SignInBrowser, SignInNetwork, SignInAccount Limit
	NewEmailPerson, NewEmailNetwork                         Limit
	PasswordPair, PasswordSession                           Limit
	PasskeyPerson                                           Limit
	CodeAccount, CodeBrowser, CodeNetwork                   Limit
	ChangePerson, ChangeNetwork                             Limit
	BeginPerson, BeginNetwork                               Limit
	FinishBrowser, FinishAccount, FinishNetwork             Limit
	CallPause, CallHour, CallNetwork                        Limit
	DownloadPerson, DownloadNetwork                         Limit
	LinkSignIn, LinkNetwork                                 Limit
	MailPerson, MailNetwork, ResetStrangers                 Limit
	ConfirmLink, ConfirmNetwork                             Limit
}

// DefaultLimits are the limits of production. For an e-mail together with a network the limit is low. For an e-mail
// alone it is so high that a stranger in another network does not easily lock the owner out. If one does, the owner can
// still sign in with a provider.
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
		PasskeyPerson:   Limit{"passkey sign-in, person", 20, quarter},
		CodeAccount:     Limit{"code, account", 10, time.Hour},
		CodeBrowser:     Limit{"code, known browser", 10, quarter},
		CodeNetwork:     Limit{"code, network", 30, quarter},
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
		DownloadPerson:  Limit{"download, person", 10, time.Hour},
		DownloadNetwork: Limit{"download, network", 100, time.Hour},
		LinkSignIn:      Limit{"link, sign-in", 10, quarter},
		LinkNetwork:     Limit{"unknown link, network", 20, quarter},
		MailPerson:      Limit{"mail, person", 10, time.Hour},
		MailNetwork:     Limit{"mail, network", 20, time.Hour},
		ResetStrangers:  Limit{"reset mail, account", 10, 24 * time.Hour},
		ConfirmLink:     Limit{"mailed link", 10, time.Hour},
		ConfirmNetwork:  Limit{"mailed link, network", 30, time.Hour},
	}
}

// siteFactor is the limit of an IPv6 /48 as a multiple of that of a /64. A person with a /64 often has the /48 around
// it, but a company or several neighbours may share one.
const siteFactor = 2

// Count is a limit and what it counts: one counter, or two for an IPv6 network.
type Count struct {
	limit    Limit
	subjects []subject
}

type subject struct {
	name string
	max  int
}

// Of applies a limit to a person, a session, an e-mail or a combination of them.
func (l Limit) Of(subjects ...any) Count {
	return Count{l, []subject{{fmt.Sprintln(subjects...), l.Max}}}
}

// From applies a limit to the network of an address, in combination with other subjects: to an IPv4 address, or to an
// IPv6 /64 and the /48 around it.
func (l Limit) From(address string, subjects ...any) Count {
	rest := fmt.Sprintln(subjects...)
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return Count{l, []subject{{address + " " + rest, l.Max}}}
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return Count{l, []subject{{ip.String() + " " + rest, l.Max}}}
	}
	network := func(bits int) string { return netip.PrefixFrom(ip, bits).Masked().String() + " " + rest }
	return Count{l, []subject{{network(64), l.Max}, {network(48), siteFactor * l.Max}}}
}
