package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

const settingsRow = "notification-settings"

// Bounds of settings, in bytes.
const (
	maxContact = 254 // RFC 5321, section 4.5.3.1.3, less the brackets of a path
	maxAddress = 2000
)

// Settings say who of a tenant is told, and how. The zero value tells nobody.
type Settings struct {
	Contact     string   `json:"contact,omitempty"` // mail address of whom to ask, which every notification names
	MailUser    bool     `json:"mailUser,omitempty"`
	MailContact bool     `json:"mailContact,omitempty"`
	Webhook     Endpoint `json:"webhook,omitzero"`
	Teams       Endpoint `json:"teams,omitzero"`
}

// Endpoint is an address that notifications are posted to. The address itself is sealed, because those of Teams are secrets as they
// stand, and so is the key that signs.
type Endpoint struct {
	On     bool       `json:"on,omitempty"`
	Host   string     `json:"host,omitempty"` // all of the address that is shown
	Sealed []byte     `json:"sealed,omitempty"`
	SetAt  time.Time  `json:"setAt,omitzero"`
	OffFor fault.Code `json:"offFor,omitempty"` // why pinreset turned it off; "" where a person did
}

// Opened is what an endpoint has sealed.
type Opened struct {
	Address string `json:"address"`
	Key     string `json:"key,omitempty"` // "whsec_…"; "" of Teams, which takes no signature
}

// Channels are the ways that are on, in a fixed order.
func (s Settings) Channels() []string {
	var on []string
	for _, c := range []struct {
		on   bool
		name string
	}{
		{s.Webhook.On && len(s.Webhook.Sealed) > 0, events.NoticeByWebhook}, {s.Teams.On && len(s.Teams.Sealed) > 0, events.NoticeByTeams},
		{s.MailUser, events.NoticeByMailUser}, {s.MailContact && s.Contact != "", events.NoticeByMailContact},
	} {
		if c.on {
			on = append(on, c.name)
		}
	}
	return on
}

// Endpoint returns the endpoint of a channel, for reading and writing; nil of a channel that has none.
func (s *Settings) Endpoint(channel string) *Endpoint {
	switch channel {
	case events.NoticeByWebhook:
		return &s.Webhook
	case events.NoticeByTeams:
		return &s.Teams
	}
	return nil
}

// Read returns the settings of the unit's tenant.
func Read(ctx context.Context, u *work.Unit) (Settings, error) {
	var s Settings
	err := u.Get(ctx, settingsRow, &s)
	if errors.Is(err, work.ErrNotFound) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("read notification settings of %s: %w", u.Partition(), err)
	}
	return s, nil
}

// Write stages the settings of the unit's tenant, over those that it has read.
func Write(u *work.Unit, s Settings) error { return u.Put(settingsRow, s) }

// CheckContact names what is wrong with a contact's mail address; an empty one is fine.
func CheckContact(address string) error {
	if address == "" || IsMail(address) {
		return nil
	}
	return &events.FieldError{Field: "contact", Problem: "must be one mail address, without a name"}
}

// IsMail reports whether the text is one plain mail address, fit for a header and for SMTP as it is.
func IsMail(address string) bool {
	if len(address) > maxContact || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	a, err := mail.ParseAddress(address)
	return err == nil && a.Address == address && a.Name == ""
}

// CheckAddress names what is wrong with an address to post to. local allows http, and any, where the host is this machine: for
// simulated tenants.
func CheckAddress(field, address string, local bool) error {
	u, err := url.Parse(address)
	wrong := func(problem string) error { return &events.FieldError{Field: field, Problem: problem} }
	switch {
	case len(address) > maxAddress:
		return wrong(fmt.Sprintf("must have at most %d bytes", maxAddress))
	case err != nil || u.Hostname() == "" || u.Opaque != "" || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return wrong("must be an https address")
	case u.User != nil:
		return wrong("must have no user or password in it")
	case u.Fragment != "":
		return wrong("must have no fragment")
	case u.Scheme == "https", u.Scheme == "http" && local:
		return nil
	}
	return wrong("must be an https address")
}

// wrapper seals endpoints.
type wrapper interface {
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}

// Seals seals and opens endpoints. It is safe for concurrent use.
type Seals struct{ kek wrapper }

// NewSeals returns what seals under kek.
func NewSeals(kek wrapper) *Seals { return &Seals{kek} }

// Seal returns the endpoint with another address or key in it, on. It is bound to the tenant and the channel: copied elsewhere it opens
// nothing.
func (s *Seals) Seal(ctx context.Context, tenant, channel string, o Opened, now time.Time) (Endpoint, error) {
	u, err := url.Parse(o.Address)
	if err != nil {
		return Endpoint{}, &events.FieldError{Field: channel, Problem: "must be an https address"} // the error would quote it
	}
	clear, err := json.Marshal(o)
	if err != nil {
		return Endpoint{}, fmt.Errorf("encode %s endpoint: %w", channel, err)
	}
	sealed, err := s.kek.Wrap(ctx, clear, bound(tenant, channel))
	if err != nil {
		return Endpoint{}, fmt.Errorf("seal %s endpoint of %s: %w", channel, tenant, err)
	}
	return Endpoint{On: true, Host: u.Host, Sealed: sealed, SetAt: now.UTC()}, nil
}

// Open returns what an endpoint has sealed. The signer is the zero value where there is no key.
func (s *Seals) Open(ctx context.Context, tenant, channel string, e Endpoint) (Opened, webhook.Signer, error) {
	var (
		o      Opened
		signer webhook.Signer
	)
	clear, err := s.kek.Unwrap(ctx, e.Sealed, bound(tenant, channel))
	if err != nil {
		return o, signer, fmt.Errorf("open %s endpoint of %s: %w", channel, tenant, err)
	}
	if json.Unmarshal(clear, &o) != nil {
		return Opened{}, signer, fmt.Errorf("open %s endpoint of %s: not in its form", channel, tenant) // the decoder's error would quote it
	}
	if o.Key != "" {
		if signer, err = webhook.ParseSigner(o.Key); err != nil {
			return Opened{}, signer, fmt.Errorf("open %s endpoint of %s: %w", channel, tenant, err)
		}
	}
	return o, signer, nil
}

func bound(tenant, channel string) []byte {
	return []byte("pinreset/notice/1|" + tenant + "|" + channel)
}
