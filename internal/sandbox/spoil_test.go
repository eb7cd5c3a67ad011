package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"cairn/internal/sandbox"
)

func TestSpoiltTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for mode, want := range map[string]string{
		sandbox.ModeExpiresString: `"expires_in":"21600"`, sandbox.ModeExpiresWords: `"expires_in":"soon"`,
		sandbox.ModeExpiresFloat: `"expires_in":21599.5`, sandbox.ModeExpiresZero: `"expires_in":0,`,
		sandbox.ModeExpiresNegative: `"expires_in":-3600`, sandbox.ModeExpiresHuge: `"expires_in":9223372036854775807`,
		sandbox.ModeExpiresMissing: `"expires_at":`, sandbox.ModeWrongTypes: `"access_token":true`,
		sandbox.ModeText: `"access_token":"`, sandbox.ModeIDString: `"id":"9007199254740993"`,
	} {
		r.set(sandbox.Strava, sandbox.Exchange, mode)
		a := r.exchange(sandbox.Strava, r.allow(sandbox.Strava, "ada").Get("code"))
		if a.status != http.StatusOK || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s, want %s", mode, a.status, a.body, want)
		}
		if missing := !strings.Contains(a.body, "expires_in"); missing != (mode == sandbox.ModeExpiresMissing) {
			t.Errorf("%s: expires_in missing %t", mode, missing)
		}
		if plain := strings.HasPrefix(a.header.Get("Content-Type"), "text/plain"); plain != (mode == sandbox.ModeText) {
			t.Errorf("%s: %s", mode, a.header.Get("Content-Type"))
		}
	}
	r.set(sandbox.Strava, sandbox.Exchange, sandbox.ModeWrongTypes)
	if a := r.exchange(sandbox.Strava, "x"); stravaCause(a) != "RequestToken/code/invalid" {
		t.Errorf("a refusal was spoilt: %s", a.body)
	}
}

func TestSpoiltIdentities(t *testing.T) {
	t.Parallel()
	for provider, fields := range map[string][3]string{ // the id's field, and the two modes' ways of writing it
		sandbox.Strava:     {`"id":`, `9007199254740993`, `"9007199254740993"`},
		sandbox.Garmin:     {`"userId":`, `9007199254740993`, `"9007199254740993"`},
		sandbox.Foursquare: {`"id":`, `9007199254740993`, `"9007199254740993"`},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			access := r.connect(provider, "zofie").text("access_token")
			for i, mode := range []string{sandbox.ModeIDNumber, sandbox.ModeIDString} {
				r.set(provider, sandbox.UserInfo, mode)
				if a := r.userInfo(provider, access); !strings.Contains(a.body, fields[0]+fields[i+1]) {
					t.Errorf("%s: %s", mode, a.body)
				}
			}
			if provider == sandbox.Garmin {
				return // its answers have no names
			}
			for mode, want := range map[string]string{
				sandbox.ModeNameMissing: "",
				sandbox.ModeNameNull:    "null",
				sandbox.ModeNameUnicode: `\u003cb\u003e`,
				sandbox.ModeNameNUL:     `"Nu\u0000l"`,
				sandbox.ModeNameLong:    strings.Repeat("Maximiliana-", 400),
			} {
				r.set(provider, sandbox.UserInfo, mode)
				a := r.userInfo(provider, access)
				named := strings.Contains(strings.ToLower(a.body), `"firstname":`)
				if named == (mode == sandbox.ModeNameMissing) || !strings.Contains(a.body, want) {
					t.Errorf("%s: %.300s", mode, a.body)
				}
			}
		})
	}
}

func TestSpoiltListsKeepIDsApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	access := r.connect(sandbox.Strava, "ada", "activity:read_all").text("access_token")
	r.set(sandbox.Strava, sandbox.Data, sandbox.ModeIDNumber)
	for i, got := range r.activities(access, "") {
		if got.ID != 1<<53+1+int64(i) {
			t.Fatalf("activity %d has id %d", i, got.ID)
		}
	}
	r.set(sandbox.Strava, sandbox.Data, sandbox.ModeWrongTypes)
	var list []map[string]any
	err := json.Unmarshal([]byte(r.asksData(access)), &list)
	if err != nil || list[0]["name"] != true || list[0]["distance"] != "many" {
		t.Errorf("wrong types: %v, %v", list[0], err)
	}
}

func (r rig) asksData(access string) string {
	r.t.Helper()
	return r.get(r.at(sandbox.Strava).API+"/athlete/activities", access).body
}
