package routes_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/scrypt"

	"cairn/internal/sandbox"
	"cairn/internal/seal"
)

// nodeSealer seals as the Node server does, with a passphrase.
func nodeSealer(t *testing.T) cipher.AEAD {
	t.Helper()
	key, err := scrypt.Key([]byte(wayBack().EncryptionKey), []byte("salt"), 1<<14, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func sealThere(t *testing.T, plain string) string {
	t.Helper()
	iv := []byte("sixteen bytes iv")
	sealed := nodeSealer(t).Seal(nil, iv, []byte(plain), nil)
	cut := len(sealed) - 16
	return fmt.Sprintf("%x:%x:%x", iv, sealed[cut:], sealed[:cut])
}

func openThere(t *testing.T, text string) string {
	t.Helper()
	var parts [3][]byte
	for i, part := range strings.Split(text, ":") {
		parts[i], _ = hex.DecodeString(part)
	}
	plain, err := nodeSealer(t).Open(nil, parts[0], append(parts[2], parts[1]...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// Refreshed tokens are sealed for the other server, and its own newer ones are taken before ours are refreshed.
func TestRefreshedTokensGoThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, userID := s.atBoth(t, 7)
	b.connect("strava", "ada")
	s.hasStravaThere(t, `{"accessToken":"first-access","refreshToken":"first-refresh","expiresAt":1}`)
	there := func() (text string) {
		t.Helper()
		err := s.pool.QueryRow(t.Context(), `SELECT strava_oauth_tokens_encrypted FROM public.users`).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s.refresh(t, b, userID)
	written := there()
	plain := openThere(t, written)
	if strings.Contains(plain, "first") || !strings.Contains(plain, `"refreshToken":`) {
		t.Fatalf("what is there after a refresh: %s", plain)
	}
	noted := count(t, s.site, `SELECT count(*) FROM cairn.node_connections c JOIN cairn.connections o ON o.user_id = $1
		WHERE c.text_hash = $2 AND c.generation = o.generation AND c.provider = 'strava'`, userID, sum(written))
	if noted != 1 {
		t.Error("it is not noted what was written")
	}
	// The other server has got others meanwhile.
	future := regexp.MustCompile(`"expiresAt":\d+`).ReplaceAllString(plain, `"expiresAt":4102444800`)
	future = regexp.MustCompile(`"refreshToken":"[^"]*"`).ReplaceAllString(future, `"refreshToken":"theirs"`)
	exec(t, s.site, `UPDATE public.users SET strava_oauth_tokens_encrypted = $1`, sealThere(t, future))
	s.refresh(t, b, userID)
	if got := openThere(t, there()); got != future {
		t.Errorf("there is %s, want the tokens that it had got: %s", got, future)
	}
	if got := s.tokensOf(t, userID); !strings.Contains(got, `"refresh":"theirs"`) {
		t.Errorf("here is %s, want the tokens that the other server had got", got)
	}
}

// hasStravaThere gives the other server tokens for the Strava account that its user 7 has connected here.
func (s beside) hasStravaThere(t *testing.T, tokens string) {
	t.Helper()
	text := sealThere(t, tokens)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, strava_oauth_tokens_encrypted, strava_athlete_id)
		SELECT 7, '7', $1, subject::bigint FROM cairn.connections`, text)
	exec(t, s.site, `INSERT INTO cairn.node_connections (node_id, provider, text_hash) VALUES (7, 'strava', $1)
		ON CONFLICT (node_id, provider) DO UPDATE SET text_hash = $1, ended_at = NULL`, sum(text))
}

// The other server refreshes tokens when we have just looked at them, which ends ours. The connection goes on with
// those that it got, whether it has stored them by then or does so a moment later.
func TestRaceBothServersRefreshTokens(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprint("later ", later), func(t *testing.T) {
			t.Parallel()
			var s beside
			var first atomic.Bool
			done := make(chan struct{})
			s = withWayBack(t, func(o *options) {
				o.heard = func(strava http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						ours := func() *http.Request {
							again := r.Clone(r.Context())
							again.Body = io.NopCloser(bytes.NewReader(body))
							return again
						}
						refresh := bytes.Contains(body, []byte("grant_type=refresh_token"))
						if !refresh || !first.CompareAndSwap(false, true) {
							strava.ServeHTTP(w, ours())
							return
						}
						text := refreshThere(t, strava, ours())
						store := func() {
							exec(t, s.site, `UPDATE public.users SET strava_oauth_tokens_encrypted = $1`, text)
							close(done)
						}
						if !later {
							store()
						}
						strava.ServeHTTP(w, ours())
						if later {
							go store()
						}
					})
				}
			})
			if err := s.sandbox.SetSwitch(t.Context(), sandbox.Strava, sandbox.RotateRefresh, sandbox.On); err != nil {
				t.Fatal(err)
			}
			b, userID := s.atBoth(t, 7)
			b.connect("strava", "ada")
			s.hasStravaThere(t, `{"accessToken":"a","refreshToken":"r","expiresAt":1}`)
			s.refresh(t, b, userID)
			<-done
			b.get("/connections").want(http.StatusOK, "#card-strava[data-state=active]", "")
			s.refresh(t, b, userID) // with the refresh token that the other server got
			b.get("/connections").want(http.StatusOK, "#card-strava[data-state=active]", "")
		})
	}
}

// refreshThere refreshes tokens as the other server does, and returns what it stores.
func refreshThere(t *testing.T, strava http.Handler, r *http.Request) string {
	w := httptest.NewRecorder()
	strava.ServeHTTP(w, r)
	var got struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresAt    int64  `json:"expires_at"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.RefreshToken == "" {
		t.Errorf("the other server got %d %q", w.Code, w.Body)
	}
	text, _ := json.Marshal(map[string]any{
		"accessToken": got.AccessToken, "refreshToken": got.RefreshToken, "expiresAt": got.ExpiresAt,
	})
	return sealThere(t, string(text))
}

// Tokens there that are refused, because they are an old copy, are no reason to give up ours.
func TestOldTokensThereCostNoConnection(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, userID := s.atBoth(t, 7)
	b.connect("strava", "ada")
	s.hasStravaThere(t, `{"accessToken":"a","refreshToken":"r","expiresAt":1}`)
	old := sealThere(t, `{"accessToken":"old-access","refreshToken":"old-refresh","expiresAt":2}`)
	exec(t, s.site, `UPDATE public.users SET strava_oauth_tokens_encrypted = $1`, old)
	s.refresh(t, b, userID)
	b.get("/connections").want(http.StatusOK, "#card-strava[data-state=active]", "")
	n := count(t, s.site, `SELECT count(*) FROM public.users WHERE strava_oauth_tokens_encrypted = $1`, old)
	if n != 0 {
		t.Error("the old tokens are still there")
	}
}

// Somebody who has one Strava account here and another there keeps both.
func TestTokensOfAnotherAccountStayApart(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, userID := s.atBoth(t, 7)
	b.connect("strava", "ada")
	text := sealThere(t, `{"accessToken":"another-access","refreshToken":"another-refresh","expiresAt":4102444800}`)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, strava_oauth_tokens_encrypted, strava_athlete_id)
		VALUES (7, '7', $1, 99)`, text)
	for name, known := range map[string]string{"as the import saw it": text, "changed there since": "before"} {
		// What an import notes that finds a connection here.
		exec(t, s.site, `INSERT INTO cairn.node_connections (node_id, provider, text_hash) VALUES (7, 'strava', $1)
			ON CONFLICT (node_id, provider) DO UPDATE SET text_hash = $1, generation = NULL`, sum(known))
		s.refresh(t, b, userID)
		n := count(t, s.site, `SELECT count(*) FROM public.users WHERE strava_oauth_tokens_encrypted = $1`, text)
		if got := s.tokensOf(t, userID); n != 1 || strings.Contains(got, "another") {
			t.Errorf("%s: unchanged there %t; here is %s", name, n == 1, got)
		}
	}
}

// refresh has the tokens of a user's connection to Strava refreshed.
func (s beside) refresh(t *testing.T, b browser, userID int) {
	t.Helper()
	unlimited(t, s.site)
	exec(t, s.site, `UPDATE cairn.connections SET token_expires_at = now() WHERE user_id = $1`, userID)
	b.post("/connections/strava/check").to("/connections#card-strava")
}

// tokensOf opens the tokens of a user's connection to Strava.
func (s beside) tokensOf(t *testing.T, userID int) string {
	t.Helper()
	var identity int64
	var sealed []byte
	err := s.pool.QueryRow(t.Context(), `
		SELECT identity_id, sealed_tokens FROM cairn.connections WHERE user_id = $1 AND provider = 'strava'`, userID).
		Scan(&identity, &sealed)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sealer.Open(sealed, fmt.Sprintf("cairn.connections/sealed_tokens/%d/%d/strava", identity, userID))
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}
