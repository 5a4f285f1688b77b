package notification_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/notification"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/notice"
)

// post is a mail server of RFC 5321, as much of it as one sender uses.
type post struct {
	net.Listener
	tls  *tls.Config // nil: no STARTTLS
	auth string      // what AUTH PLAIN must say; "" takes no sign-in

	mu      sync.Mutex
	rejects []int // replies to the first recipients; 250 for all after
	asked   int
	plain   bool // a mail came without TLS
	mails   []letter
	talks   sync.WaitGroup
}

type letter struct {
	from, to string
	data     []byte
}

// certificate is one of this machine's, with the roots that prove it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func postOffice(t *testing.T, settings *tls.Config, auth string, rejects ...int) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{Listener: l, tls: settings, auth: auth, rejects: rejects}
	p.talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.talks.Go(func() { p.talk(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.talks.Wait() })
	return p
}

// at is its address; by the name "localhost" it is no loopback address, so that a sender asks for TLS.
func (p *post) at(host string) string {
	_, port, _ := net.SplitHostPort(p.Addr().String())
	return net.JoinHostPort(host, port)
}

func (p *post) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in, secure, signedIn := bufio.NewReader(conn), false, p.auth == ""
	var l letter
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 post.example")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			text := "250-post.example\r\n"
			if p.tls != nil && !secure {
				text += "250-STARTTLS\r\n"
			}
			say(text + "250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			c := tls.Server(conn, p.tls)
			if c.Handshake() != nil {
				return
			}
			conn, in, secure = c, bufio.NewReader(c), true
		case "AUTH":
			said, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			if signedIn = err == nil && string(said) == p.auth; signedIn {
				say("235 welcome")
			} else {
				say("535 no")
			}
		case "MAIL":
			if !signedIn {
				say("530 sign in first")
				continue
			}
			l = letter{from: rest}
			say("250 ok")
		case "RCPT":
			say(fmt.Sprintf("%d said", p.reply()))
			l.to = rest
		case "DATA":
			say("354 go on")
			var b bytes.Buffer
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			l.data = b.Bytes()
			p.mu.Lock()
			p.mails, p.plain = append(p.mails, l), p.plain || !secure
			p.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

func (p *post) reply() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.asked <= len(p.rejects) {
		return p.rejects[p.asked-1]
	}
	return 250
}

func (p *post) taken() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

// both tells the user and the contact by mail.
func both(s *notice.Settings) {
	s.Contact, s.MailUser, s.MailContact = "desk@contoso.example", true, true
}

// TestMail: the device's user and the contact get a mail each, over TLS, signed in, in a form that every program reads.
func TestMail(t *testing.T) {
	t.Parallel()
	settings, roots := certificate(t)
	server := postOffice(t, settings, "\x00pinreset\x00canary-password")
	f := setUp(t, false, &notification.Mail{Server: server.at("localhost"), From: "pinreset@msp.example", Username: "pinreset", Password: "canary-password", Roots: roots})
	f.choose(both)
	r := f.start()
	f.Drain(f.Clock.Now().Add(time.Minute))
	got := server.taken()
	if len(got) != 2 || server.plain {
		t.Fatalf("%d mails, one without TLS %t; deliveries %+v", len(got), server.plain, f.deliveries())
	}
	slices.SortFunc(got, func(a, b letter) int { return strings.Compare(a.to, b.to) })
	var ids []string
	for i, to := range []string{"desk@contoso.example", ""} {
		m, err := mail.ReadMessage(bytes.NewReader(got[i].data))
		if err != nil {
			t.Fatal(err)
		}
		address, err := m.Header.AddressList("To")
		if err != nil || len(address) != 1 || !strings.Contains(got[i].to, "<"+address[0].Address+">") || to != "" && address[0].Address != to {
			t.Errorf("to %v, envelope %s, %v", address, got[i].to, err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || subject != "A passcode reset of sales-pixel-12 was started" || !strings.Contains(got[i].from, "<pinreset@msp.example>") {
			t.Errorf("subject %q, from %s, %v", subject, got[i].from, err)
		}
		text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, m.Body))
		if err != nil || !strings.Contains(string(text), "tell desk@contoso.example at once") || !strings.Contains(string(text), r.ID) {
			t.Errorf("text %q, %v", text, err)
		}
		if strings.Contains(string(text)+string(got[i].data), "canary") {
			t.Errorf("the mail quotes somebody: %s", text)
		}
		ids = append(ids, m.Header.Get("Message-Id"))
	}
	if ids[0] == ids[1] || ids[0] == "" {
		t.Errorf("message ids %q", ids)
	}
	for _, d := range f.deliveries() {
		if d.State != notice.Sent || !strings.Contains(ids[0]+ids[1], d.ID) {
			t.Errorf("delivery %+v, message ids %q", d, ids)
		}
	}
}

// TestMailNeedsTLS: without STARTTLS, or by a certificate that proves nothing, no mail and no password leaves; a loopback address may do
// without.
func TestMailNeedsTLS(t *testing.T) {
	t.Parallel()
	settings, _ := certificate(t)
	for _, c := range []struct {
		name string
		tls  *tls.Config
		host string
		want int
	}{{"no STARTTLS", nil, "localhost", 0}, {"unknown certificate", settings, "localhost", 0}, {"loopback", nil, "127.0.0.1", 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := postOffice(t, c.tls, "")
			f := setUp(t, false, &notification.Mail{Server: server.at(c.host), From: "pinreset@msp.example"})
			f.choose(both)
			f.start()
			f.Drain(f.Clock.Now().Add(time.Minute))
			all := f.deliveries()
			if len(server.taken()) != c.want || len(all) != 2 {
				t.Errorf("%d mails, want %d; deliveries %+v", len(server.taken()), c.want, all)
			}
			for _, d := range all {
				if want := map[bool]notice.State{true: notice.Sent, false: notice.Queued}[c.want > 0]; d.State != want || c.want == 0 && d.Attempts < 2 {
					t.Errorf("delivery %+v, want %s", d, want)
				}
			}
		})
	}
}

