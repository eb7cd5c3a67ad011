package routes

import (
	"net/http"
	"time"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/mail"
)

// accountEvent is a line of the recent activity on the account page.
type accountEvent struct {
	Icon, Text, Where string
	At                time.Time
}

// shownEvents is how many lines of the recent activity the account page has.
const shownEvents = 10

func (s *server) eventsInWords(r *http.Request, events []auth.Event) (lines []accountEvent) {
	words, zone := s.words(), s.zoneOf(r)
	for _, e := range events {
		icon, text := words.happened(e.Kind, e.Facts)
		lines = append(lines, accountEvent{icon, text, where(e.Facts), e.At.In(zone)})
	}
	return lines
}

// where says from where something was done; "" if it was not done by a browser.
func where(facts mail.Facts) string {
	if facts["address"] == "" {
		return ""
	}
	return browserInWords(facts["agent"]) + " from " + facts["address"]
}

// happened says in a line what happened to an account, with an icon.
func (w Words) happened(kind mail.Kind, facts mail.Facts) (icon, text string) {
	switch kind {
	case mail.PasswordAdded:
		return "password", "A password was added"
	case mail.PasswordChanged:
		return "password", "Your password was changed"
	case mail.PasswordReset:
		if facts["by"] != "" {
			return "password", "A new password was set by a link from the operator of this site"
		}
		return "password", "A new password was set with a link we sent you"
	case mail.AccountDisabled:
		return "info-circle", "The operator of this site disabled your account"
	case mail.AccountEnabled:
		return "info-circle", "The operator of this site enabled your account again"
	case mail.ResetLinkMade:
		return "password", "The operator of this site made a link for a new password"
	case mail.PasswordRemoved:
		return "password", "Your password was removed"
	case mail.MethodAdded:
		return "key", w.providerName(facts["provider"]) + " was added as a sign-in method"
	case mail.MethodRemoved:
		return "key", w.providerName(facts["provider"]) + " was removed as a sign-in method"
	case mail.PasskeyAdded:
		return "fingerprint", "The passkey “" + facts["passkey"] + "” was added"
	case mail.PasskeyRemoved:
		return "fingerprint", "The passkey “" + facts["passkey"] + "” was removed"
	case mail.PasskeyCounter:
		return "alert-triangle",
			"The passkey “" + facts["passkey"] + "” may have been copied: its use counter went backwards"
	case mail.AppAdded:
		return "qrcode", "An authenticator app was set up"
	case mail.AppRemoved:
		return "qrcode", "The authenticator app was removed"
	case mail.CodesMade:
		return "key", "New recovery codes were made"
	case mail.CodeUsed:
		return "key", "A recovery code was used: " + facts["left"] + " left"
	case mail.WrongCodes:
		return "alert-triangle", "Wrong codes were entered several times in a row"
	case mail.CodeSkipped:
		return "shield-check", "Signing in with " + w.providerName(facts["provider"]) + " no longer asks for a code"
	case mail.CodeAsked:
		return "shield-check", "Signing in with " + w.providerName(facts["provider"]) + " asks for a code"
	case mail.FactorsReset:
		return "shield-check", "The operator of this site removed your passkeys, authenticator app and recovery codes"
	case mail.NewBrowser:
		return "device-laptop",
			"New sign-in " + w.signedInBy(facts["method"]) + " in a new browser"
	case mail.SignInRejected:
		return "shield-check", "Somebody was locked out with the link “This wasn’t me”"
	case mail.NeedsReconnect:
		return "plug-connected-x", w.providerName(facts["provider"]) + " has to be connected again"
	case mail.EmailVerified:
		return "mail", "Your e-mail " + facts["email"] + " was confirmed"
	case mail.EmailChanged:
		return "mail", "Your e-mail was changed to " + facts["email"]
	case mail.EmailRestored:
		return "mail", "Your e-mail " + facts["email"] + " was restored with a link we sent to it"
	case mail.UndoEnded:
		return "mail", "Your old e-mail can no longer undo the change"
	case mail.EmailFreed:
		return "mail", facts["email"] + " was removed: it was never confirmed, and somebody proved that it is theirs"
	case mail.EmailRefused:
		return "mail", "The mail server of " + facts["email"] + " refused a message from us"
	}
	return "history", "Something was changed"
}

// signedInBy says by which method somebody signed in.
func (w Words) signedInBy(method string) string {
	if p := w.Providers.Get(method); p != nil {
		return "with " + p.Name
	}
	switch method {
	case access.PasswordMethod:
		return "with your password"
	case access.PasskeyMethod:
		return "with a passkey"
	}
	return "with a link"
}

// providerName returns the name of a provider, or its key if we don't know it any more.
func (w Words) providerName(key string) string {
	if p := w.Providers.Get(key); p != nil {
		return p.Name
	}
	return key
}

func (s *server) words() Words {
	return Words{Site: s.PublicURL, Providers: s.Providers, Operator: s.Operator}
}

// lines returns the facts of a message: what, when and where.
func (w Words) lines(facts mail.Facts) (lines []mail.Fact) {
	if at, err := time.Parse(time.RFC3339, facts["at"]); err == nil {
		zone, err := time.LoadLocation(facts["zone"])
		if err != nil {
			zone = time.UTC
		}
		at = at.In(zone)
		lines = append(lines, mail.Fact{Name: "When", Value: at.Format("Monday 2 January 2006, 15:04 ") + zoneName(at)})
	}
	if facts["address"] != "" {
		lines = append(lines, mail.Fact{Name: "Browser", Value: browserInWords(facts["agent"])},
			mail.Fact{Name: "Network address", Value: facts["address"]})
	}
	return lines
}
