package routes

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

// undoView is a row of the account page: an earlier address that can undo a change.
type undoView struct {
	ID    int64
	Email string // masked
	Until time.Time
	Ends  bool // this session can end it
}

// undos are the changes of address that can be undone.
func (s *server) undos(r *http.Request) (views []undoView, err error) {
	current, _ := session.Current(r.Context())
	undos, err := s.Accounts.Undos(r.Context(), current.UserID, access.FactorsOf(current))
	if err != nil {
		return nil, err
	}
	return s.undosInWords(r, undos), nil
}

func (s *server) undosInWords(r *http.Request, undos []auth.Undo) (views []undoView) {
	zone := s.zoneOf(r)
	for _, u := range undos {
		views = append(views, undoView{u.ID, masked(u.Email), u.Until.In(zone), u.Ends})
	}
	return views
}

// masked shows just enough of an address for its owner to recognise it: "a…@example.org".
func masked(email string) string {
	_, size := utf8.DecodeRuneInString(email)
	return email[:size] + "…" + email[strings.LastIndex(email, "@"):]
}

// endUndoPage warns before an undo ends.
func (s *server) endUndoPage(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	undos, err := s.undos(r)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(undos, func(u undoView) bool { return u.ID == id })
	if i < 0 {
		return errNoPage
	}
	return s.warn(w, r, Warning{
		Heading: "Stop " + undos[i].Email + " from undoing the change?",
		Lead: "A link we sent there can undo the change of e-mail until " + undos[i].Until.Format("2 January 2006") +
			".",
		Losses: []Loss{
			{"shield-check", "That link stops working", "If somebody else changed your e-mail, you need it"},
			{"mail", "We tell both addresses", "The old one and the new one"},
		},
		Button: "End this now", Keep: Link{"Leave it as it is", "/account#" + atEmail},
	})
}

func (s *server) endUndo(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if current, _ := session.Current(r.Context()); !current.Recent {
		s.confirmFirst(w, r, intent{toEndUndo, strconv.FormatInt(id, 10)})
		return nil
	}
	return s.endUndoNow(w, r, id)
}

func (s *server) endUndoNow(w http.ResponseWriter, r *http.Request, id int64) error {
	current, _ := session.Current(r.Context())
	err := s.access.EndUndo(r.Context(), id)
	switch {
	case errors.Is(err, auth.ErrFactor):
		s.flashAt(r, atEmail, bad, "Nothing was changed: this takes a sign-in with a passkey or a code, and the "+
			"passkey, or the app and recovery codes, must be at least a day older than the change.")
	case errors.Is(err, auth.ErrNotFound):
		return errNoPage
	case err != nil:
		return err
	default:
		s.Log.InfoContext(r.Context(), "undo ended", "id", requestID(r.Context()), "user", current.UserID)
		s.flashAt(r, atEmail, good, "Your old e-mail can no longer undo the change.")
	}
	redirect(w, r, "/account#"+atEmail)
	return nil
}
