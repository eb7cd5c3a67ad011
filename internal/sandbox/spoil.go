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

// bufferedResponse holds a response back, so that it can be changed or lost.
type bufferedResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *bufferedResponse) Header() http.Header         { return b.header }
func (b *bufferedResponse) WriteHeader(status int)      { b.status = status }
func (b *bufferedResponse) Write(p []byte) (int, error) { return b.body.Write(p) }

// spoils reports whether the mode lets the request have its effect and spoils the response.
func spoils(mode string) bool {
	return mode == ModeLost || mode == ModeText || mode == ModeWrongTypes ||
		slices.Contains(expiries, mode) || slices.Contains(identities, mode)
}

// spoil handles the request, and changes or loses the response. Only a success is changed.
func spoil(w http.ResponseWriter, r *http.Request, mode string, next handler) error {
	response := bufferedResponse{header: w.Header(), status: http.StatusOK}
	if err := next(&response, r); err != nil {
		return err
	}
	body := response.body.Bytes()
	switch {
	case mode == ModeLost:
		hangUp()
	case response.status != http.StatusOK:
	case mode == ModeText:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	default:
		body = spoilJSON(body, mode)
	}
	w.WriteHeader(response.status)
	_, _ = w.Write(body)
	return nil
}

// spoilJSON changes a JSON body, and returns any other as it is.
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

// setIDs changes the id of the account, or of each entry in a list, and no id inside those.
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

// setNames changes all names, at any depth.
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
