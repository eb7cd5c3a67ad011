package routes_test

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/export"
	"cairn/internal/testkit"
)

const download = "/account/data"

// archive is a downloaded file, unpacked.
type archive struct {
	names []string // in their order
	files map[string]string
}

func unpack(t *testing.T, from io.ReaderAt, size int64) archive {
	t.Helper()
	packed, err := zip.NewReader(from, size)
	if err != nil {
		t.Fatal(err)
	}
	a := archive{files: map[string]string{}}
	for _, f := range packed.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		a.names, a.files[f.Name] = append(a.names, f.Name), string(text)
	}
	return a
}

func (b browser) download() archive {
	b.t.Helper()
	a := b.post(download).want(http.StatusOK, "", "")
	return unpack(b.t.(*testing.T), strings.NewReader(a.body), int64(len(a.body)))
}

// read decodes a file of the archive.
func read[T any](t *testing.T, a archive, name string) (content T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.files[name]), &content); err != nil {
		t.Fatalf("%s: %v: %s", name, err, a.files[name])
	}
	return content
}

type manifest struct {
	Complete bool
	Files    []struct {
		Name           string
		Bytes, Records int
	}
}

// wantWhole checks that the manifest is the last file and lists the others as they are.
func wantWhole(t *testing.T, a archive) {
	t.Helper()
	m := read[manifest](t, a, "manifest.json")
	var listed []string
	for _, f := range m.Files {
		listed = append(listed, f.Name)
		text, records := a.files[f.Name], 0
		switch {
		case f.Name == "account.json":
			records = 1
		case strings.HasSuffix(f.Name, ".json"):
			records = len(read[[]any](t, a, f.Name))
		}
		if f.Bytes != len(text) || f.Records != records {
			t.Errorf("the manifest says of %s: %+v, want %d bytes and %d records", f.Name, f, len(text), records)
		}
	}
	if !m.Complete || !slices.Equal(append(listed, "manifest.json"), a.names) {
		t.Errorf("the manifest lists %q (complete: %t), but the archive has %q", listed, m.Complete, a.names)
	}
	if before := a.names[len(a.names)-2]; before != "README.txt" {
		t.Errorf("%s is before the manifest, want README.txt", before)
	}
}

