package node_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/node"
)

const (
	// These two and what they sealed are those of sealed_test.go.
	passphrase  = "a passphrase of the operator"
	nodeAddress = "postgres://node:secret@db.example.org:5432/app"
	byPhrase    = "755857880e120d9459f8a967958f4bf8:9b5beed69cc2bd328544c63349d07ea8:" +
		"3a1526fc40de7c9bcd6bb2e15e22992a579cf208"
	byAddress = "da360ee2266b1c52042a4d8735d594f8:e0192654c7e624dc5cf80286bd2022c8:" +
		"b81cd78f5238c21507038df1edc3923eb01f5d05"
	ourKey   = "5d0c93b7e6fa2148b05d3c7e91f8a2640e7d5b39c6182f4da09b73e5c8146f2d"
	wrongKey = "91b3e7f05ac8264d13e9b70f5d8a6c42e0375f9b1d84c6a2730e5f8b94d1c06a"
)

// Each line of the table in the package comment.
func TestWhatBecomesOfARow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.importer = r.importerWith(node.Deps{Config: config.Config{
		Node: config.Node{EncryptionKey: passphrase}, DatabaseURL: nodeAddress,
		EncryptionKeys: [][]byte{bytesOf(t, ourKey), bytesOf(t, nodeKey)},
	}})
	long := strings.Repeat("é", 300)
	const fine = "foursquare active imported"
	unreadable := "strava needs_reconnect unreadable"
	strava := func(sealed string) row { return row{athlete: 77, strava: sealed} }
	cases := []struct {
		name        string
		row         row
		wantName    string // "Traveller" if it is empty
		wantPicture string
		wantLink    bool
		want        string // connections
		token       string // Foursquare's or Strava's
		refused     string // a part of the reason
	}{
		{name: "nothing but an id"},
		{name: "name", row: row{name: "Ada"}, wantName: "Ada"},
		{name: "empty name", row: row{name: ""}},
		{name: "name of spaces", row: row{name: " \t "}},
		{name: "long name", row: row{name: long}, wantName: long[:200]},
		{name: "control characters", row: row{name: "A\ad\x1ba\nB\u202e"}, wantName: "Ada B"},
		{name: "picture", row: row{avatar: "https://p.test/a.png"}, wantPicture: "https://p.test/a.png"},
		{name: "http picture", row: row{avatar: "http://p.test/a.png"}},
		{name: "script for a picture", row: row{avatar: "javascript:alert(1)"}},
		{name: "picture without host", row: row{avatar: "https:///a.png"}},
		{name: "broken picture", row: row{avatar: "https://%zz/"}},
		{name: "long picture", row: row{avatar: "https://p.test/" + strings.Repeat("a", 2048)}},
		{name: "empty picture", row: row{avatar: ""}},
		{name: "link", row: row{link: strings.Repeat("0aF9", 16)}, wantLink: true},
		{name: "short link", row: row{link: "abc"}},
		{name: "no hex in the link", row: row{link: strings.Repeat("zz", 32)}},
		{name: "empty link", row: row{link: ""}},

		{name: "hex key", row: row{token: sealed("FSQ-hex")}, want: fine, token: "FSQ-hex"},
		{name: "key that is ours too", row: row{token: sealedWith(ourKey, "FSQ-ours")}, want: fine, token: "FSQ-ours"},
		{name: "passphrase", row: row{token: byPhrase}, want: fine, token: "FSQ-token-0123456789"},
		{name: "database", row: row{token: byAddress}, want: fine, token: "FSQ-token-0123456789"},
		{
			name: "wrong key", row: row{token: sealedWith(wrongKey, "FSQ-wrong")},
			want: "foursquare needs_reconnect unreadable",
		},
		{name: "cut off", row: row{token: sealed("FSQ-cut")[:78]}, want: "foursquare needs_reconnect unreadable"},
		{name: "no sealed text", row: row{token: "null"}, want: "foursquare needs_reconnect unreadable"},
		{name: "empty text", row: row{token: "", strava: "", garmin: ""}},
		{name: "sealed null", row: row{token: sealed("null")}, want: "foursquare needs_reconnect unreadable"},
		{name: "sealed undefined", row: row{token: sealed("undefined")}, want: "foursquare needs_reconnect unreadable"},
		{name: "sealed nothing", row: row{token: sealed("")}, want: "foursquare needs_reconnect unreadable"},
		{name: "sealed JSON", row: row{token: sealed(`{"a":1}`)}, want: "foursquare needs_reconnect unreadable"},

		{
			name: "Strava", row: row{athlete: 71, strava: stravaTokens("access-71", later)},
			want: "strava active imported", token: "access-71",
		},
		{name: "Strava null", row: strava(sealed("null")), want: unreadable},
		{name: "Strava list", row: row{athlete: 72, strava: sealed(`["a"]`)}, want: unreadable},
		{name: "Strava empty object", row: row{athlete: 73, strava: sealed(`{}`)}, want: unreadable},
		{
			name: "Strava without refresh token", want: unreadable,
			row: row{athlete: 74, strava: sealed(`{"accessToken":"abcdefgh","expiresAt":4102444800}`)},
		},
		{
			name: "Strava's expiry in words", want: unreadable, row: row{
				athlete: 75, strava: sealed(`{"accessToken":"abcdefgh","refreshToken":"abcdefgh","expiresAt":"soon"}`),
			},
		},
		{
			name: "Strava's expiry beyond time", want: unreadable,
			row: row{athlete: 76, strava: stravaTokens("x-access", 1<<60)},
		},
		{
			name: "Strava without athlete", row: row{strava: stravaTokens("x-access", later)},
			want: "strava needs_reconnect account_unknown",
		},
		{
			name: "Strava with a wrong athlete", row: row{athlete: -5, strava: stravaTokens("x-access", later)},
			want: "strava needs_reconnect account_unknown",
		},
		{name: "athlete without tokens", row: row{athlete: 78}},
		{
			name: "Garmin", row: row{garmin: sealed(`{"accessToken":"a","refreshToken":"b"}`)},
			want: "garmin needs_reconnect account_unknown",
		},
		{
			name: "all of them", row: row{token: sealed("FSQ-all"), athlete: 79, strava: sealed(""), garmin: "?"},
			want:  fine + ", garmin needs_reconnect account_unknown, " + unreadable,
			token: "FSQ-all",
		},

		{name: "empty Foursquare id", row: row{foursquare: ""}, refused: "no Foursquare id"},
		{name: "long Foursquare id", row: row{foursquare: strings.Repeat("é", 200)}, refused: "no Foursquare id"},
		{name: "Foursquare id with a space", row: row{foursquare: "1 2"}, refused: "no Foursquare id"},
		{name: "Foursquare id like an unknown one", row: row{foursquare: "?7"}, refused: "no Foursquare id"},
	}
	for i, tt := range cases {
		tt.row.id = int64(i + 1)
		if tt.row.foursquare == nil {
			tt.row.foursquare = fmt.Sprint("f", i+1)
		}
		r.insert(tt.row)
	}
	done := r.importAll()
	for i, tt := range cases {
		id := int64(i + 1)
		userID := r.user(id)
		if tt.refused != "" {
			if !strings.Contains(done.refused[id], tt.refused) || userID != 0 {
				t.Errorf("%s: user %d, refused: %q", tt.name, userID, done.refused[id])
			}
			continue
		}
		if userID == 0 || done.refused[id] != "" {
			t.Errorf("%s: user %d, refused: %q", tt.name, userID, done.refused[id])
			continue
		}
		if tt.wantName == "" {
			tt.wantName = "Traveller"
		}
		if name := ask[string](r, `SELECT display_name FROM cairn.users WHERE id = $1`, userID); name != tt.wantName {
			t.Errorf("%s: the name is %q", tt.name, name)
		}
		picture := ask[string](r, `SELECT COALESCE(avatar_url, '') FROM cairn.users WHERE id = $1`, userID)
		if picture != tt.wantPicture {
			t.Errorf("%s: the picture is %q", tt.name, picture)
		}
		link := ask[bool](r, `SELECT link_hash IS NOT NULL AND ($2 = '' OR link_hash = sha256($2::bytea))
			FROM cairn.node_users WHERE node_id = $1`, id, fmt.Sprint(tt.row.link))
		if link != tt.wantLink {
			t.Errorf("%s: private link: %v", tt.name, link)
		}
		if got := r.connections(userID); got != tt.want {
			t.Errorf("%s: connections: %q", tt.name, got)
		}
		if tt.token != "" && r.token("foursquare", userID) != tt.token && r.token("strava", userID) != tt.token {
			t.Errorf("%s: tokens: %q, %q", tt.name, r.token("foursquare", userID), r.token("strava", userID))
		}
		if who, err := r.signIn("foursquare", fmt.Sprint("f", id)); who != userID || err != nil {
			t.Errorf("%s: Foursquare signs in user %d, error %v", tt.name, who, err)
		}
	}
	if done.Rows != len(cases) || done.Made != len(cases)-4 || done.Connected["foursquare"] != 5 {
		t.Errorf("the summary is %+v", done.Summary)
	}
	wantReconnect := map[string]int{
		"foursquare: no key opens its token": 3, "foursquare: what was sealed is no token": 4,
		"strava: what was sealed is no token": 7, "strava: the row does not say whose account it is": 2,
		"garmin: the row does not say whose account it is": 2,
	}
	if !maps.Equal(done.Reconnect, wantReconnect) {
		t.Errorf("needs reconnect: %v", done.Reconnect)
	}
}

