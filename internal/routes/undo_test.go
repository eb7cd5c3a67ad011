package routes_test

import (
	"fmt"
	"testing"

	"cairn/internal/testkit"
)

// moves changes the address of an account. It returns the path of the form that ends the undo, and the link that
// undoes.
func (b browser) moves(server *testkit.MailServer, from, to string) (end, undo string) {
	b.t.Helper()
	b.post("/account/email", "email", to).to("/check-your-mail?for=change")
	b.press(b.follow(server.WaitFor(b.t, to, "Confirm your new").Link())).to("/account#email")
	id := count(b.t, b.site, `SELECT max(id) FROM cairn.links WHERE purpose = 'undo'`)
	return fmt.Sprintf("/account/email/undo/%d/end", id), server.WaitFor(b.t, from, "e-mail address was changed").Link()
}

// olderPasskey adds a passkey, and dates it so far back that an undo leaves it.
func (b browser) olderPasskey() *device {
	b.t.Helper()
	d := newDevice(b.site)
	b.addsPasskey(d)
	_, err := b.site.pool.Exec(b.t.Context(), `UPDATE cairn.passkeys SET created_at = created_at - interval '25 hours'`)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// The owner of an account ends the undo of a change of address with a code, if app and recovery codes are old enough.
func TestEndUndoWithACode(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s, clock := newCodeSite(t, options{mail: server, works: true})
	b := joined(t, s, server, "ada@example.org")
	mine, shown := b.setsUpApp(clock)
	shown.recoveryCodes()
	end, _ := b.moves(server, "ada@example.org", "new@example.org")
	enter := func() {
		t.Helper()
		b.post("/logout")
		b.provesPassword("new@example.org")
		b.post(codePage, "code", mine.code()).to("/")
	}
	enter()
	b.post(end).to("/account#email")
	b.get("/account").want(200, "#email #notice.bad", "Nothing was changed")
	exec(t, s, `UPDATE cairn.second_factors SET app_since = app_since - interval '25 hours'`)
	b.post(end).to("/account#email")
	b.get("/account").want(200, "#email #notice.bad", "Nothing was changed") // the recovery codes are new
	exec(t, s, `UPDATE cairn.recovery_codes SET made_at = made_at - interval '25 hours'`)
	b.post(end).to("/account#email")
	b.get("/account").want(200, "#email #notice.good", "can no longer undo")
}

// The owner of an account ends the undo of a change of address, with a passkey that was there before.
func TestEndUndo(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	d := b.olderPasskey()
	_, rejects := intrudes(t, s, server, "ada@example.org")
	end, undo := b.moves(server, "ada@example.org", "new@example.org")
	b.get("/account").want(200, ".undo", "a…@example.org can undo the change until").
		want(200, ".undo", "sign in with a passkey or a code")
	b.post(end).to("/account#email")
	b.get("/account").want(200, "#email #notice.bad", "Nothing was changed")
	b.entersWith(d).to("/account")
	b.get("/account").want(200, ".undo a[href='"+end+"']", "End this now…")
	b.get(end).want(200, "h1", "Stop a…@example.org from undoing the change?")
	b.post(end).to("/account#email")
	b.get("/account").want(200, "#email #notice", "can no longer undo").want(200, "#activity", "can no longer undo")
	for _, to := range []string{"ada@example.org", "new@example.org"} {
		server.WaitFor(t, to, "can no longer undo the change")
	}
	b.get(end).want(404, "h1", "")
	b.post(end).want(404, "h1", "")
	newBrowser(t, s).follow(undo).to("/login?notice=mailed-link")
	other := newBrowser(t, s) // nor does another link restore the old address
	other.press(other.follow(rejects)).to("/login?notice=not-me-link")
}

// An intruder with the password can't end the undo: not with a passkey of their own, nor with another person's account.
func TestIntruderCannotEndUndo(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.olderPasskey()
	d := newDevice(s)
	b.addsPasskey(d)
	end, undo := b.moves(server, "ada@example.org", "thief@example.org")
	b.entersWith(d).to("/account")
	if b.get("/account").Find(".undo a").Length() != 0 {
		t.Error("a passkey that the undo would remove can end it")
	}
	b.post(end).to("/account#email")
	eve := joined(t, s, server, "eve@example.org")
	eve.entersWith(eve.olderPasskey()).to("/account")
	eve.get(end).want(404, "h1", "")
	eve.post(end).want(404, "h1", "")
	newBrowser(t, s).get(end).want(303, "", "")
	newBrowser(t, s).follow(undo).want(200, "h1", "Take your account back?")
}

// Ending an undo takes a recent sign-in. After one with a passkey it goes on at once.
func TestEndUndoAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	d := b.olderPasskey()
	recovery := b.post("/account/recovery-codes").recoveryCodes() // too new
	end, _ := b.moves(server, "ada@example.org", "new@example.org")
	b.entersWith(d).to("/account")
	aged(t, s)
	const confirm = "/account/confirm"
	next := func() string {
		page := b.get(b.asked(end)).want(200, "h1", "to stop your old e-mail from undoing the change")
		return page.Find("form[action='"+confirm+"'] input[name=next]").AttrOr("value", "")
	}
	first := next()
	b.post(confirm, "password", password, "next", first) // an account with a passkey takes a code, too
	b.post(codePage, "code", recovery[0], "next", first).to("/account#email")
	b.get("/account").want(200, "#email #notice.bad", "takes a sign-in with a passkey")
	aged(t, s)
	where := next()
	answered := d.answers(t, b.options(confirm+"/passkey"))
	b.post(confirm+"/passkey", "answer", answered, "next", where).to("/account#email")
	b.get("/account").want(200, "#email #notice.good", "can no longer undo")
}

