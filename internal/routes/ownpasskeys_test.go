package routes_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// An account can have passkeys alone, and the last of them can't be removed.
func TestPasskeysAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := newDevice(s), newDevice(s)
	owner := signedUp(t, s, "ada@example.org")
	owner.addsPasskey(one)
	owner.post("/account/password/remove").to("/account#methods")
	exec(t, s, `UPDATE cairn.sessions SET method_removed = false`) // as after a new sign-in
	owner.get("/account").want(200, "#methods .hint", "only sign-in method")
	id := count(t, s, `SELECT id FROM cairn.passkeys`)
	owner.get(fmt.Sprintf("/account/passkeys/%d/remove", id)).want(409, "h1", "only sign-in method")
	owner.post(fmt.Sprintf("/account/passkeys/%d/remove", id)).want(409, "h1", "only sign-in method")
	owner.addsPasskey(two)
	thief := newBrowser(t, s)
	thief.entersWith(one).to("/account")
	remove := fmt.Sprintf("/account/passkeys/%d/remove", id)
	owner.get(remove).want(200, "h1", "Remove the passkey").want(200, ".losses", "still sign in with a passkey")
	owner.post(remove).to("/account#methods")
	if thief.signedIn() || !owner.signedIn() {
		t.Error("the removal locked out the owner alone, or nobody")
	}
	newBrowser(t, s).entersWith(one).want(422, "#form-error", "remove it from your device")
	newBrowser(t, s).entersWith(two).to("/account")
}

// Removing a passkey asks who is there; a passkey is an answer.
func TestConfirmWithPasskey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := newDevice(s)
	owner := signedUp(t, s, "ada@example.org")
	owner.addsPasskey(d)
	aged(t, s)
	id := count(t, s, `SELECT id FROM cairn.passkeys`)
	where := owner.asked(fmt.Sprintf("/account/passkeys/%d/remove", id))
	page := owner.get(where).want(200, "h1", "remove a passkey")
	form := page.Find(`form[action="/account/confirm/passkey"]`)
	next := form.Find("input[name=next]").AttrOr("value", "")
	answered := d.answers(t, owner.options("/account/confirm/passkey"))
	owner.post("/account/confirm/passkey", "answer", answered, "next", next).to("/account#methods")
	if n := count(t, s, `SELECT count(*) FROM cairn.passkeys`); n != 0 {
		t.Error("it is not removed")
	}
	n := count(t, s, `SELECT count(*) FROM cairn.sessions WHERE method = 'passkey' AND method_removed`)
	if n != 1 {
		t.Error("the session of a removed passkey counts as recent")
	}
}

// Proof of an address that is not verified does not hand over an account in which a stranger put a passkey.
func TestResetHandsOverNoPasskey(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{mail: server, works: true})
	d := newDevice(s)
	stranger := signedUp(t, newSiteWith(t, options{pool: s.pool}), "ada@example.org").at(s)
	stranger.addsPasskey(d)
	owner := newBrowser(t, s)
	owner.post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	page := owner.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	owner.press(page, "password", newPassword)
	owner.post("/login", "email", "ada@example.org", "password", newPassword).want(422, "#form-error", "")
	newBrowser(t, s).entersWith(d).to("/account")
}

// Names tell passkeys apart.
func TestPasskeyNames(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	for range 2 {
		d := newDevice(s)
		d.auth.Aaguid = [16]byte{}
		owner.addsPasskey(d)
	}
	d := newDevice(s)
	copy(d.auth.Aaguid[:], "\xba\xda\x55\x66\xa7\xaa\x40\x1f\xbd\x96\x45\x61\x9a\x55\x12\x0d")
	owner.addsPasskey(d)
	for i, name := range []string{"Go-http-client", "Go-http-client 2", "1Password"} {
		owner.get("/account").want(200, fmt.Sprintf("#methods li:nth-child(%d) b", i+1), name)
	}
	owner.post(addPasskey, "answer", d.makes(t, owner.options(addPasskey))).want(422, "#form-error", "already added")
}

