package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"cairn/internal/auth"
)

// person is how a command names a person. At most one of the fields is set.
type person struct {
	email    string
	userID   int64
	provider string // "name:id"
}

// define adds the flags with which a command names a person.
func (p *person) define(f *flag.FlagSet) {
	f.StringVar(&p.email, "user", "", "")
	f.Int64Var(&p.userID, "user-id", 0, "")
	f.StringVar(&p.provider, "provider", "", "")
}

// chosen returns how many of the flags are given.
func (p person) chosen() (n int) {
	for _, set := range []bool{p.email != "", p.userID > 0, p.provider != ""} {
		if set {
			n++
		}
	}
	return n
}

// check refuses a flag without a sense. Errors: UsageError.
func (p person) check() error {
	if _, subject, _ := strings.Cut(p.provider, ":"); p.provider != "" && subject == "" {
		return UsageError("--provider takes a name and an id: NAME:ID")
	}
	return nil
}

// find returns the id of the user, or 0 if nobody is named.
func (p person) find(ctx context.Context, accounts *auth.Accounts) (userID int64, err error) {
	switch {
	case p.email != "":
		userID, err = accounts.Find(ctx, p.email)
		if errors.Is(err, auth.ErrNotFound) {
			return 0, errors.New("no user signs in with this e-mail address")
		}
	case p.provider != "":
		name, subject, _ := strings.Cut(p.provider, ":")
		userID, err = accounts.FindByProvider(ctx, name, subject)
		if errors.Is(err, auth.ErrNotFound) {
			return 0, fmt.Errorf("no user signs in with %s", p.provider)
		}
	case p.userID > 0:
		userID = p.userID
		_, err = accounts.Get(ctx, userID)
		if errors.Is(err, auth.ErrNotFound) {
			return 0, fmt.Errorf("there is no user %d", userID)
		}
	}
	return userID, err
}
