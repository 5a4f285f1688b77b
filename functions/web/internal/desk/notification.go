package desk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// NotificationEndpoint is an address that notifications are posted to, without the address, which may be a secret as it stands.
type NotificationEndpoint struct {
	On    bool       `json:"on"`
	Host  string     `json:"host,omitempty" doc:"Host of the address; the rest of it is sealed and shown nowhere"`
	SetAt time.Time  `json:"setAt,omitzero" doc:"When the address or its key was last changed"`
	Why   fault.Code `json:"why,omitempty" doc:"Why pinreset turned it off by itself"`
}

// NotificationSettings say who of a tenant is told of resets and of looks at codes, and how.
type NotificationSettings struct {
	Contact     string               `json:"contact,omitempty" doc:"Mail address of whom to ask, which every notification names"`
	MailUser    bool                 `json:"mailUser" doc:"The device's user is told by mail"`
	MailContact bool                 `json:"mailContact" doc:"The contact is told by mail"`
	Webhook     NotificationEndpoint `json:"webhook" doc:"A program of the tenant, told by a signed webhook"`
	Teams       NotificationEndpoint `json:"teams" doc:"A channel of Teams, told by a workflow"`
	MailServer  bool                 `json:"mailServer" doc:"Whether this server is set up to send mail; where it is not, mail is recorded as skipped"`
}

// NotificationChange names what to change; the rest stays.
type NotificationChange struct {
	Contact     *string `json:"contact,omitempty" maxLength:"254" doc:"Mail address of whom to ask; empty for none"`
	MailUser    *bool   `json:"mailUser,omitempty" doc:"Tell the device's user by mail"`
	MailContact *bool   `json:"mailContact,omitempty" doc:"Tell the contact by mail"`
	Webhook     *string `json:"webhook,omitempty" maxLength:"2000" doc:"https address of the tenant's program, which turns it on; empty removes it with its key"`
	WebhookOn   *bool   `json:"webhookOn,omitempty" doc:"Turn the webhook off, or on again"`
	Teams       *string `json:"teams,omitempty" maxLength:"2000" doc:"https address of a workflow of Teams, which turns it on; empty removes it"`
	TeamsOn     *bool   `json:"teamsOn,omitempty" doc:"Turn Teams off, or on again"`
	Reason      string  `json:"reason,omitempty" doc:"Why, for the audit log; at most 500 characters"`
}

func (c NotificationChange) empty() bool {
	c.Reason = ""
	return c == NotificationChange{}
}

// ChangedNotifications are the settings after a change. A change that gave the webhook its first address made its key too.
type ChangedNotifications struct {
	NotificationSettings
	Key string `json:"webhookKey,omitempty" doc:"What the webhook's requests are signed with, as whsec_…, where this change made it; shown this once"`
}

// MadeWebhookKey is the webhook's new key. The key itself is in the first answer and nowhere else: who lost it makes another one.
type MadeWebhookKey struct {
	Host  string    `json:"host"`
	SetAt time.Time `json:"setAt"`
	Text  string    `json:"key,omitempty" doc:"What requests are signed with from now on, as whsec_…; shown this once"`
}

// NewWebhookKey asks for another key.
type NewWebhookKey struct {
	Reason string `json:"reason,omitempty" doc:"Why, for the audit log; at most 500 characters"`
}

func (r *Room) showNotifications(s notice.Settings) NotificationSettings {
	shown := func(e notice.Endpoint) NotificationEndpoint {
		return NotificationEndpoint{On: e.On && len(e.Sealed) > 0, Host: e.Host, SetAt: e.SetAt, Why: e.OffFor}
	}
	return NotificationSettings{
		Contact: s.Contact, MailUser: s.MailUser, MailContact: s.MailContact, Webhook: shown(s.Webhook), Teams: shown(s.Teams), MailServer: r.desk.o.Mails,
	}
}

