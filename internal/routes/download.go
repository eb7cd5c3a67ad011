package routes

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"cairn/internal/auth"
	"cairn/internal/export"
	"cairn/internal/session"
)

// Kinds of downloads that don't begin, or end early.
var (
	errDownloading = errors.New("routes: the person is downloading already")
	errDownloads   = errors.New("routes: too many downloads")
	errStopping    = errors.New("routes: the server is stopping")
	errTooSlow     = errors.New("routes: the download takes too long")
)

// dataPath is the section of the account page with the button.
const dataPath = "/account#" + atData

// exported lists what is in a person's archive.
func (s *server) exported() []export.Part {
	parts := []export.Part{
		export.One("account.json", "your account and preferences", s.Accounts.ExportAccount),
		export.List("sign_in_methods.json", "how you can sign in", s.Accounts.ExportMethods),
		export.List("passkeys.json", "your passkeys", s.Accounts.ExportPasskeys),
		export.List("browsers.json", "browsers that have signed in before", s.Accounts.ExportBrowsers),
		export.List("account_history.json", "what happened to your account", s.Accounts.ExportEvents),
		export.List("sessions.json", "where you are signed in", s.Sessions.Export),
		export.List("ended_sessions.json", "sessions that ended in the last 30 days", s.Sessions.ExportEndings),
		export.List("connections.json", "the accounts you connected", s.Connections.Export),
		export.List("connection_history.json", "what happened to them", s.Connections.ExportHistory),
		export.List("pictures.json", "our copies of your pictures there, in Base64", s.Connections.ExportPictures),
		export.List("revocations.json", "access that a provider has yet to end", s.Connections.ExportRevocations),
		export.List("entries.json", "activities and check-ins", s.Activity.Export),
	}
	for _, p := range s.Parts {
		parts = append(parts, p.Exports...)
	}
	return parts
}