// A link of the Node server to Strava could be forged, so it signs nobody in.
func TestImportedStravaDoesNotSignIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.importAll()
	userID := r.user(1)
	if _, err := r.signIn("strava", "200001"); !errors.Is(err, auth.ErrUnconfirmed) {
		t.Errorf("Strava: error %v", err)
	}
	account, err := r.accounts.Get(t.Context(), userID)
	if err != nil || account.Methods() != 1 || !account.SignsInWith("foursquare") || account.SignsInWith("strava") {
		t.Errorf("the account is %+v, error %v", account, err)
	}
	expires := ask[int64](r, `SELECT extract(epoch FROM token_expires_at)::bigint FROM cairn.connections
		WHERE user_id = $1 AND provider = 'strava'`, userID)
	if expires != later {
		t.Errorf("Strava's token expires at %d", expires)
	}
	granted := ask[string](r, `SELECT array_to_string(granted, ' ') FROM cairn.connections
		WHERE user_id = $1 AND provider = 'strava'`, userID)
	if granted != "read activity:read_all" {
		t.Errorf("Strava granted %q", granted)
	}
	name := ask[string](r, `SELECT string_agg(account_name || picture_url, '|' ORDER BY provider)
		FROM cairn.connections WHERE user_id = $1`, userID)
	if name != "Ada 1https://pictures.test/ada.png||" {
		t.Errorf("names and pictures of connections: %q", name)
	}
	if err := r.connect(userID, "strava", "200001", "connected"); err != nil {
		t.Fatal(err)
	}
	if who, err := r.signIn("strava", "200001"); who != userID || err != nil {
		t.Errorf("Strava, connected again, signs in user %d, error %v", who, err)
	}
}

// Strava's tokens without an expiry would count as good for ever.
func TestTokenWithoutExpiryCountsAsExpired(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := person(1)
	p.strava = sealed(`{"accessToken":"abcdefgh","refreshToken":"ijklmnop"}`)
	r.insert(p)
	r.importAll()
	expired := ask[bool](r, `SELECT token_expires_at < now() FROM cairn.connections WHERE provider = 'strava'`)
	if !expired {
		t.Error("it does not")
	}
}

func bytesOf(t *testing.T, digits string) []byte {
	t.Helper()
	key, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