// If an undo is used and ended at once, on two servers, only one of these happens.
func TestRaceEndUndoAgainstUndo(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server, public: s.url})
	for round := range testkit.Rounds(t) {
		exec(t, s, `DELETE FROM cairn.users`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
		email := fmt.Sprintf("ada%d@example.org", round)
		b := joined(t, s, server, email)
		d := b.olderPasskey()
		end, undo := b.moves(server, email, "new-"+email)
		b.entersWith(d).to("/account")
		other := newBrowser(t, second)
		page := other.follow(undo)
		var undone string
		together(
			func() { b.post(end) },
			func() { undone = other.press(page).header.Get("Location") },
		)
		back := count(t, s, `SELECT count(*) FROM cairn.emails WHERE email = $1`, email) == 1
		ended := count(t, s, `SELECT count(*) FROM cairn.account_events WHERE kind = 'undo_ended'`) == 1
		if back == ended || back != (undone == "/check-your-mail?for=undo") {
			t.Fatalf("round %d: undone %v (%q), ended %v, want one of them", round, back, undone, ended)
		}
	}
}

// Nor can an intruder with the recovery codes that came with a passkey of their own, when all are used up.
func TestUsedUpCodesDoNotEndUndo(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	limits := untiring()
	limits.CodeNetwork.Max = 1000
	s := newSiteWith(t, options{mail: server, works: true, limits: limits})
	intruder := joined(t, s, server, "ada@example.org")
	end, _ := intruder.moves(server, "ada@example.org", "thief@example.org")
	codes := intruder.post(addPasskey, "answer", newDevice(s).makes(t, intruder.options(addPasskey))).recoveryCodes()
	for _, code := range codes {
		intruder.post("/account/confirm", "password", password, "next", "/account").to(codePage + "?next=%2Faccount")
		intruder.post(codePage, "code", code, "next", "/account").to("/account")
	}
	if intruder.get("/account").Find(".undo a").Length() != 0 {
		t.Error("the page offers to end the undo")
	}
	intruder.post(end).to("/account#email")
	intruder.get("/account").want(200, "#email #notice.bad", "Nothing was changed")
}
