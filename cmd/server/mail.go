package main

import (
	"context"

	"cairn/internal/jobs"
	"cairn/internal/mail"
	"cairn/internal/sandbox"
)

// newTransport returns what takes mail: the operator's server, or the sandbox's mailbox. nil: nothing does.
func (s server) newTransport(simulated simulation) (mail.Transport, error) {
	if s.Mail.Server == nil {
		if simulated.Sandbox == nil {
			return nil, nil
		}
		return mailbox{simulated.Sandbox, mail.Letterhead{Site: s.site, Operator: s.Mail.Operator}}, nil
	}
	return mail.New(mail.Options{
		URL: s.Mail.Server, From: s.Mail.From, Site: s.site, Operator: s.Mail.Operator, Timeout: s.limits.Mail,
	})
}

// newOutbox returns where messages are put; nil: no mail is sent.
func newOutbox(transport mail.Transport, queue *jobs.Queue) *mail.Outbox {
	if transport == nil {
		return nil
	}
	return &mail.Outbox{Queue: queue}
}

// mailbox is the sandbox's.
type mailbox struct {
	sandbox *sandbox.Sandbox
	head    mail.Letterhead
}

func (b mailbox) Send(ctx context.Context, m mail.Message) error {
	plain, html, err := b.head.Render(m)
	if err != nil {
		return err
	}
	return b.sandbox.Deliver(ctx, sandbox.Mail{Key: m.ID, To: m.To, Subject: m.Subject, Text: plain, HTML: html})
}
