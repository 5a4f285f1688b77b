package notification

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/notice"
	"pinreset/shared/work"
)

// Mail is the server that mail is handed to, by SMTP over TLS: from the first byte on port 465 (RFC 8314), else by STARTTLS, without
// which nothing is sent. Only a server on this machine may do without.
type Mail struct {
	Server   string // host:port
	From     string // mail address of the sender
	Username string // "" signs in to nothing
	Password string
	Roots    *x509.CertPool // nil: the system's
}

// mailTimeout bounds the whole conversation with the server.
const mailTimeout = 20 * time.Second

// mail sends a delivery to the device's user or to the tenant's contact.
func (h *Handler) mail(ctx context.Context, u *work.Unit, s notice.Settings, d notice.Delivery) (to string, err error) {
	switch {
	case h.Mail == nil:
		return "", &skip{notice.NotConfigured}
	case d.Channel == events.NoticeByMailUser && !s.MailUser, d.Channel == events.NoticeByMailContact && !s.MailContact:
		return "", &skip{notice.TurnedOff}
	case d.Channel == events.NoticeByMailContact:
		to = s.Contact
	default:
		if to, err = h.userAddress(ctx, u.Partition(), d); err != nil {
			return "", err
		}
	}
	if !notice.IsMail(to) {
		return "", &skip{notice.NoAddress}
	}
	return to, h.Mail.send(ctx, d, to, u.Now())
}

// userAddress is the mail address of the device's user, read now: as Intune has it, else the user principal name. Somebody who has
// the device since is told nothing of the one before.
func (h *Handler) userAddress(ctx context.Context, tenant string, d notice.Delivery) (string, error) {
	device, err := h.Devices.ManagedDevice(ctx, tenant, d.DeviceID)
	switch {
	case errors.Is(err, graph.ErrNotFound):
		return "", &skip{notice.NoAddress}
	case err != nil:
		return "", err
	case device.UserID == "":
		return "", &skip{notice.NoAddress}
	case d.UserID != "" && device.UserID != d.UserID:
		return "", &skip{notice.OtherUser}
	}
	for _, a := range append(strings.FieldsFunc(device.Email, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }), device.UserPrincipalName) {
		if notice.IsMail(a) {
			return a, nil
		}
	}
	return "", &skip{notice.NoAddress}
}

// send hands one mail over. A reply of 5xx is for good (RFC 5321, section 4.2.1).
func (m *Mail) send(ctx context.Context, d notice.Delivery, to string, now time.Time) error {
	err := m.converse(ctx, to, m.compose(d, to, now))
	if err == nil {
		return nil
	}
	bad := &untaken{text: "mail server " + m.Server + ": " + err.Error(), err: err}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		bad.text = fmt.Sprintf("mail server %s answered %d", m.Server, reply.Code) // its text may quote anything
		if reply.Code >= 500 {
			bad.code = fault.NotificationUndelivered
		}
	}
	return bad
}

func (m *Mail) converse(ctx context.Context, to string, message []byte) (err error) {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	settings := &tls.Config{ServerName: host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}
	var conn net.Conn
	if port == "465" {
		conn, err = (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", m.Server)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	end, _ := ctx.Deadline()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(end); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), conn.Close())
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(fmt.Errorf("greeting: %w", err), conn.Close())
	}
	defer func() { _ = c.Close() }()
	if port != "465" {
		switch offered, _ := c.Extension("STARTTLS"); {
		case offered:
			if err := c.StartTLS(settings); err != nil {
				return fmt.Errorf("start TLS: %w", err)
			}
		case !loopback(host):
			return errors.New("offers no STARTTLS, without which nothing is sent")
		}
	}
	if m.Username != "" {
		if err := c.Auth(smtp.PlainAuth("", m.Username, m.Password, host)); err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
	}
	if err := c.Mail(m.From); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if err := c.Rcpt(to); err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if _, err := w.Write(message); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	_ = c.Quit() // the mail is taken already
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// compose returns the mail. Addresses are checked and the subject is encoded, so nothing that somebody named can add a header; the
// text is in base64, so nothing can end it. Message-ID is the delivery's, the same in every attempt.
func (m *Mail) compose(d notice.Delivery, to string, now time.Time) []byte {
	_, domain, _ := strings.Cut(m.From, "@")
	var b strings.Builder
	for _, h := range [][2]string{
		{"From", "pinreset <" + m.From + ">"}, {"To", "<" + to + ">"}, {"Subject", mime.QEncoding.Encode("utf-8", notice.Subject(d))},
		{"Date", now.UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + d.ID + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "base64"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	text := base64.StdEncoding.EncodeToString([]byte(notice.Text(d)))
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n")
	return []byte(b.String())
}
