package callback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/subscription"
	"pinreset/shared/work"
)

const (
	// maxNotice bounds a body, in bytes: Graph puts many notifications in one.
	maxNotice = 1 << 20
	// maxItems bounds the notifications of one body. Microsoft publishes no bound. Each may cost a read of the store, and Graph waits
	// three seconds for the answer.
	maxItems = 250
	// maxToken bounds a validation token; Graph's have some hundred characters.
	maxToken = 2048
	// settle is how long a tenant's changes are gathered: a group of thousands that is changed is one change.
	settle = 30 * time.Second

	noticeRow = "notice"
)

// notice is when the tenant's gathered changes are due.
type notice struct {
	DueAt time.Time `json:"dueAt"`
}

// notifications is the part that is used of Microsoft's changeNotificationCollection. Lifecycle notifications come in the same
// form, with a lifecycleEvent (page "Reduce missing subscriptions and change notifications").
type notifications struct {
	Value []notification `json:"value"`
}

type notification struct {
	SubscriptionID string `json:"subscriptionId"`
	ClientState    string `json:"clientState"`
	TenantID       string `json:"tenantId"`
	Lifecycle      string `json:"lifecycleEvent"`
}

// Lifecycle events.
const (
	reauthorize = "reauthorizationRequired" // the subscription is paused soon unless it is renewed
	removed     = "subscriptionRemoved"     // Graph has ended it: changes may have gone by
	missed      = "missed"                  // some notifications were not delivered
)

// news is what the notifications of one body say about a tenant.
type news struct {
	changed bool            // something has, or may have without being told
	tend    map[string]bool // subscriptions that need looking after, by id
}

// notified answers Graph: the token where it asks whether the address is there, else 202 once what is believed is on stable
// storage. What is not believed gets the same answer, so that it learns nothing and is not sent again; a store that is not there
// gets 503, and Graph tries again for hours. More than maxItems notifications in one body get 413, and none of them is looked at.
func (o Options) notified(w http.ResponseWriter, r *http.Request) {
	if token := r.URL.Query().Get("validationToken"); token != "" {
		if len(token) > maxToken {
			o.Counted(Result{Graph, TooLarge})
			problem.New(r.Context(), fault.RequestTooLarge, "").Write(w)
			return
		}
		o.Counted(Result{Graph, Validation})
		w.Header().Set("Content-Type", "text/plain; charset=utf-8") // and nosniff is set: it may be anything
		_, _ = io.WriteString(w, token)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotice))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		o.Counted(Result{Graph, TooLarge})
		problem.New(r.Context(), fault.RequestTooLarge, "").Write(w)
		return
	}
	var in notifications
	if err != nil || json.Unmarshal(body, &in) != nil {
		o.Counted(Result{Graph, Malformed})
		problem.New(r.Context(), fault.InvalidRequest, "The body is not a collection of change notifications.").Write(w)
		return
	}
	if len(in.Value) > maxItems {
		o.Counted(Result{Graph, TooLarge})
		problem.New(r.Context(), fault.RequestTooLarge, fmt.Sprintf("At most %d notifications are taken at once.", maxItems)).Write(w)
		return
	}
	believed, err := o.believe(r.Context(), in)
	for _, tenantID := range slices.Sorted(maps.Keys(believed)) {
		if err == nil {
			err = o.heard(r.Context(), tenantID, *believed[tenantID])
		}
	}
	if err != nil {
		o.Counted(Result{Graph, Unstored})
		problem.Note(r.Context(), err)
		problem.Of(r.Context(), err, o.Now()).Write(w)
		return
	}
	for range believed {
		o.Counted(Result{Graph, Accepted})
	}
	w.WriteHeader(http.StatusAccepted)
}

// believe returns what the notifications that prove themselves say, by tenant. One body may mix tenants. Each notification has to
// prove itself: that another one of its tenant did is no proof. A subscription is read once, however many name it.
func (o Options) believe(ctx context.Context, in notifications) (map[string]*news, error) {
	believed := map[string]*news{}
	type key struct{ tenant, id string }
	read := map[key]subscription.Subscription{}
	for _, n := range in.Value {
		k := key{strings.ToLower(n.TenantID), strings.ToLower(n.SubscriptionID)}
		if !events.IsGUID(k.tenant) || !events.IsGUID(k.id) {
			o.Counted(Result{Graph, Malformed})
			continue
		}
		s, ok := read[k]
		if !ok {
			var err error
			if s, err = subscription.Live(ctx, o.unit(k.tenant), k.id); err != nil && !errors.Is(err, work.ErrNotFound) {
				return nil, err
			}
			read[k] = s // one that is not there has no hash, and believes nothing
		}
		switch {
		case s.ID == "":
			o.Counted(Result{Graph, Unknown})
		case !s.Proves(n.ClientState):
			o.Counted(Result{Graph, BadSecret})
		default:
			if believed[k.tenant] == nil {
				believed[k.tenant] = &news{tend: map[string]bool{}}
			}
			believed[k.tenant].add(k.id, n.Lifecycle)
		}
	}
	return believed, nil
}

// add notes what a notification says. An event that is not known is looked into: both by an audit and at Graph.
func (n *news) add(id, lifecycle string) {
	if lifecycle != reauthorize {
		n.changed = true
	}
	if lifecycle != "" && lifecycle != missed {
		n.tend[id] = true
	}
}

// heard commits what is to be done about the news of a tenant. Of changes that are pending already nothing more is made.
func (o Options) heard(ctx context.Context, tenantID string, n news) error {
	var err error
	for range attempts {
		u := o.unit(tenantID)
		if err = errors.Join(o.changed(ctx, u, n), o.tend(ctx, u, n)); err != nil {
			return fmt.Errorf("note change of %s: %w", tenantID, err)
		}
		if err = u.Commit(ctx); !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
	return err
}

func (o Options) changed(ctx context.Context, u *work.Unit, n news) error {
	if !n.changed {
		return nil
	}
	var pending notice
	switch err := u.Get(ctx, noticeRow, &pending); {
	case err == nil && u.Now().Before(pending.DueAt):
		return nil
	case err != nil && !errors.Is(err, work.ErrNotFound):
		return err
	}
	at := u.Now().Add(settle)
	return errors.Join(u.Put(noticeRow, notice{DueAt: at}), o.Changed(ctx, u, at))
}

// tend has the tenant's subscriptions looked after at Graph. One that was noted already waits for that.
func (o Options) tend(ctx context.Context, u *work.Unit, n news) error {
	fresh := false
	for _, id := range slices.Sorted(maps.Keys(n.tend)) {
		s, err := subscription.Live(ctx, u, id)
		switch {
		case errors.Is(err, work.ErrNotFound) || err == nil && s.Tend:
			continue
		case err != nil:
			return err
		}
		s.Tend, fresh = true, true
		if err := subscription.Put(u, s); err != nil {
			return err
		}
	}
	if !fresh {
		return nil
	}
	return subscription.Ask(ctx, u)
}
