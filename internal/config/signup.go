package config

import "cmp"

// signUp reads for whom new accounts are made.
func (c *reader) signUp() string {
	value := cmp.Or(c.value("SIGNUP"), "open")
	switch value {
	case "open", "invite", "closed":
	default:
		c.problem("SIGNUP is none of open, invite and closed")
	}
	return value
}