// A person downloads all that is kept of them, and none of the secrets.
func TestDownload(t *testing.T) {
	t.Parallel()
	heard := &wire{secrets: map[string]bool{}}
	s := newSiteWith(t, options{works: true, hooked: true, heard: heard.hear})
	b := signedUp(t, s, "ada@example.org")
	b.post("/account/preferences", "zone", "Europe/Paris", "units", "metric").to("/account#preferences")
	b.post("/account/messages").to("/account#email")
	for _, provider := range []string{"strava", "foursquare", "garmin"} {
		b.connect(provider, "ada").want(http.StatusSeeOther, "", "")
		b.updated(provider)
	}
	testkit.Eventually(t, "the pictures have come", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL`) > 0
	})
	_, err := s.pool.Exec(t.Context(), `
		UPDATE cairn.connection_events SET state = 'paused', cause = 'not_told' WHERE provider = 'garmin'`)
	if err != nil {
		t.Fatal(err)
	}
	other := signedUp(t, s, "moss@example.org")
	other.connect("strava", "moss").to("/")
	other.updated("strava")
	elsewhere := newBrowser(t, s)
	elsewhere.post("/login", "email", "ada@example.org", "password", password).to("/")
	elsewhere.post("/logout").want(http.StatusSeeOther, "", "")
	b.get("/account").want(200, "#data form[action='"+download+"'] button", "Download your data")

	raw := b.post(download).want(http.StatusOK, "", "")
	name := regexp.MustCompile(`^attachment; filename="cairn-data-\d{4}-\d\d-\d\d\.zip"$`)
	if h := raw.header; h.Get("Content-Type") != "application/zip" || !name.MatchString(h.Get("Content-Disposition")) ||
		h.Get("Cache-Control") != "no-store" || h.Get("Content-Encoding") != "" {
		t.Errorf("the header is %v", h)
	}
	a := unpack(t, strings.NewReader(raw.body), int64(len(raw.body)))
	wantWhole(t, a)
	text := strings.Join(mapped(a.names, func(name string) string { return a.files[name] }), "\n")
	for file, want := range map[string]string{
		"account.json":            `"name": "Ada"`,
		"sign_in_methods.json":    `{"method":"password","email":"ada@example.org","signs_in":true,"skips_code":false,`,
		"passkeys.json":           "[\n]",
		"browsers.json":           `{"last_sign_in_at":"20`,
		"account_history.json":    `"kind":"method_added"`,
		"sessions.json":           `"method":"password","signed_in_at":"20`,
		"ended_sessions.json":     `"reason":"signed_out"}`,
		"connections.json":        `{"provider":"strava","account_id":"`,
		"connection_history.json": `"provider":"garmin","state":"suspended","cause":"not_revoked"`,
		"revocations.json":        "[\n]",
		"entries.json":            `{"provider":"garmin","id":"`,
		"pictures.json":           `"media_type":"image/`,
		"old_site.json":           "[\n]",
		"README.txt":              "entries.json",
	} {
		if !strings.Contains(a.files[file], want) {
			t.Errorf("%s has no %s:\n%s", file, want, a.files[file])
		}
	}
	account := read[map[string]any](t, a, "account.json")
	if account["time_zone"] != "Europe/Paris" || account["units"] != "metric" ||
		!slices.Equal(account["unwanted_messages"].([]any), []any{"needs_reconnect"}) {
		t.Errorf("the account is %v", account)
	}
	kept := count(t, s, `
		SELECT sum(jsonb_array_length(entries)) FROM cairn.latest JOIN cairn.connections USING (identity_id)
		WHERE user_id = $1`, account["id"])
	for file, n := range map[string]int{"sign_in_methods.json": 4, "sessions.json": 1, "connections.json": 3,
		"connection_history.json": 3, "entries.json": kept} {
		if got := len(read[[]any](t, a, file)); got != n || n == 0 {
			t.Errorf("%s has %d records, want %d", file, got, n)
		}
	}
	wantUTC(t, text)
	wantNoSecrets(t, s, heard, text)
}

func mapped(names []string, to func(string) string) (all []string) {
	for _, name := range names {
		all = append(all, to(name))
	}
	return all
}

// wantUTC checks that all times are in UTC.
func wantUTC(t *testing.T, text string) {
	t.Helper()
	times := regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*"`).FindAllString(text, -1)
	for _, at := range times {
		if _, err := time.Parse(`"`+time.RFC3339Nano+`"`, at); err != nil || !strings.HasSuffix(at, `Z"`) {
			t.Errorf("%s is not a time in UTC", at)
		}
	}
	if len(times) < 20 {
		t.Errorf("there are only %d times", len(times))
	}
}

// wantNoSecrets looks for what went to the providers and came back, and for the bytes that are stored.
func wantNoSecrets(t *testing.T, s site, heard *wire, text string) {
	t.Helper()
	if found := heard.found(text); len(found) > 0 {
		t.Errorf("the archive has %d secrets", len(found))
	}
	if len(heard.secrets) < 9 {
		t.Errorf("only %d secrets went to the providers", len(heard.secrets))
	}
	var stored [][]byte
	err := s.pool.QueryRow(t.Context(), `
		SELECT array_agg(secret) FROM (
			SELECT sealed_tokens FROM cairn.connections UNION ALL SELECT token_hash FROM cairn.browsers
			UNION ALL SELECT convert_to(token, 'UTF8') FROM cairn.sessions
			UNION ALL SELECT convert_to(token, 'UTF8') FROM cairn.ended_sessions
			UNION ALL SELECT convert_to(hash, 'UTF8') FROM cairn.passwords
		) AS kept (secret)`).Scan(&stored)
	if err != nil || len(stored) < 10 {
		t.Fatalf("%d secrets are stored (error %v)", len(stored), err)
	}
	for _, secret := range stored {
		for _, form := range []string{string(secret), hex.EncodeToString(secret),
			base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret)} {
			if strings.Contains(text, form) {
				t.Errorf("the archive has a stored secret: %s", form)
			}
		}
	}
	if strings.Contains(text, "moss@") {
		t.Error("the archive has data of another person")
	}
}

// Only people who have just signed in get their data. The others sign in first, and come back to the button.
func TestDownloadAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	newBrowser(t, s).post(download).to("/login?next=%2Faccount&notice=sign-in")
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.do(http.MethodPost, download, nil, "Sec-Fetch-Site", "cross-site").want(http.StatusForbidden, "", "")
	b.get(download).want(http.StatusMethodNotAllowed, "", "")

	aged(t, s)
	b.get(b.asked(download)).want(200, "h1", "to download your data")
	next := b.carried(b.asked(download))
	b.post("/account/confirm", "next", next, "password", password).to("/account#data")
	b.get("/account").want(200, "#data #notice", "Confirmed")
	wantWhole(t, b.download())

	aged(t, s)
	next = b.carried(b.asked(download))
	callback := b.decide(b.consent("/login/strava", "next", next), "ada", "allow")
	b.get(callback).to("/account#data")
	b.get("/account").want(200, "#data #notice", "Confirmed")
	wantWhole(t, b.download())
}

