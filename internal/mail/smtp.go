package mail

import (
	"context"
)

// Send hands a message to the mail server. Errors: ErrRefused, ErrInvalid; after any other error, try again later. An
// error contains neither a password nor the recipient's address nor anything of the message.
func (s *Sender) Send(ctx context.Context, m Message) error {
	_, err := s.Submit(ctx, m)
	return err
}

// Submit is like Send, and returns the server's answer, which often has the message's id in the server's log.
func (s *Sender) Submit(ctx context.Context, m Message) (answer string, err error) {
	msg, err := s.compose(m)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.with.Timeout)
	defer cancel()
	c, err := s.open(ctx, m)
	if err != nil {
		return "", err
	}
	defer c.end()
	if err := c.from(m.To); err != nil {
		return "", err
	}
	if err := c.to(m.To); err != nil {
		return "", err
	}
	answer, err = c.content(msg)
	if err == nil {
		_ = c.client.Quit()
	}
	return answer, err
}

// Check goes through everything but a message: connecting, TLS, signing in, and whether the server takes mail from our
// address. Its error says which step failed, in a sentence for operators.
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.with.Timeout)
	defer cancel()
	c, err := s.open(ctx, Message{})
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.from(""); err != nil {
		return err
	}
	if err := c.failed(takingBack, c.client.Reset()); err != nil {
		return err
	}
	_ = c.client.Quit()
	return nil
}
