package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"pinreset/functions/notification"
	"pinreset/shared/egress"
	"pinreset/shared/notice"
)

// outbound is what notifications leave by.
type outbound struct {
	seals  *notice.Seals
	client *http.Client
	mail   *notification.Mail // nil where none is sent
}

// mailProblems says what is wrong with the settings of mail.
func (c config) mailProblems(problem func(name, format string, args ...any)) {
	if c.SMTP == "" {
		for _, s := range []struct{ name, value string }{{"SMTP_FROM", c.SMTPFrom}, {"SMTP_USERNAME", c.SMTPUsername}, {"SMTP_PASSWORD_FILE", c.SMTPPasswordFile}} {
			if s.value != "" {
				problem(s.name, "has no meaning without PINRESET_SMTP")
			}
		}
		return
	}
	if host, _, err := net.SplitHostPort(c.SMTP); err != nil || host == "" {
		problem("SMTP", "must be host:port, not %q", c.SMTP)
	}
	if !notice.IsMail(c.SMTPFrom) {
		problem("SMTP_FROM", "must be the sender's mail address, not %q", c.SMTPFrom)
	}
	if (c.SMTPUsername == "") != (c.SMTPPasswordFile == "") {
		problem("SMTP_USERNAME", "and PINRESET_SMTP_PASSWORD_FILE go together")
	}
}

// outbound makes it ready. simulated says that tenants are, and so their receivers are on this machine, which may then be called.
func (c config) outbound(simulated bool, kek interface {
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}) (outbound, error) {
	o := outbound{seals: notice.NewSeals(kek), client: egress.NewClient(egress.NewDialer(egress.Options{Loopback: simulated}))}
	if c.SMTP == "" {
		return o, nil
	}
	o.mail = &notification.Mail{Server: c.SMTP, From: c.SMTPFrom, Username: c.SMTPUsername}
	if c.SMTPPasswordFile != "" {
		var err error
		if o.mail.Password, err = readSecret(c.SMTPPasswordFile); err != nil {
			return o, fmt.Errorf("password of the mail server: %w", err)
		}
	}
	return o, nil
}
