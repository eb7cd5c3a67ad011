package routes_test

import (
	"fmt"
	"net/http"
	"strings"

	"cairn/internal/connection"
	"cairn/internal/sandbox"
)

// scene is a situation in which a provider is called.
type scene struct {
	name   string
	calls  []string
	begins bool // nothing is stored yet
	// play leads to the call, makes it go wrong in a mode, and checks the expected result and what
	// comes after.
	play func(l *lane, mode string, want connection.Cause)
}

var scenes = []scene{
	{"connecting", []string{sandbox.Exchange, sandbox.UserInfo, sandbox.Permissions}, true, (*lane).connecting},
	{"signing_in", []string{sandbox.UserInfo}, true, (*lane).signingIn},
	{"checking", []string{sandbox.Refresh, sandbox.UserInfo, sandbox.Permissions}, false, (*lane).checking},
	{"fetching", []string{sandbox.Data}, false, (*lane).fetching},
	{"backfilling", []string{sandbox.Data}, false, (*lane).backfilling},
	{"revoking", []string{sandbox.Refresh, sandbox.Revoke}, false, (*lane).revoking},
}

// shown is what people see of a call's result.
var shown = map[connection.Cause]struct {
	status  int    // of the page that answers them; of an attempt's only where it differs
	heading string // on that page, or the notice on the next
	state   string // of the card
	history string // the newest of what happened
}{
	connection.Works:          {303, "answered: the connection works.", "active", "You connected"},
	connection.NoAnswer:       {504, "didn’t answer.", "degraded", "didn’t answer"},
	connection.BadAnswer:      {502, "isn’t responding properly.", "degraded", "didn’t respond properly"},
	connection.SlowDown:       {503, "has rate-limited us.", "degraded", "rate-limited us"},
	connection.AppRefused:     {502, "isn’t serving Cairn at the moment.", "suspended", "refused Cairn"},
	connection.AthleteLimit:   {502, "limit for this site is reached.", "suspended", "limit for this site was reached"},
	notPermitted:              {502, "isn’t responding properly.", "active", "You connected"},
	connection.RefreshRefused: {303, "disconnected Cairn", "needs_reconnect", "refused to renew our access"},
	connection.AccessRefused:  {303, "disconnected Cairn", "needs_reconnect", "refused our access"},
	connection.Disconnected:   {303, "", "revoking", "You disconnected"},
	connection.Revoked:        {303, "", "none", "that Cairn’s access is removed"},
	connection.NotRevoked:     {303, "", "none", "didn’t confirm that Cairn’s access is removed"},
}

// connecting is a signed-in person who comes back from a provider.
func (l *lane) connecting(mode string, want connection.Cause) {
	again := "form[action='/connect/" + l.provider + "'] button"
	l.comesBack(l.person, l.person.consent("/connect/"+l.provider), mode, want, again)
	l.clear()
	l.person.connect(l.provider, "ada").to("/") // starting again works
}

// signingIn is a visitor who comes back from a provider.
func (l *lane) signingIn(mode string, want connection.Cause) {
	visitor := newBrowser(l.t, l.site)
	visitor.Transport = l.reader
	l.comesBack(visitor, visitor.consent("/login/"+l.provider), mode, want,
		"form[action='/login/"+l.provider+"'] button")
	if signedIn := visitor.signedIn(); signedIn != (want == connection.Connected) {
		l.t.Errorf("signed in: %t", signedIn)
	}
	if n := count(l.t, l.site, `SELECT count(*) FROM cairn.users`); n != 1 && want != connection.Connected {
		l.t.Errorf("%d users, want the one there was", n)
	}
	l.clear()
	visitor.get(visitor.decide(visitor.consent("/login/"+l.provider), "ada", "allow")).to("/")
}