// NotificationSettings shows who is told, and how.
func (r *Room) NotificationSettings(ctx context.Context) (NotificationSettings, error) {
	if err := r.needInEntra(identity.TenantRead); err != nil {
		return NotificationSettings{}, err
	}
	s, err := notice.Read(ctx, r.unit())
	return r.showNotifications(s), err
}

// ChangeNotifications changes who is told, and how. What is as asked already is not changed, recorded or announced; an address that is
// given is, because nobody can see whether it is the same.
func (r *Room) ChangeNotifications(ctx context.Context, in NotificationChange) (ChangedNotifications, error) {
	var none ChangedNotifications
	if err := r.needInEntra(identity.SettingsWrite); err != nil {
		return none, err
	}
	if in.empty() {
		return none, invalid("body", "names no setting")
	}
	if err := r.checkNotifications(in); err != nil {
		return none, err
	}
	var out ChangedNotifications // of the last attempt, which is the one that holds
	err := r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		s, err := notice.Read(ctx, u)
		if err != nil {
			return err
		}
		out = none
		changed := map[string]string{}
		if v := in.Contact; v != nil && *v != s.Contact {
			changed["contact"] = cmp.Or(s.Contact, "none") + " → " + cmp.Or(*v, "none")
			s.Contact = *v
		}
		set(changed, "mailUser", in.MailUser, &s.MailUser)
		set(changed, "mailContact", in.MailContact, &s.MailContact)
		if s.MailContact && s.Contact == "" {
			return invalid("body.contact", "is missing: the contact is told by mail")
		}
		if in.Webhook != nil {
			if out.Key, err = r.setEndpoint(ctx, u, changed, events.NoticeByWebhook, &s.Webhook, *in.Webhook); err != nil {
				return err
			}
		}
		if in.Teams != nil {
			if _, err = r.setEndpoint(ctx, u, changed, events.NoticeByTeams, &s.Teams, *in.Teams); err != nil {
				return err
			}
		}
		if err := turn(changed, "webhookOn", in.WebhookOn, &s.Webhook); err != nil {
			return err
		}
		if err := turn(changed, "teamsOn", in.TeamsOn, &s.Teams); err != nil {
			return err
		}
		out.NotificationSettings = r.showNotifications(s)
		if len(changed) == 0 {
			return nil
		}
		return r.commitNotifications(ctx, u, s, changed, in.Reason)
	})
	if err != nil {
		return none, err
	}
	return out, nil
}

func (r *Room) checkNotifications(in NotificationChange) error {
	if in.Contact != nil {
		if err := notice.CheckContact(*in.Contact); err != nil {
			return wrong(err)
		}
	}
	for _, a := range []struct {
		field string
		value *string
	}{{"webhook", in.Webhook}, {"teams", in.Teams}} {
		if a.value != nil && *a.value != "" {
			if err := notice.CheckAddress(a.field, *a.value, r.desk.o.LocalNotices); err != nil {
				return wrong(err)
			}
		}
	}
	return checkWhy(in.Reason, "", false)
}

// set changes a setting that is on or off.
func set(changed map[string]string, name string, value, at *bool) {
	if value != nil && *value != *at {
		changed[name] = fmt.Sprintf("%t → %t", *at, *value)
		*at = *value
	}
}

// setEndpoint gives an endpoint another address, or removes it. The webhook's key stays with it; its first address makes one, which is
// returned.
func (r *Room) setEndpoint(ctx context.Context, u *work.Unit, changed map[string]string, channel string, e *notice.Endpoint, address string) (key string, err error) {
	if address == "" {
		if len(e.Sealed) > 0 {
			changed[channel] = e.Host + " → none"
		}
		*e = notice.Endpoint{}
		return "", nil
	}
	o := notice.Opened{}
	switch {
	case len(e.Sealed) > 0:
		if o, _, err = r.desk.o.Notices.Open(ctx, r.ID(), channel, *e); err != nil {
			return "", err
		}
	case channel == events.NoticeByWebhook:
		key = webhook.NewShared().Clear()
		o.Key = key
	}
	o.Address = address
	before := cmp.Or(e.Host, "none")
	if *e, err = r.desk.o.Notices.Seal(ctx, r.ID(), channel, o, u.Now()); err != nil {
		return "", err
	}
	changed[channel] = before + " → " + e.Host
	return key, nil
}