// endless is a part that never ends, so that a download is under way for as long as a test wants.
func endless() export.Part {
	return export.List("endless.json", "never ends",
		func(_ context.Context, _ int64, after int) (records []string, next int, err error) {
			return []string{hex.EncodeToString(noise(4096))}, after + 1, nil
		})
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// begin begins a download and reads its first bytes.
func (b browser) begin() *http.Response {
	b.t.Helper()
	resp := b.open()
	if _, err := io.ReadFull(resp.Body, make([]byte, 4096)); err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// open begins a download.
func (b browser) open() *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.site.url+download, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("the download answers %s", resp.Status)
	}
	return resp
}

// A person has one download at a time, and all people together have two. A place is free when its download ends.
func TestDownloadsAreFew(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{exports: []export.Part{endless()}})
	ada, moss, fern := signedUp(t, s, "ada@example.org"), signedUp(t, s, "moss@example.org"),
		signedUp(t, s, "fern@example.org")
	first := ada.begin()
	refused := ada.post(download).want(http.StatusTooManyRequests, "h1", "downloaded already")
	moss.begin()
	full := fern.post(download).want(http.StatusServiceUnavailable, "h1", "Other people")
	for _, a := range []answer{refused, full} {
		if a.header.Get("Retry-After") != "60" || a.header.Get("Content-Disposition") != "" {
			t.Errorf("a refusal has the header %v", a.header)
		}
	}
	_ = first.Body.Close()
	testkit.Eventually(t, "the place is free again", func() bool {
		return strings.Contains(s.log.String(), "download cut off")
	})
	fern.begin()
}

// The limits per person and per network count what has begun.
func TestDownloadsAreCounted(t *testing.T) {
	t.Parallel()
	limits := untiring()
	limits.DownloadPerson.Max = 1
	s := newSiteWith(t, options{limits: limits})
	b := signedUp(t, s, "ada@example.org")
	wantWhole(t, b.download())
	b.post(download).want(http.StatusTooManyRequests, "h1", "Too many attempts")
}

// A failure before the first byte has a page, and one after it closes the connection.
func TestDownloadFails(t *testing.T) {
	t.Parallel()
	broken := func(good int) export.Part {
		return export.List("broken.json", "breaks",
			func(_ context.Context, _ int64, after int) ([]string, int, error) {
				if after == good {
					return nil, 0, io.ErrNoProgress
				}
				return []string{hex.EncodeToString(noise(4096))}, after + 1, nil
			})
	}
	s := newSiteWith(t, options{exports: []export.Part{broken(0)}})
	signedUp(t, s, "ada@example.org").post(download).want(http.StatusInternalServerError, "h1", "went wrong")
	s = newSiteWith(t, options{exports: []export.Part{broken(100)}})
	wantCutOff(t, signedUp(t, s, "ada@example.org").begin())
}

// However much there is, it takes the same memory. Other tests would be measured too, so this one runs alone.
func TestDownloadTakesLittleMemory(t *testing.T) {
	testkit.Long(t)
	const events, most = 8000, 10 << 20
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	exec(t, s, testkit.LongHistory(events))
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	before := live()
	resp := b.open()
	for {
		_, err := io.CopyN(file, resp.Body, 1<<20)
		if grown := live() - before; grown > most {
			t.Fatalf("the heap has grown by %d bytes, want %d at most", grown, most)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil || size < most {
		t.Fatalf("the archive has %d bytes (error %v), want more than %d", size, err, most)
	}
	a := unpack(t, file, size)
	wantWhole(t, a)
	if got := len(read[[]any](t, a, "connection_history.json")); got != events {
		t.Errorf("the history has %d records, want %d", got, events)
	}
}

// live is how much memory is in use.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