// comesBack finishes an attempt while the lane's call goes wrong.
func (l *lane) comesBack(b browser, consent, mode string, want connection.Cause, again string) {
	callback := b.decide(consent, "ada", "allow")
	if l.provider == sandbox.Strava && l.call == sandbox.UserInfo {
		l.setSwitch(sandbox.NamesAthlete, sandbox.Off) // else it is not asked
	}
	codes := l.requests()[sandbox.Exchange]
	l.set(mode)
	var page answer
	if want == connection.Connected {
		b.get(callback).to("/")
	} else {
		page = b.failed(callback)
	}
	l.set(sandbox.ModeNone)
	if n := l.requests()[sandbox.Exchange] - codes; n != 1 {
		l.t.Errorf("the code was sent %d times, want once", n)
	}
	if want != connection.Connected {
		l.refused(page, want, again)
		l.stored(0)
		return
	}
	l.stored(1)
	l.wantCard(b, "active", "You connected")
	if n := count(l.t, l.site, `
		SELECT count(*) FROM cairn.connections WHERE token_expires_at < now() + interval '1 hour'`); n != 0 {
		l.t.Error("the tokens' end is in the past, or soon")
	}
	if strings.HasPrefix(mode, "id_") && l.call == sandbox.UserInfo {
		if n := count(l.t, l.site, `SELECT count(*) FROM cairn.identities WHERE subject = '9007199254740993'`); n != 1 {
			l.t.Error("the account's id is not the one that came")
		}
	}
	// A connection that is shown as connected works.
	b.post("/connections/" + l.provider + "/check").to("/connections#card-" + l.provider)
}

// waits reports whether another try is of no use yet.
func (l *lane) waits(cause connection.Cause) bool {
	return cause == connection.SlowDown || cause == connection.AppRefused || cause == connection.AthleteLimit
}

// refused checks the page that ends an attempt.
func (l *lane) refused(a answer, want connection.Cause, again string) {
	page := shown[want]
	if want == connection.AccessRefused {
		page.status, page.heading = http.StatusBadGateway, "didn’t accept this attempt."
	}
	a.want(200, "#notice.bad", page.heading).want(200, "#notice", "Nothing was changed. Reference: ")
	if !strings.Contains(l.log.String(), fmt.Sprintf("status=%d", page.status)) {
		l.t.Errorf("the log says nothing of a status %d", page.status)
	}
	if a.Find(again).Length() != 1 {
		l.t.Error("the page lacks a way to start again")
	}
}

// checking is a person who checks whether a connection works. If the call is a refresh, the access
// token has expired.
func (l *lane) checking(mode string, want connection.Cause) {
	l.connected()
	before := l.requests()[l.call]
	l.set(mode)
	a := l.person.post("/connections/" + l.provider + "/check")
	l.set(sandbox.ModeNone)
	if n := l.requests()[l.call] - before; l.call == sandbox.Refresh && n != 1 {
		l.t.Errorf("%d refreshes, want one", n)
	}
	l.stored(1)
	page := shown[want]
	home := l.wantCard(l.person, page.state, page.history)
	if page.status == http.StatusSeeOther {
		a.to("/connections#card-" + l.provider)
		home.want(200, ".notice, .banner", page.heading)
	} else {
		a.want(page.status, "h1", page.heading).want(page.status, "main", "shows its current state.")
		again := a.Find("form[action='/connections/" + l.provider + "/check'] button")
		if again.Length() == 1 == l.waits(want) {
			l.t.Errorf("%d buttons check again", again.Length())
		}
	}
	l.recovers(mode, page.state)
}

// recovers checks that a connection goes on where it can, and that reconnecting fixes it where it
// can't. Refresh tokens that were lost on their way are no longer usable.
func (l *lane) recovers(mode, state string) {
	lost := l.call == sandbox.Refresh && l.provider != sandbox.Foursquare &&
		(mode == sandbox.ModeLost || mode == sandbox.ModeWrongTypes)
	if state != "needs_reconnect" {
		l.person.post("/connections/" + l.provider + "/check").to("/connections#card-" + l.provider)
		switch {
		case lost:
			state = "needs_reconnect"
			l.wantCard(l.person, state, "refused to renew our access")
		case state != "active":
			l.wantCard(l.person, "active", "answered again")
		}
	}
	if state == "needs_reconnect" {
		card := l.person.get("/connections").Find("#card-" + l.provider)
		if card.Find("form[action='/connect/"+l.provider+"'] button").Length() != 1 {
			l.t.Error("the card offers no way to connect again")
		}
		l.person.connect(l.provider, "ada").to("/")
		l.wantCard(l.person, "active", "reconnected")
	}
}

