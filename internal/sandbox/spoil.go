package sandbox

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// heldAnswer keeps an answer back, so that it can be changed or lost.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *heldAnswer) Header() http.Header         { return a.header }
func (a *heldAnswer) WriteHeader(status int)      { a.status = status }
func (a *heldAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

// comesLater tells whether the mode lets the request have its effect and spoils the answer.
func comesLater(mode string) bool {
	return mode == ModeLost || mode == ModeText || mode == ModeWrongTypes ||
		slices.Contains(expiries, mode) || slices.Contains(identities, mode)
}

// spoil answers, and changes or loses what was to be sent. Only a success is changed.
func spoil(w http.ResponseWriter, r *http.Request, mode string, next handler) error {
	held := heldAnswer{header: w.Header(), status: http.StatusOK}
	if err := next(&held, r); err != nil {
		return err
	}
	body := held.body.Bytes()
	switch {
	case mode == ModeLost:
		hangUp()
	case held.status != http.StatusOK:
	case mode == ModeText:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	default:
		body = spoilJSON(body, mode)
	}
	w.WriteHeader(held.status)
	_, _ = w.Write(body)
	return nil
}

// spoilJSON changes an answer of ours, and leaves alone what is none.
func spoilJSON(body []byte, mode string) []byte {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var answer any
	if decoder.Decode(&answer) != nil {
		return body
	}
	switch {
	case mode == ModeWrongTypes:
		answer = wrongTypes(answer)
	case slices.Contains(expiries, mode):
		setExpiry(answer, mode)
	case mode == ModeIDNumber, mode == ModeIDString:
		next := int64(1)<<53 + 1
		setIDs(answer, mode, &next)
	default:
		setNames(answer, mode)
	}
	spoilt, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return spoilt
}

// wrongTypes gives each field of an object, or of the objects in a list, another type.
func wrongTypes(answer any) any {
	switch v := answer.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = otherType(value)
		}
		return v
	case []any:
		for i := range v {
			v[i] = wrongTypes(v[i])
		}
		return v
	}
	return otherType(answer)
}

func otherType(value any) any {
	switch value.(type) {
	case string:
		return true
	case json.Number:
		return "many"
	case bool:
		return "perhaps"
	case []any:
		return map[string]any{}
	case map[string]any:
		return []any{}
	}
	return value
}

func setExpiry(answer any, mode string) {
	tokens, ok := answer.(map[string]any)
	if !ok {
		return
	}
	value, known := map[string]any{ModeExpiresString: "21600", ModeExpiresWords: "soon", ModeExpiresFloat: 21599.5,
		ModeExpiresZero: 0, ModeExpiresNegative: -3600, ModeExpiresHuge: int64(math.MaxInt64)}[mode]
	delete(tokens, "expires_in")
	if known {
		tokens["expires_in"] = value
	}
}

// setIDs changes the id of the account, or of each entry of a list, and none further inside.
func setIDs(answer any, mode string, next *int64) {
	switch v := answer.(type) {
	case []any:
		for _, item := range v {
			setIDs(item, mode, next)
		}
	case map[string]any:
		found := false
		for _, name := range []string{"id", "userId", "summaryId", "activityId"} {
			if _, has := v[name]; !has {
				continue
			}
			if found = true; mode == ModeIDNumber {
				v[name] = *next
			} else {
				v[name] = strconv.FormatInt(*next, 10)
			}
		}
		if found {
			*next++
			return
		}
		for _, inside := range v {
			setIDs(inside, mode, next)
		}
	}
}

var oddNames = map[string]any{
	ModeNameNull:    nil,
	ModeNameUnicode: "نورا \u202eevil\u202c 👩‍👩‍👧‍👦 Z\u0351\u036ba\u0300 李 <b>&amp;</b>",
	ModeNameNUL:     "Nu\x00l",
	ModeNameLong:    strings.Repeat("Maximiliana-", 420)[:5000],
}

// setNames changes everything that is called something, wherever it is.
func setNames(answer any, mode string) {
	switch v := answer.(type) {
	case []any:
		for _, item := range v {
			setNames(item, mode)
		}
	case map[string]any:
		for _, field := range []string{
			"firstname", "lastname", "firstName", "lastName", "handle", "username", "name", "activityName",
		} {
			odd, known := oddNames[mode]
			if _, has := v[field]; has && known {
				v[field] = odd
			} else {
				delete(v, field)
			}
		}
		for _, inside := range v {
			setNames(inside, mode)
		}
	}
}
