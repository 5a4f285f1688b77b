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

// notifications is the part that is used of Microsoft's changeNotificationCollection.
type notifications struct {
	Value []struct {
		SubscriptionID string `json:"subscriptionId"`
		ClientState    string `json:"clientState"`
		TenantID       string `json:"tenantId"`
	} `json:"value"`
}

// notified answers Graph: the token where it asks whether the address is there, else 202 once what is believed is on stable
// storage. What is not believed gets the same answer, so that it learns nothing and is not sent again; a store that is not there
// gets 503, and Graph tries again for hours.
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
	believed, err := o.believe(r.Context(), in)
	for _, tenantID := range slices.Sorted(maps.Keys(believed)) {
		if err == nil {
			err = o.changed(r.Context(), tenantID)
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

// believe returns the tenants of which a notification proves itself. One body may mix tenants.
func (o Options) believe(ctx context.Context, in notifications) (map[string]bool, error) {
	believed := map[string]bool{}
	for _, n := range in.Value {
		tenantID := strings.ToLower(n.TenantID)
		if !events.IsGUID(tenantID) || !events.IsGUID(n.SubscriptionID) {
			o.Counted(Result{Graph, Malformed})
			continue
		}
		if believed[tenantID] {
			continue
		}
		_, err := subscription.Check(ctx, o.unit(tenantID), strings.ToLower(n.SubscriptionID), n.ClientState)
		switch {
		case errors.Is(err, work.ErrNotFound):
			o.Counted(Result{Graph, Unknown})
		case errors.Is(err, subscription.ErrSecret):
			o.Counted(Result{Graph, BadSecret})
		case err != nil:
			return nil, err
		default:
			believed[tenantID] = true
		}
	}
	return believed, nil
}

// changed commits what is to be done about a change in the tenant, unless that is pending already.
func (o Options) changed(ctx context.Context, tenantID string) error {
	var err error
	for range attempts {
		u := o.unit(tenantID)
		var pending notice
		switch err = u.Get(ctx, noticeRow, &pending); {
		case err == nil && u.Now().Before(pending.DueAt):
			return nil
		case err != nil && !errors.Is(err, work.ErrNotFound):
			return err
		}
		at := u.Now().Add(settle)
		if err = errors.Join(u.Put(noticeRow, notice{DueAt: at}), o.Changed(ctx, u, at)); err != nil {
			return fmt.Errorf("note change of %s: %w", tenantID, err)
		}
		if err = u.Commit(ctx); !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
	return err
}