// TestMailIsRefused: a reply of 5xx ends a delivery with a failure at once, one of 4xx is tried again.
func TestMailIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reply, attempts, mails int
		state                  notice.State
	}{{550, 1, 0, notice.Failed}, {451, 2, 1, notice.Sent}} {
		t.Run(fmt.Sprint(c.reply), func(t *testing.T) {
			t.Parallel()
			server := postOffice(t, nil, "", c.reply)
			f := setUp(t, false, &notification.Mail{Server: server.at("127.0.0.1"), From: "pinreset@msp.example"})
			f.choose(func(s *notice.Settings) { s.Contact, s.MailContact = "desk@contoso.example", true })
			f.start()
			f.Drain(f.Clock.Now().Add(time.Minute))
			if d := f.deliveries()[0]; d.State != c.state || d.Attempts != c.attempts || len(server.taken()) != c.mails || c.state == notice.Failed && (d.Diagnostics == "" || d.Code != fault.NotificationUndelivered) {
				t.Errorf("delivery %+v, %d mails", d, len(server.taken()))
			}
		})
	}
}

// TestMailOfHostileNames: nothing that somebody named adds a header or ends a mail, and a contact that is no address gets none.
func TestMailOfHostileNames(t *testing.T) {
	t.Parallel()
	server := postOffice(t, nil, "")
	f := setUp(t, false, &notification.Mail{Server: server.at("127.0.0.1"), From: "pinreset@msp.example"})
	f.choose(func(s *notice.Settings) { s.Contact, s.MailContact = "desk@contoso.example", true })
	const name = "größe\r\nBcc: evil@evil.example\r\n\r\n.\r\nMAIL FROM:<evil@evil.example>"
	u := f.Unit(contoso)
	d := notice.Delivery{ID: "01J00000000000000000000000-mail-contact", Channel: events.NoticeByMailContact, What: events.NoticeResetStarted, Actor: events.NoticeByOperator,
		At: f.Clock.Now(), ResetID: "r", DeviceID: "11111111-0000-4000-8000-000000000001", DeviceName: name, Platform: name, State: notice.Queued}
	_, err := u.Send(t.Context(), notice.Queue, time.Time{}, events.NotificationDue{RequestID: d.ID, ResetID: d.ResetID, DeviceID: d.DeviceID, What: d.What, Actor: d.Actor, At: d.At, Channel: d.Channel})
	if err := errors.Join(err, notice.WriteDelivery(u, d), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	f.Drain(f.Clock.Now().Add(time.Minute))
	got := server.taken()
	if len(got) != 1 {
		t.Fatalf("%d mails, want 1: %+v", len(got), f.deliveries())
	}
	m, err := mail.ReadMessage(bytes.NewReader(got[0].data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || m.Header.Get("Bcc") != "" || !strings.Contains(subject, "größe Bcc: evil@evil.example") || len(m.Header) != 9 {
		t.Errorf("header %v, subject %q, %v", m.Header, subject, err)
	}
	f.choose(func(s *notice.Settings) { s.Contact = "desk@contoso.example>\r\nDATA" })
	f.start()
	f.Drain(f.Clock.Now().Add(time.Minute))
	i := slices.IndexFunc(f.deliveries(), func(other notice.Delivery) bool { return other.ID != d.ID })
	if i < 0 || f.deliveries()[i].Why != notice.NoAddress || len(server.taken()) != 1 {
		t.Errorf("deliveries %+v, %d mails", f.deliveries(), len(server.taken()))
	}
}

// TestMailWithoutServer is recorded, and not tried again.
func TestMailWithoutServer(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, nil)
	f.choose(both)
	f.start()
	f.Drain(f.Clock.Now().Add(100 * time.Hour))
	all := f.deliveries()
	for _, d := range all {
		if d.State != notice.Skipped || d.Why != notice.NotConfigured || d.Attempts != 0 {
			t.Errorf("delivery %+v", d)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d deliveries, want 2", len(all))
	}
}

// TestMailEachCrash: killed between every two effects, each of them gets at least one mail and at most two, under one id.
func TestMailEachCrash(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
		server := postOffice(t, nil, "")
		f := setUp(t, torn, &notification.Mail{Server: server.at("127.0.0.1"), From: "pinreset@msp.example"})
		f.choose(both)
		f.start()
		f.CrashAt(n)
		f.Drain(f.Clock.Now().Add(time.Hour))
		passed, crashed := f.Boundaries()
		ids := map[string]int{}
		for _, l := range server.taken() {
			m, err := mail.ReadMessage(bytes.NewReader(l.data))
			if err != nil {
				t.Fatal(err)
			}
			ids[m.Header.Get("Message-Id")+l.to]++
		}
		if len(ids) != 2 || len(server.taken()) > 3 {
			t.Errorf("crash %d (%s): mails %v", n, crashed, ids)
		}
		return passed, crashed
	})
}
