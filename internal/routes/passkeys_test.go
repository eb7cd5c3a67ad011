package routes_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/internal/passkey"
)

func TestPasskeySignsIn(t *testing.T) {
	t.Parallel()
	results := map[string]int{}
	s := newSiteWith(t, options{signIn: func(method, result string) { results[method+" "+result]++ }})
	d := newDevice(s)
	owner := signedUp(t, s, "ada@example.org")
	owner.post(addPasskey, "answer", d.makes(t, owner.options(addPasskey))).
		want(200, ".notice", "sign in with the passkey").recoveryCodes()
	owner.get("/account").want(200, "#methods li:first-child", "not used yet")
	other := newBrowser(t, s)
	other.entersWith(d).to("/account")
	page := other.get("/account").want(200, "#methods li:first-child", "last used").
		want(200, "#sessions .here", "Signed in with a passkey").
		want(200, "#activity", "was added").want(200, "#activity", "New sign-in with a passkey")
	const brief = "until the browser is closed"
	page.want(200, "#sessions .here", brief)
	if results["passkey ok"] != 1 {
		t.Errorf("observed %v", results)
	}
	again := newBrowser(t, s)
	again.post("/login/passkey", "answer", d.answers(t, again.options("/login/passkey")), "keep", "on").to("/")
	if strings.Contains(again.get("/account").Find("#sessions .here").Text(), brief) {
		t.Error("the session ends with the browser, though it was to be kept")
	}
}

// Options are for passkeys that need no name, and verify the person.
func TestPasskeyOptions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var use struct {
		UserVerification string
		AllowCredentials []any
		RPID             string
	}
	visitor := newBrowser(t, s)
	if err := json.Unmarshal([]byte(visitor.options("/login/passkey")), &use); err != nil {
		t.Fatal(err)
	}
	if use.UserVerification != "required" || len(use.AllowCredentials) != 0 || use.RPID != "localhost" {
		t.Errorf("sign-in options: %+v", use)
	}
	owner := signedUp(t, s, "ada@example.org")
	owner.addsPasskey(newDevice(s))
	var add struct {
		AuthenticatorSelection struct{ ResidentKey, UserVerification string }
		ExcludeCredentials     []any
		User                   struct{ ID, Name string }
		Attestation            string
	}
	if err := json.Unmarshal([]byte(owner.options(addPasskey)), &add); err != nil {
		t.Fatal(err)
	}
	is := add.AuthenticatorSelection
	if is.ResidentKey != "required" || is.UserVerification != "required" ||
		len(add.ExcludeCredentials) != 1 || add.User.Name != "ada@example.org" || len(add.User.ID) != 43 {
		t.Errorf("options of a new passkey: %+v", add)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.used_challenges`); n != 1 {
		t.Errorf("%d challenges have a row, want the one that was answered", n)
	}
}

// An answer that proves nothing signs nobody in.
func TestPasskeysRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, test := range map[string]struct {
		reason string
		change func(d *device)
		sql    string // before the answer
		lose   bool   // the cookie
	}{
		"another origin":       {"origin", func(d *device) { d.party.Origin = "http://localhost:1" }, "", false},
		"another site":         {"RP Hash", func(d *device) { d.party.ID = "example.org" }, "", false},
		"not verified":         {"verification", func(d *device) { d.auth.Options.UserNotVerified = true }, "", false},
		"nobody there":         {"User presence", func(d *device) { d.auth.Options.UserNotPresent = true }, "", false},
		"another key":          {"signature", func(d *device) { d.key.Key = newDevice(s).key.Key }, "", false},
		"somebody else's name": {"User handle", func(d *device) { d.auth.Options.UserHandle = []byte("x") }, "", false},
		"nobody's name":        {"names nobody", func(d *device) { d.auth.Options.UserHandle = nil }, "", false},
		"removed":              {"unknown", nil, `DELETE FROM cairn.passkeys`, false},
		"another host before":  {"another host", nil, `UPDATE cairn.passkeys SET host = 'old.example.org'`, false},
		"another browser":      {"not a challenge of ours", nil, "", true},
	} {
		unlimited(t, s)
		exec(t, s, `DELETE FROM cairn.users`)
		d := newDevice(s)
		signedUp(t, s, "ada@example.org").addsPasskey(d)
		b := newBrowser(t, s)
		if test.change != nil {
			test.change(d)
		}
		answered := d.answers(t, b.options("/login/passkey"))
		if test.sql != "" {
			exec(t, s, test.sql)
		}
		if test.lose {
			b = newBrowser(t, s)
			b.options("/login/passkey")
		}
		s.log.forget()
		page := b.post("/login/passkey", "answer", answered).want(422, "#form-error", "")
		told := page.Find("#main").AttrOr("data-unknown-passkey", "")
		if want := `"credentialId":"` + base64.RawURLEncoding.EncodeToString(d.key.ID) + `"`; name == "removed" {
			if !strings.Contains(told, `"rpId":"localhost"`) || !strings.Contains(told, want) {
				t.Errorf("the script tells of the removed passkey %s, want %s", told, want)
			}
		} else if told != "" {
			t.Errorf("%s: the script tells that the passkey is unknown: %s", name, told)
		}
		if b.signedIn() || !strings.Contains(s.log.String(), test.reason) {
			t.Errorf("%s: signed in: %v, or the log doesn't say %q: %s", name, b.signedIn(), test.reason, s.log)
		}
	}
}

func TestPasskeyAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.post("/login/passkey").want(422, "#form-error", "need JavaScript")
	for _, text := range []string{"{}", "null", "x", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`} {
		b.post("/login/passkey", "answer", text).want(422, "#form-error", "")
	}
}

