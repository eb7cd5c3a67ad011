package auth

import (
	"context"
	"fmt"
	"slices"

	"cairn/internal/mail"
)

// ChooseMail stores which optional messages (mail.Optional) a user wants.
func (a *Accounts) ChooseMail(ctx context.Context, userID int64, wanted []mail.Kind) error {
	unwanted := []string{}
	for _, kind := range mail.Optional {
		if !slices.Contains(wanted, kind) {
			unwanted = append(unwanted, string(kind))
		}
	}
	_, err := a.pool.Exec(ctx, `UPDATE cairn.users SET unwanted_mail = $2 WHERE id = $1`, userID, unwanted)
	if err != nil {
		return fmt.Errorf("auth: store which messages user %d wants: %w", userID, err)
	}
	return nil
}

// Wants reports whether the account's owner wants messages of a kind. It says nothing about the address.
func (a Account) Wants(kind mail.Kind) bool {
	return !slices.Contains(mail.Optional, kind) || !slices.Contains(a.unwanted, kind)
}