// People rename their own passkeys, however long ago they signed in. A bad name changes nothing, and stays in the form.
func TestRenamePasskey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner, other := signedUp(t, s, "ada@example.org"), signedUp(t, s, "moss@example.org")
	owner.addsPasskey(newDevice(s))
	owner.addsPasskey(newDevice(s))
	other.addsPasskey(newDevice(s))
	aged(t, s)
	page := owner.get("/account")
	rename := page.Find(`#methods a[href$="/rename"]`).First().AttrOr("href", "")
	old := page.Find("#methods b").First().Text()
	second := page.Find("#methods b").Eq(1).Text()
	owner.get(rename).want(200, "h1", "Rename the passkey “"+old+"”")
	for typed, problem := range map[string]string{
		"": "1 to 60", " \u202e\t": "1 to 60", strings.Repeat("é", 61): "1 to 60",
		" " + second + " ": "Another of your passkeys",
	} {
		refused := owner.post(rename, "name", typed).want(422, "#name-error", problem).want(422, "h1", old)
		if kept := refused.Find("#name").AttrOr("value", ""); kept != typed {
			t.Errorf("the form keeps %q of %q", kept, typed)
		}
	}
	for _, post := range []string{"", "Mine now"} {
		other.post(rename, "name", post).want(404, "h1", "")
	}
	other.get(rename).want(404, "h1", "")
	owner.get("/account").want(200, "#methods li:first-child b", old)
	owner.post(rename, "name", "  Blue   key\u202e ").to("/account#methods")
	owner.get("/account").want(200, "#methods #notice", "now called “Blue key”").
		want(200, "#methods li:first-child b", "Blue key")
	owner.post(rename, "name", strings.Repeat("é", 60)).to("/account#methods")
	owner.post(rename, "name", strings.Repeat("é", 60)).to("/account#methods") // its own name isn't taken
}

// The account page says which passkeys sign in here, for password managers, as soon as they know the person.
func TestPasskeySignal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	page := owner.get("/account").want(200, "#main", "")
	if _, told := page.Find("#main").Attr("data-passkeys"); told || page.Find(`script[src*=passkeys]`).Length() != 0 {
		t.Error("password managers are told about somebody who has never added a passkey")
	}
	tells := func(want ...*device) {
		t.Helper()
		var got struct {
			RPID, UserID, Name, DisplayName string
			AllAcceptedCredentialIDs        []string
		}
		page := owner.get("/account").want(200, "#main", "")
		if err := json.Unmarshal([]byte(page.Find("#main").AttrOr("data-passkeys", "")), &got); err != nil {
			t.Fatal(err)
		}
		var add struct{ User struct{ ID string } }
		if err := json.Unmarshal([]byte(owner.options(addPasskey)), &add); err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, d := range want {
			ids = append(ids, base64.RawURLEncoding.EncodeToString(d.key.ID))
		}
		if got.RPID != "localhost" || got.UserID != add.User.ID || !slices.Equal(got.AllAcceptedCredentialIDs, ids) ||
			got.Name != "ada@example.org" || got.DisplayName != got.Name ||
			page.Find(`script[src*=passkeys]`).Length() != 1 {
			t.Errorf("told %+v, want %s with %q", got, add.User.ID, ids)
		}
	}
	one, two := newDevice(s), newDevice(s)
	owner.addsPasskey(one)
	owner.addsPasskey(two)
	tells(one, two)
	exec(t, s, `UPDATE cairn.passkeys SET host = 'old.example.org' WHERE credential_id = $1`, one.key.ID)
	tells(two)
	remove := owner.get("/account").Find(`#methods a[href$="/remove"]`).Eq(1).AttrOr("href", "")
	owner.post(remove).to("/account#methods")
	tells()
}

// The home page offers a passkey after a password, until the person has one or declines.
func TestPasskeyIsOffered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	const offer = `main a[href="/account/passkeys/new"]`
	owner.get("/").want(200, offer, "Add a passkey")
	owner.options(addPasskey) // they begin, and think better of it
	owner.get("/").want(200, offer, "Add a passkey")
	owner.post("/account/passkeys/decline").to("/")
	if owner.get("/").Find(offer).Length() != 0 {
		t.Error("it is offered to somebody who declined")
	}
	other := signedUp(t, s, "moss@example.org")
	other.addsPasskey(newDevice(s))
	if other.get("/").Find(offer).Length() != 0 {
		t.Error("it is offered to somebody who has one")
	}
}