// turn turns an endpoint on or off.
func turn(changed map[string]string, name string, on *bool, e *notice.Endpoint) error {
	if on != nil && *on && len(e.Sealed) == 0 {
		return invalid("body."+name, "needs an address first")
	}
	set(changed, name, on, &e.On)
	if on != nil {
		e.OffFor = ""
	}
	return nil
}

func (r *Room) commitNotifications(ctx context.Context, u *work.Unit, s notice.Settings, changed map[string]string, reason string) error {
	told := events.TenantSettingsChanged{RequestID: u.NewID(), By: r.who.Operator()}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		told.Names = append(told.Names, "notifications."+name)
	}
	if _, err := u.Send(ctx, work.Announcements, time.Time{}, told); err != nil {
		return err
	}
	if err := notice.Write(u, s); err != nil {
		return err
	}
	return audit.Append(u, audit.Entry{Actor: r.who.Operator(), Action: audit.NotificationsChanged, RequestID: told.RequestID, Reason: reason, Change: changed})
}

// RotateWebhookKey makes another key for the webhook. The old one signs nothing from the next attempt on.
func (r *Room) RotateWebhookKey(ctx context.Context, key string, in NewWebhookKey) (Answer[MadeWebhookKey], error) {
	var none Answer[MadeWebhookKey]
	if err := r.needInEntra(identity.SettingsWrite); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return none, err
	}
	c, err := r.call(key, "rotate webhook key", in)
	if err != nil {
		return none, err
	}
	// A commit that held and answered nonetheless as one that did not is answered from its row: without the key, which the row lacks.
	text, made := "", time.Time{}
	answer, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[MadeWebhookKey], error) {
		s, err := notice.Read(ctx, u)
		if err != nil {
			return none, err
		}
		if len(s.Webhook.Sealed) == 0 {
			return none, problem.Refuse(fault.StateConflict, "The tenant has no webhook; give it an address first, which makes its key.")
		}
		o, _, err := r.desk.o.Notices.Open(ctx, r.ID(), events.NoticeByWebhook, s.Webhook)
		if err != nil {
			return none, err
		}
		o.Key = webhook.NewShared().Clear()
		before := s.Webhook
		if s.Webhook, err = r.desk.o.Notices.Seal(ctx, r.ID(), events.NoticeByWebhook, o, u.Now()); err != nil {
			return none, err
		}
		s.Webhook.On, s.Webhook.OffFor = before.On, before.OffFor
		if err := r.commitNotifications(ctx, u, s, map[string]string{"webhookKey": "another one"}, in.Reason); err != nil {
			return none, err
		}
		text, made = o.Key, s.Webhook.SetAt
		return Answer[MadeWebhookKey]{
			Status: http.StatusCreated, Location: "/v1/tenants/" + r.ID() + "/notifications/settings",
			Body: MadeWebhookKey{Host: s.Webhook.Host, SetAt: s.Webhook.SetAt},
		}, nil
	})
	if err != nil {
		return none, err
	}
	if answer.Body.SetAt.Equal(made) {
		answer.Body.Text = text
	}
	return answer, nil
}

// Notifications lists what was told, or is to be, newest first.
func (r *Room) Notifications(ctx context.Context, page Page) (List[notice.Delivery], error) {
	if err := r.needInEntra(identity.TenantRead); err != nil {
		return List[notice.Delivery]{}, err
	}
	return paged(r, "notifications", page, func(limit int, place string) ([]notice.Delivery, string, error) {
		return notice.ListDeliveries(ctx, r.desk.o.Store, r.ID(), limit, place)
	})
}