// fetching is a background fetch of the newest entries. Garmin's come from an address that it gave.
func (l *lane) fetching(mode string, want connection.Cause) {
	l.connected()
	l.set(mode)
	if l.provider == sandbox.Garmin {
		l.ping()
	}
	l.fetch()
	l.set(sandbox.ModeNone)
	l.stored(1)
	page := shown[want]
	l.wantCard(l.person, page.state, page.history)
	if n := l.shownEntries(); n > 0 != (want == connection.Works) {
		l.t.Errorf("%d entries are shown", n)
	}
	if page.state == "needs_reconnect" {
		l.connected()
	}
	if l.provider == sandbox.Garmin {
		l.ping()
	}
	l.fetch()
	if l.wantCard(l.person, "active", ""); l.shownEntries() == 0 {
		l.t.Error("nothing is shown once the provider answers again")
	}
}

// backfilling is a background request to Garmin for older activities, which come by webhook, or not at all.
func (l *lane) backfilling(mode string, want connection.Cause) {
	l.person.connect(l.provider, "ada").to("/")
	l.set(mode)
	l.fetch()
	l.set(sandbox.ModeNone)
	l.wantCard(l.person, shown[want].state, shown[want].history)
	l.recovers(mode, shown[want].state)
}

// revoking calls a provider in the background. If the call is a refresh, the access token has
// run out.
func (l *lane) revoking(mode string, want connection.Cause) {
	l.connected()
	l.person.post("/connections/" + l.provider + "/disconnect").to("/connections#card-" + l.provider)
	if l.call == sandbox.Refresh {
		switch want {
		case connection.Works:
			want = connection.Revoked
		case connection.RefreshRefused:
			want = connection.NotRevoked
		default:
			want = connection.Disconnected
		}
	}
	l.set(mode)
	if done := l.revokes(); done != (want != connection.Disconnected) {
		l.t.Errorf("done with: %t", done)
	}
	l.set(sandbox.ModeNone)
	l.wantCard(l.person, shown[want].state, shown[want].history)
	if want == connection.Disconnected {
		spent := l.call == sandbox.Refresh && (mode == sandbox.ModeLost || mode == sandbox.ModeWrongTypes)
		l.revokes()
		if spent && l.provider == "garmin" { // which takes a refresh token once, and its successor was lost
			l.wantCard(l.person, "none", "didn’t confirm that Cairn’s access is removed")
		} else {
			l.wantCard(l.person, "none", "confirmed that Cairn’s access is removed")
		}
		if !spent && grantsOf(l.t, l.site, l.provider) != 0 {
			l.t.Error("the provider has not forgotten us")
		}
	}
	if n := count(l.t, l.site, `SELECT count(*) FROM cairn.withdrawals`); n != 0 {
		l.t.Errorf("%d withdrawals are left", n)
	}
}

func (l *lane) connected() {
	// On a busy machine a lane may take longer than a sign-in counts as recent.
	l.exec(`UPDATE cairn.sessions SET created = now()`)
	switch l.call {
	case sandbox.Data: // without older ones, which would be another call
		l.person.connect(l.provider, "ada", "read", "activity:read_all", "ACTIVITY_EXPORT").to("/")
	default:
		l.person.connect(l.provider, "ada").to("/")
	}
	l.person.get("/") // takes the notice
	if l.call == sandbox.Refresh {
		l.expire()
	}
}

// problems are what a card says of a state that is not good.
var problems = map[string]string{
	"degraded":        "You’re still connected",
	"suspended":       "You’re still connected",
	"needs_reconnect": "Reconnect it",
	"revoking":        "until it confirms",
}

// wantCard checks the state that the card says, and the newest of what happened.
func (l *lane) wantCard(b browser, state, history string) answer {
	l.t.Helper()
	page := b.get("/connections").want(200, "", "")
	card := page.Find("#card-" + l.provider)
	if got := card.AttrOr("data-state", ""); got != state {
		l.t.Errorf("the card says %q, want %q", got, state)
	}
	if got := card.Find(".events li").First().Text(); !strings.Contains(got, history) {
		l.t.Errorf("the newest of what happened is %q, want %q", got, history)
	}
	if problem := card.Find(".problem").Text(); !strings.Contains(problem, problems[state]) {
		l.t.Errorf("the card explains %q, want %q in it", problem, problems[state])
	}
	return page
}

// shownEntries counts the lane's entries on the home page.
func (l *lane) shownEntries() int {
	return l.person.get("/").Find("[data-from~=" + l.provider + "]").Length()
}
