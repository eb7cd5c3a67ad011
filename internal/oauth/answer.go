package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// tokenAnswers makes the answers of token addresses fit for x/oauth2, which takes text/plain for a query, and drops
// tokens whose expiry it can't read: a refresh token that is good only once would be lost.
type tokenAnswers struct{ http.RoundTripper }

func (t tokenAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), broken{err}))
		return resp, nil
	}
	if readable, ok := readableTokens(body); ok {
		resp.Header.Set("Content-Type", "application/json")
		body = readable
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// broken is the point where an answer broke off.
type broken struct{ error }

func (b broken) Read([]byte) (int, error) { return 0, b.error }

// readableTokens writes expires_in as a whole number of seconds, whatever it came as, and leaves it out if it makes no
// sense. An object, like the account that some answers name, becomes a string of JSON: x/oauth2 would read an id in it
// as a float and lose its last digits.
func readableTokens(body []byte) (readable []byte, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return nil, false
	}
	seconds, err := strconv.ParseFloat(strings.Trim(string(fields["expires_in"]), `"`), 64)
	delete(fields, "expires_in")
	if err == nil && seconds >= 1 {
		fields["expires_in"] = strconv.AppendInt(nil, int64(min(seconds, math.MaxInt32)), 10)
	}
	for name, value := range fields {
		if value[0] != '{' {
			continue
		}
		if fields[name], err = json.Marshal(string(value)); err != nil {
			return nil, false
		}
	}
	readable, err = json.Marshal(fields)
	return readable, err == nil
}
