package routes

import (
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/mail"
	"cairn/internal/session"
)

const messagesPath = "/account/messages"

// messageChoice is a checkbox of the account page: a kind of message that a person can turn off.
type messageChoice struct {
	Name, Label string
	Wanted      bool
}

// messageLabels say when a message comes: "Write to me when …".
var messageLabels = map[mail.Kind]string{mail.NeedsReconnect: "a connection needs me"}

func messageChoices(account auth.Account) (choices []messageChoice) {
	for _, kind := range mail.Optional {
		choices = append(choices, messageChoice{string(kind), messageLabels[kind], account.Wants(kind)})
	}
	return choices
}

// chooseMessages stores which messages a person wants.
func (s *server) chooseMessages(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	var wanted []mail.Kind
	for _, kind := range mail.Optional {
		if r.PostForm.Get(string(kind)) != "" {
			wanted = append(wanted, kind)
		}
	}
	if err := s.Accounts.ChooseMail(r.Context(), current.UserID, wanted); err != nil {
		return err
	}
	s.flashAt(r, atMessages, good, "Saved")
	redirect(w, r, "/account#"+atEmail)
	return nil
}