// download sends a person's archive while it is read. A failure before the first byte has a page. One after that closes
// the connection, so that the browser shows a failed download and not a short one.
func (s *server) download(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	if !current.Recent {
		s.confirmFirst(w, r, intent{verb: toDownload})
		return nil
	}
	out := &stream{limit: s.Limits.Write, begin: func() (http.ResponseWriter, error) { return s.beginDownload(r) }}
	err := s.sendWithinLimits(r, out, current.UserID)
	switch {
	case err == nil:
		s.Log.InfoContext(r.Context(), "data downloaded", "id", requestID(r.Context()), "user", current.UserID)
	case out.w != nil:
		s.Log.InfoContext(r.Context(), "download cut off",
			"id", requestID(r.Context()), "user", current.UserID, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// sendWithinLimits writes the archive of a user, unless too many downloads are under way or have begun. When it has
// returned, another one can begin.
func (s *server) sendWithinLimits(r *http.Request, out *stream, userID int64) error {
	free, err := s.downloads.take(userID)
	if err != nil {
		return err
	}
	defer free()
	if err := s.Accounts.Allow(r.Context(), s.downloadsOf(r)...); err != nil {
		return err
	}
	return s.sendArchive(r, out, userID)
}

// sendArchive writes the archive of a user. Each of its statements and writes has a limit.
func (s *server) sendArchive(r *http.Request, out *stream, userID int64) error {
	ctx, end := s.downloadContext(r)
	defer end()
	out.ctx = ctx
	defer context.AfterFunc(ctx, out.cut)()
	defer out.end()
	archive := export.Archive{
		UserID: userID, Parts: s.exported(), At: time.Now(), Read: s.Limits.Page, Allowed: s.Sessions.StillSignedIn,
	}
	if err := archive.Write(ctx, out); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// downloadContext goes on past the deadline of a page, until a download's own, until the server stops, or until end is
// called.
func (s *server) downloadContext(r *http.Request) (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), s.Limits.Download, errTooSlow)
	ctx, stop := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-s.Stop:
			stop(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { stop(nil); cancel() }
}

// beginDownload sends the header.
func (s *server) beginDownload(r *http.Request) (http.ResponseWriter, error) {
	w, err := s.Sessions.Stream(r.Context())
	if err != nil {
		return nil, err
	}
	name := "cairn-data-" + time.Now().UTC().Format(time.DateOnly) + ".zip"
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	w.Header().Set("Cache-Control", "no-store")
	return w, nil
}

// stream is an answer that is sent while it is written. Each write has its own deadline, instead of the server's
// deadline for the whole answer. So a browser may read slowly, but may not stop reading.
type stream struct {
	ctx   context.Context
	limit time.Duration
	begin func() (http.ResponseWriter, error)
	mu    sync.Mutex          // guards what follows
	w     http.ResponseWriter // nil: nothing is sent yet
	ended bool                // cut may no longer touch w
}

func (t *stream) Write(p []byte) (int, error) {
	w, err := t.response()
	if err != nil {
		return 0, err
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(t.limit)); err != nil {
		return 0, err
	}
	// After the deadline: one that is set by cut must be the last.
	if t.ctx.Err() != nil {
		return 0, context.Cause(t.ctx)
	}
	return w.Write(p)
}

// response begins the answer with its first bytes.
func (t *stream) response() (http.ResponseWriter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.w == nil {
		if t.ctx.Err() != nil {
			return nil, context.Cause(t.ctx)
		}
		var err error
		if t.w, err = t.begin(); err != nil {
			return nil, err
		}
	}
	return t.w, nil
}

// cut ends a write that waits for the reader.
func (t *stream) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.w != nil && !t.ended {
		_ = http.NewResponseController(t.w).SetWriteDeadline(time.Unix(1, 0))
	}
}

// end waits for a cut under way and makes later ones do nothing: once the handler returns, w is no longer its own.
func (t *stream) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// downloads are those that are under way on this server.
type downloads struct {
	max  int
	mu   sync.Mutex
	busy map[int64]bool // by user
}

// take begins a download, until free is called. Errors: errDownloading, errDownloads.
func (d *downloads) take(userID int64) (free func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.busy[userID]:
		return nil, errDownloading
	case len(d.busy) >= d.max:
		return nil, errDownloads
	}
	d.busy[userID] = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, userID)
	}, nil
}

// downloadsOf counts a download.
func (s *server) downloadsOf(r *http.Request) []auth.Count {
	current, _ := session.Current(r.Context())
	limits := s.Accounts.Limits
	return []auth.Count{limits.DownloadPerson.Of(current.UserID), limits.DownloadNetwork.From(address(r))}
}

// explainDownload says why a download does not begin.
func explainDownload(err error) (p problem, ok bool) {
	p = problem{Changed: nothingChanged, Action: &action{Label: "Back to your account", URL: dataPath}}
	switch {
	case errors.Is(err, errDownloading):
		p.Status, p.retryAfter = http.StatusTooManyRequests, downloadBusyFor
		p.Heading = "Your data is being downloaded already."
		p.Detail = "Please wait until that download has ended, or cancel it in your browser."
	case errors.Is(err, errDownloads):
		p.Status, p.retryAfter = http.StatusServiceUnavailable, downloadBusyFor
		p.Heading, p.Detail = "Other people are downloading their data right now.", "Please try again in a minute."
	case errors.Is(err, errTooSlow):
		p.Status, p.retryAfter = http.StatusServiceUnavailable, downloadBusyFor
		p.Heading, p.Detail = "Reading your data took too long.", "Please try again in a minute."
	case errors.Is(err, errStopping):
		p.Status, p.retryAfter = http.StatusServiceUnavailable, busyFor
		p.Heading, p.Detail = "Cairn is restarting.", "Please try again in a few seconds."
	}
	return p, p.Status != 0
}

const downloadBusyFor = time.Minute
