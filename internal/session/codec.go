package session

import (
	"encoding/json"
	"errors"
	"time"
)

// errUndecodable says that this version of the program can't read a session's data.
var errUndecodable = errors.New("session: data does not decode")

// jsonCodec writes the values as a JSON object of scalars, so that versions of the program that run side by side during
// a deploy read each other's data and skip what they do not know. The expiry has its own column, by the database's
// clock.
type jsonCodec struct{}

func (jsonCodec) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(values)
}

func (jsonCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	if string(data) == "{}" { // as most sessions have it
		return time.Time{}, map[string]any{}, nil
	}
	var values map[string]any
	if err := json.Unmarshal(data, &values); err != nil || values == nil {
		return time.Time{}, nil, errUndecodable
	}
	return time.Time{}, values, nil
}
