package session

import (
	"encoding/json"
	"errors"
	"time"
)

// errUndecodable marks session data that no longer (or not yet) means anything to this version of the program.
var errUndecodable = errors.New("session: data does not decode")

// jsonCodec writes the values as a JSON object of scalars, so that versions of the program that run side by side
// during a deploy read each other's data and skip what they do not know. Expiry lives in its column, on the
// database's clock.
type jsonCodec struct{}

func (jsonCodec) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(values)
}

func (jsonCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	if string(data) == "{}" { // nearly always, and then on every request
		return time.Time{}, map[string]any{}, nil
	}
	var values map[string]any
	if err := json.Unmarshal(data, &values); err != nil || values == nil {
		return time.Time{}, nil, errUndecodable
	}
	return time.Time{}, values, nil
}
