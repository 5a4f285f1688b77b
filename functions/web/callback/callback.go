// Package callback is where others call pinreset without a token of it:
//
//	GET  /consent/callback         an administrator's browser, back from the consent of pinreset's own application
//	POST /callbacks/devices/{key}  a device, with a report that it signed
//	POST /callbacks/graph          Microsoft Graph, with notifications of changes and of its subscriptions
//
// Anybody can call these addresses, so each believes nothing but what it can check: the state that pinreset signed into a link,
// the signature of a device's own key, the secret of a subscription. Whose tenant it is about is told by that, never by a parameter or a
// body. What is refused leaves nothing behind but a count.
//
// All of them are hints. A consent is proven by the directory, and a tenant whose every callback is lost is read by its next audit.
//
// Sources: Microsoft's page "v2-admin-consent", by which admin_consent=True is present on refusals too, so that error is
// looked at first; its page "Receive change notifications through webhooks" for Graph; the specification "Standard Webhooks" for
// devices.
package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/devicekey"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// StatePrefix is the row prefix of states that were used. Their field "expiresAt" says from when on they may be deleted.
const StatePrefix = "state|"

// Options are the parts of the callbacks. Those above the empty line are required.
type Options struct {
	Store work.Store
	Links onboarding.Links
	Keys  keys // of devices
	Now   func() time.Time
	NewID func() string

	Notice     string // shown on the page
	NoticeLink string
	// Changed stages what is to be done when Microsoft tells of a change in the unit's tenant. It is given the time from when on
	// it is worth while; nil does nothing.
	Changed func(ctx context.Context, u *work.Unit, at time.Time) error
	// Counted is told of every call of a device or of Graph, and what became of it.
	Counted func(Result)
}

// keys opens the keys of devices.
type keys interface {
	Open(ctx context.Context, u *work.Unit, id string) (devicekey.Key, webhook.Checker, error)
}

// Mount adds the callbacks' routes to mux.
func Mount(mux *http.ServeMux, o Options) {
	if o.Counted == nil {
		o.Counted = func(Result) {}
	}
	if o.Changed == nil {
		o.Changed = func(context.Context, *work.Unit, time.Time) error { return nil }
	}
	mux.HandleFunc("GET /consent/callback", func(w http.ResponseWriter, r *http.Request) { o.returned(w, r) })
	mux.HandleFunc("POST /callbacks/devices/{key}", func(w http.ResponseWriter, r *http.Request) { o.report(w, r) })
	mux.HandleFunc("POST /callbacks/graph", func(w http.ResponseWriter, r *http.Request) { o.notified(w, r) })
}

type usedState struct {
	RequestID string    `json:"requestId"`
	ExpiresAt time.Time `json:"expiresAt"`
}

var (
	errUnknown = errors.New("state is not of a tenant that is looked after")
	errUsed    = errors.New("state was used before")
	errEnded   = errors.New("consent run has ended")
)

func (o Options) returned(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	declined := q.Get("error")
	back, err := o.Links.Check(q.Get("state"))
	if err == nil && declined == "" && !strings.EqualFold(q.Get("admin_consent"), "True") {
		err = onboarding.ErrState // neither a consent nor a refusal: nothing that Microsoft sends
	}
	if err == nil && r.Method != http.MethodHead {
		err = o.accept(r.Context(), back, refusal(declined))
	}
	if err != nil {
		problem.Note(r.Context(), err)
	}
	switch {
	case errors.Is(err, onboarding.ErrState), errors.Is(err, errUnknown):
		o.say(w, http.StatusBadRequest, "This link is not valid", "",
			"The link is too old, or is not one that pinreset made.", "Open the tenant's page in pinreset and follow the step's link from there.")
	case errors.Is(err, errEnded):
		o.say(w, http.StatusConflict, "This consent has ended", back.Tenant,
			"The run that this link belongs to has failed or was started again since. What was accepted in Entra ID stays accepted.",
			"Start the consent again on the tenant's page in pinreset; steps that are in place turn green by themselves.")
	case errors.Is(err, errUsed):
		o.say(w, http.StatusConflict, "This was noted before", back.Tenant,
			"The browser came back a second time with the same link. Nothing more is needed.")
	case err != nil:
		said := problem.Of(r.Context(), err, o.Now())
		for name, values := range said.GetHeaders() {
			w.Header()[name] = values
		}
		o.say(w, said.Status, said.Title, back.Tenant, said.Detail, "Load this page again in a moment.")
	case declined != "":
		o.say(w, http.StatusOK, "The consent was not given", back.Tenant,
			"The consent page came back with a refusal. Nothing was changed in the tenant.",
			"To try again, start the consent again on the tenant's page in pinreset.")
	default:
		o.say(w, http.StatusOK, "Thank you", back.Tenant,
			"pinreset reads the tenant's directory now and turns the step green by itself. That can take some minutes, because directories replicate.",
			"The next step is on the tenant's page in pinreset. You can close this page.")
	}
}

// accept notes in one commit that the state was used and that somebody came back.
func (o Options) accept(ctx context.Context, back onboarding.Returned, declined string) error {
	if _, err := tenant.Get(ctx, o.Store, back.Tenant); errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("tenant %s: %w", back.Tenant, errUnknown)
	} else if err != nil {
		return err
	}
	u := work.NewUnit(o.Store, back.Tenant, o.Now(), o.NewID)
	switch c, err := onboarding.Read(ctx, u); {
	case err != nil && !errors.Is(err, work.ErrNotFound):
		return err
	case err == nil && (c.RequestID != back.Request || c.State == onboarding.Failed):
		return fmt.Errorf("run %s: %w", back.Request, errEnded)
	}
	if err := u.Create(StatePrefix+back.Nonce, usedState{RequestID: back.Request, ExpiresAt: o.Now().Add(2 * onboarding.StateLife).UTC()}); err != nil {
		return err
	}
	_, err := u.Send(ctx, onboarding.Queue, time.Time{}, events.ConsentReturned{
		RequestID: back.Request, App: strings.ToLower(back.App), Error: declined, LinkBy: back.Who,
	})
	if err != nil {
		return err
	}
	if err := u.Commit(ctx); errors.Is(err, work.ErrConflict) {
		return fmt.Errorf("%w: %w", errUsed, err)
	} else if err != nil {
		return err
	}
	return nil
}

// refusal is Entra's error as a code: one short word. What is not one was not sent by Entra, and is kept as that.
func refusal(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > 80 {
		return "unreadable"
	}
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return "unreadable"
		}
	}
	return text
}

func (o Options) say(w http.ResponseWriter, status int, title, tenantID string, lines ...string) {
	m := view.Message{Lines: lines}
	if tenantID != "" {
		m.Back, m.BackText = "/tenants/"+tenantID, "Open the tenant in pinreset"
	}
	view.Render(w, status, "message", view.Page{Chrome: view.Chrome{Title: title, Notice: o.Notice, NoticeLink: o.NoticeLink}, Data: m})
}
