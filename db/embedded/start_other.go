//go:build !unix

package embedded

import (
	"context"
	"errors"
)

// Start needs Unix sockets, flock and sessions.
func Start(context.Context, Options) (*Server, error) {
	return nil, errors.New("embedded: a private PostgreSQL needs a Unix-like system: " +
		"set DATABASE_URL, or use docker compose up")
}

// Supervise has nothing to do where there is no supervisor.
func Supervise() {}
