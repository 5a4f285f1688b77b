package portal

import (
	"net/http"
	"net/url"
	"strings"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
)

// way is an address that notifications are posted to, as the form asks for it. What is typed is not given back: it may be a secret.
type way struct {
	Name, Label, Hint string
	Has               desk.NotificationEndpoint
	Wrong             string
}

type notificationsData struct {
	Settings   desk.NotificationSettings
	Contact    string // as it was typed
	MailUser   bool
	MailTo     bool // the contact
	Ways       []way
	Key        string // of the webhook, where this answer made it
	LostKey    bool   // it was made by an answer that was lost
	MaySet     bool
	Deliveries []notice.Delivery
	Next       string
	Form       view.Form
}

// notifications shows who is told, by which ways, and what became of it.
func (p *pages) notifications(v *visit) error {
	return p.showNotifications(v, http.StatusOK, nil, notificationsData{Form: fresh()})
}

// showNotifications shows the page; values are what was typed, nil where nothing was.
func (p *pages) showNotifications(v *visit, status int, values url.Values, d notificationsData) error {
	var err error
	if d.Settings, err = v.room.NotificationSettings(v.r.Context()); err != nil {
		return err
	}
	list, err := v.room.Notifications(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	d.Deliveries, d.Next, d.MaySet = list.Items, next(v.r, list.Next), v.room.Can(identity.SettingsWrite)
	d.Contact, d.MailUser, d.MailTo = d.Settings.Contact, d.Settings.MailUser, d.Settings.MailContact
	if values != nil {
		d.Contact, d.MailUser, d.MailTo = values.Get("contact"), values.Get("mailUser") == "yes", values.Get("mailContact") == "yes"
	}
	d.Ways = []way{
		{Name: "webhook", Label: "Webhook", Hint: "https; each request is signed as Standard Webhooks describes it", Has: d.Settings.Webhook},
		{Name: "teams", Label: "Workflow of Teams", Hint: "https; posts a card to a channel", Has: d.Settings.Teams},
	}
	for i := range d.Ways {
		d.Ways[i].Wrong = d.Form.Wrong(d.Ways[i].Name)
	}
	return p.showStatus(v, status, "notifications", p.chrome(v, "overview", "Notifications"), d)
}

// wanted is what the form asks for. An address that is left empty stays, and so does what the form did not show.
func wanted(form url.Values, reason string) desk.NotificationChange {
	box := func(name string) *bool {
		on := form.Get(name) == "yes"
		return &on
	}
	contact := strings.TrimSpace(form.Get("contact"))
	asked := desk.NotificationChange{Contact: &contact, MailUser: box("mailUser"), MailContact: box("mailContact"), Reason: reason}
	for _, w := range []struct {
		name    string
		address **string
		on      **bool
	}{{"webhook", &asked.Webhook, &asked.WebhookOn}, {"teams", &asked.Teams, &asked.TeamsOn}} {
		address := strings.TrimSpace(form.Get(w.name))
		switch {
		case form.Get(w.name+"Remove") == "yes":
			address = ""
			*w.address = &address
			continue
		case address != "":
			*w.address = &address
		}
		if form.Get(w.name+"There") == "yes" {
			*w.on = box(w.name + "On")
		}
	}
	return asked
}

// tell changes who is told to what the form says. A key that was made is in this answer and nowhere else.
func (p *pages) tell(v *visit) error {
	if err := v.room.Need(identity.SettingsWrite); err != nil {
		return err
	}
	f := typed(v.r)
	changed, err := v.room.ChangeNotifications(v.r.Context(), wanted(v.r.PostForm, f.Reason))
	if f, isForm := wrong(f, err); isForm {
		return p.showNotifications(v, http.StatusUnprocessableEntity, v.r.PostForm, notificationsData{Form: f})
	}
	if err != nil {
		return err
	}
	if changed.Key != "" {
		return p.showNotifications(v, http.StatusOK, nil, notificationsData{Form: fresh(), Key: changed.Key})
	}
	return v.redirect("/tenants/" + v.room.ID() + "/notifications")
}

// rotateKey makes the webhook another key and shows it.
func (p *pages) rotateKey(v *visit) error {
	f := typed(v.r)
	a, err := v.room.RotateWebhookKey(v.r.Context(), f.Key, desk.NewWebhookKey{Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showNotifications(v, http.StatusUnprocessableEntity, nil, notificationsData{Form: f})
	}
	if err != nil {
		return err
	}
	return p.showNotifications(v, http.StatusOK, nil, notificationsData{Form: fresh(), Key: a.Body.Text, LostKey: a.Body.Text == ""})
}
