package routes

import (
	"cmp"
	"net/url"

	"cairn/internal/connection"
	"cairn/internal/mail"
	"cairn/internal/oauth"
)

// Words are what messages say.
type Words struct {
	Site      *url.URL // where browsers reach us
	Providers oauth.Registry
	Operator  string // whom people can ask; "": not said
}

// ifYou begins what people are advised to do about something that happened to their account.
const (
	ifYou   = "If this was you, you don’t need to do anything. If not, "
	cleanUp = "remove the sign-in methods that aren’t yours, change your password, and sign out everywhere else."
)

// becauseSecurity is why people get messages that they can't turn off.
const becauseSecurity = "You’re getting this because it’s about the security of your account."

// Message says what a draft is about. token is its link's. A message to an address that nobody has proven contains
// nothing that a stranger typed, not even a name: strangers must not write to others through us.
func (w Words) Message(d mail.Draft, token string) mail.Message {
	switch d.Kind {
	case mail.SignUp:
		return w.withLink(signUpLink, token, "Create account", mail.Message{
			Subject: "Confirm your e-mail", Heading: "Welcome to Cairn",
			Paragraphs: []string{"Open this link in the browser you signed up in. It works for 24 hours."},
		})
	case mail.Taken:
		return w.with("/login", "Sign in", mail.Message{
			Subject: "You already have an account", Heading: "You already have an account",
			Paragraphs: []string{"Somebody, probably you, tried to create an account with this address. There is one " +
				"already, so just sign in. If you forgot your password, you can reset it there."},
			Why: w.becauseEntered(),
		})
	case mail.Reset:
		return w.withLink(resetLink, token, "Choose a new password", mail.Message{
			Subject: "Choose a new password", Heading: "Choose a new password",
			Paragraphs: []string{"This link works once, for 30 minutes. Your password stays as it is until you " +
				"choose a new one."},
		})
	case mail.Verify:
		return w.withLink(verifyLink, token, "Confirm this address", mail.Message{
			Subject: "Confirm your e-mail", Heading: "Is this your address?",
			Paragraphs: []string{
				"Open this link in a browser where you’re signed in. It works for 24 hours.",
			},
		})
	case mail.Change:
		return w.withLink(changeLink, token, "Use this address", mail.Message{
			Subject: "Confirm your new e-mail", Heading: "Is this your new address?",
			Paragraphs: []string{
				"Open this link in the browser you asked for it in. It works for 24 hours.",
			},
		})
	case mail.Undo:
		return w.withLink(undoLink, token, "Undo the change", mail.Message{
			Subject: "Your e-mail address was changed", Heading: "Was this you?",
			Paragraphs: []string{"The e-mail address of your Cairn account was changed, and we now write to the new " +
				"one. " + ifYou + "undo the change within seven days."},
			Why: becauseSecurity,
		})
	case mail.NewBrowser:
		return w.newBrowser(d, token)
	case mail.Invite:
		return w.invitation(token)
	case mail.NeedsReconnect:
		return w.reconnect(d.Facts)
	case mail.AccountDeleted:
		return w.deleted(d.Facts)
	case mail.ResetLinkMade, mail.AccountDisabled, mail.AccountEnabled, mail.FactorsReset:
		return w.byOperator(d)
	}
	return w.happenedTo(d)
}

func (w Words) invitation(token string) mail.Message {
	m := w.withLink(inviteLink, token, "Create your account", mail.Message{
		Subject: "You’re invited", Heading: "You’re invited to " + w.Site.Host,
		Paragraphs: []string{"The operator of this site has invited you. The link works once, for seven days."},
	})
	m.Why = "You’re getting this because the operator of " + w.Site.Host + " entered this address. " +
		"If you don’t want an account, you can ignore this message."
	return m
}

func (w Words) deleted(facts mail.Facts) mail.Message {
	first := "Your account and its data are gone, and you’re signed out everywhere. "
	if facts["by"] != "" {
		first = "The operator of this site deleted your account with its data. "
	}
	return mail.Message{
		Subject: "Your account is deleted", Heading: "Your account is deleted",
		Paragraphs: []string{first + "This is the last message."}, Facts: w.lines(facts), Why: becauseSecurity,
	}
}

// byOperator is the message about what the operator of the site did to an account.
func (w Words) byOperator(d mail.Draft) mail.Message {
	_, text := w.happened(d.Kind, d.Facts)
	return mail.Message{
		Subject: text, Heading: "From the operator of this site",
		Paragraphs: []string{hello(d.Facts) + text + ".", "If you didn’t expect that, ask the operator."},
		Facts:      w.lines(d.Facts), Why: becauseSecurity,
	}
}