// A challenge is good for a time, by the database's clock.
func TestPasskeyChallengeExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := newDevice(s)
	signedUp(t, s, "ada@example.org").addsPasskey(d)
	b := newBrowser(t, s)
	b.options("/login/passkey")
	asked := passkey.Asked{Purpose: passkey.ToSignIn, Browser: cookieOf(b, "passkey")}
	challenge := func(seconds int) string {
		now := time.Unix(int64(count(t, s, `SELECT floor(extract(epoch FROM now()))::bigint`)), 0)
		made := passkey.New(mustParse(t, s.url), "test").Challenge(asked, now.Add(time.Duration(seconds)*time.Second))
		return `{"challenge":"` + base64.RawURLEncoding.EncodeToString(made) + `","rpId":"localhost"}`
	}
	b.post("/login/passkey", "answer", d.answers(t, challenge(0))).want(422, "#form-error", "took too long")
	b.post("/login/passkey", "answer", d.answers(t, challenge(60))).to("/")
}

// A challenge is good for what it was made for, and for whom.
func TestPasskeyChallengeHasOnePurpose(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ada, moss := newDevice(s), newDevice(s)
	owner := signedUp(t, s, "ada@example.org")
	owner.addsPasskey(ada)
	signedUp(t, s, "moss@example.org").addsPasskey(moss)
	const confirm = "/account/confirm/passkey"
	toAdd := ada.answers(t, owner.options(addPasskey))
	aged(t, s)
	owner.post(confirm, "answer", toAdd, "next", "/").want(422, "#form-error", "took too long")
	owner.post(confirm, "answer", ada.answers(t, owner.options("/login/passkey")), "next", "/").
		want(422, "#form-error", "")
	owner.post(confirm, "answer", moss.answers(t, owner.options(confirm)), "next", "/").want(422, "#form-error", "")
	owner.post("/login/passkey", "answer", ada.answers(t, owner.options(confirm))).want(422, "#form-error", "")
	owner.get(addPasskey).to(confirming(addPasskey))
	owner.post(confirm, "answer", ada.answers(t, owner.options(confirm)), "next", addPasskey).to(addPasskey)
	owner.get(addPasskey).want(200, "h1", "Add a passkey")
}

// Two tabs of a browser have a challenge each.
func TestPasskeysInTwoTabs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := newDevice(s)
	signedUp(t, s, "ada@example.org").addsPasskey(d)
	b := newBrowser(t, s)
	first, second := b.options("/login/passkey"), b.options("/login/passkey")
	b.post("/login/passkey", "answer", d.answers(t, second)).to("/")
	b.post("/login/passkey", "answer", d.answers(t, first)).to("/")
}

// A counter that goes back is noted, and told. It keeps nobody out.
func TestPasskeyCounterGoesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := newDevice(s)
	owner := signedUp(t, s, "ada@example.org")
	owner.addsPasskey(d)
	d.key.Counter = 40
	newBrowser(t, s).entersWith(d).to("/account")
	if n := count(t, s, `SELECT count(*) FROM cairn.passkeys WHERE counter = 41 AND counter_back_at IS NULL`); n != 1 {
		t.Error("the counter is not stored, or went back")
	}
	d.key.Counter = 6
	newBrowser(t, s).entersWith(d).to("/account")
	n := count(t, s, `SELECT count(*) FROM cairn.passkeys WHERE counter = 7 AND counter_back_at = last_used_at`)
	if n != 1 {
		t.Error("nobody noted that the counter went back")
	}
	owner.get("/account").want(200, "#activity", "may have been copied")
}

// On an IP address there are no passkeys, and pages say so.
func TestPasskeysNeedAHostName(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{public: "http://127.0.0.1:3000"})
	owner := signedUp(t, s, "ada@example.org")
	owner.get("/account").want(200, "#methods .hint", "need a host name")
	owner.get(addPasskey).want(200, "main", "need a host name")
	owner.post(addPasskey+"/options").want(404, "h1", "")
	owner.post(addPasskey, "answer", "{}").want(404, "h1", "")
	b := newBrowser(t, s)
	if b.get("/login").want(200, "h1", "").Find("form.passkey").Length() != 0 {
		t.Error("the sign-in page asks for a passkey")
	}
	b.do(http.MethodPost, "/login/passkey", url.Values{"answer": {"{}"}}).want(404, "h1", "")
}