// happenedTo is the message about something that happened to an account.
func (w Words) happenedTo(d mail.Draft) mail.Message {
	_, text := w.happened(d.Kind, d.Facts)
	check := ifYou + cleanUp
	heading := "Was this you?"
	switch d.Kind {
	case mail.AppAdded, mail.AppRemoved, mail.CodesMade, mail.CodeUsed, mail.CodeSkipped:
		check = ifYou + "somebody has your password and a code: change your password, set up your app " +
			"again, and make new recovery codes."
	case mail.PasskeyAdded:
		check = ifYou + "remove it, and change your password."
	case mail.WrongCodes:
		check = ifYou + "somebody knows your password, can sign in to an account you connected, or reads your " +
			"mail: change that password. They can’t get in without a code."
	case mail.PasskeyCounter:
		check = "Some devices don’t count reliably, so this may be harmless. If you’re not sure, remove the " +
			"passkey, and add a new one."
	case mail.UndoEnded:
		check = ifYou + "somebody has one of your passkeys, or your password and a code: remove or change " +
			"them. If you can’t sign in, ask the operator of this site."
	case mail.SignInRejected:
		heading = "Your account is secure"
		check = "Your password was removed, and so was everything added since that sign-in. Choose a new password " +
			"with the link in our other message."
	}
	return w.with("/account#activity", "Check your account", mail.Message{
		Subject: text, Heading: heading, Paragraphs: []string{hello(d.Facts) + text + ".", check},
		Facts: w.lines(d.Facts), Why: becauseSecurity,
	})
}

// newBrowser is the message about a sign-in in a new browser. One of the release before has no link.
func (w Words) newBrowser(d mail.Draft, token string) mail.Message {
	_, text := w.happened(d.Kind, d.Facts)
	m := mail.Message{Subject: text, Heading: "Was this you?", Facts: w.lines(d.Facts), Why: becauseSecurity}
	if token == "" {
		m.Paragraphs = []string{hello(d.Facts) + text + ".", ifYou + cleanUp}
		return w.with("/account#sessions", "Check where you’re signed in", m)
	}
	m.Paragraphs = []string{hello(d.Facts) + text + ".", ifYou + "use this link within seven days, even if you " +
		"can’t sign in any more. It lets you lock the other person out. Then we’ll send you a link to " +
		"choose a new password."}
	return w.withLink(rejectLink, token, "This wasn’t me", m)
}

func hello(facts mail.Facts) string {
	if facts["name"] == "" {
		return ""
	}
	return "Hello " + facts["name"] + ". "
}

// reconnect is the message about a connection that needs its owner, in the words of its card.
func (w Words) reconnect(facts mail.Facts) mail.Message {
	p := w.Providers.Get(facts["provider"])
	if p == nil {
		p = &oauth.Provider{Key: facts["provider"], Name: facts["provider"]}
	}
	_, what, why := stateOf(p, connection.Connection{
		State: connection.NeedsReconnect, Cause: connection.Cause(facts["cause"]),
	})
	m := w.with(cardPath(p.Key), "Reconnect "+p.Name, mail.Message{
		Subject: "Please connect " + p.Name + " again", Heading: what, Paragraphs: []string{hello(facts) + why},
		Facts: w.lines(facts),
		Why:   "You’re getting this once, because nothing new arrives from " + p.Name + " until you reconnect it.",
	})
	m.Choose = w.Site.JoinPath("account").String() + "#" + atEmail
	return m
}

// withLink adds the button of a link with a token.
func (w Words) withLink(l SecretLink, token, label string, m mail.Message) mail.Message {
	m.Action = &mail.Action{Label: label, URL: l.at(w.Site, token)}
	m.Why = cmp.Or(m.Why, w.becauseEntered())
	return m
}

// with adds the button of a page.
func (w Words) with(path, label string, m mail.Message) mail.Message {
	to, err := w.Site.Parse(path)
	if err != nil {
		panic("routes: " + path + " is no path")
	}
	m.Action = &mail.Action{Label: label, URL: to.String()}
	return m
}

// becauseEntered is why people get messages that somebody asked for.
func (w Words) becauseEntered() string {
	return "You’re getting this because somebody entered this address at " + w.Site.Host + ". If it wasn’t you, " +
		"you can ignore this message. Nothing will happen."
}
