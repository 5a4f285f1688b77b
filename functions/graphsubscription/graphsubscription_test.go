package graphsubscription_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/graphsubscription"
	"pinreset/functions/web/callback"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

const (
	contoso = graphsim.Contoso
	day     = 24 * time.Hour
)

// fixture is the handler over a real store and a simulated cloud, and the real callback that the cloud sends to.
type fixture struct {
	*dispatchtest.Bench
	sim     *graphsim.Cloud
	client  *graph.Client
	handler *graphsubscription.Handler
	hook    *httptest.Server

	mu      sync.Mutex
	serial  int
	results []callback.Result
	heard   chan struct{} // one for each call of the callback that was counted
	changed int
}

func setUp(t testing.TB, torn bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	f := &fixture{Bench: b, heard: make(chan struct{}, 1000)}
	f.sim, f.client = graphtest.New(t, graphsim.Options{Now: b.Clock.Now})
	mux := http.NewServeMux()
	callback.Mount(mux, callback.Options{
		Store: b.Store(), Links: onboarding.Links{Key: []byte("key")}, Now: b.Clock.Now, NewID: f.newID, Counted: f.count,
		Changed: func(context.Context, *work.Unit, time.Time) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.changed++
			return nil
		},
	})
	f.hook = httptest.NewServer(mux)
	t.Cleanup(f.hook.Close)
	f.handler = &graphsubscription.Handler{Graph: f.client, Store: b.Store(), Callback: f.hook.URL + "/callbacks/graph"}
	b.Serve(f.handler.Route())
	u := b.Unit(tenant.Partition)
	_, err := tenant.Add(u, contoso, "Contoso", events.Pinreset())
	f.must(err, u.Commit(t.Context()))
	return f
}

func (f *fixture) must(errs ...error) {
	f.T.Helper()
	if err := errors.Join(errs...); err != nil {
		f.T.Fatal(err)
	}
}

// newID is the callback's: it is called on its own goroutines.
func (f *fixture) newID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	return fmt.Sprintf("02%024d", f.serial)
}

func (f *fixture) count(r callback.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.results = append(f.results, r); r.Outcome != callback.Validation {
		f.heard <- struct{}{}
	}
}

// last is what became of the last call of the callback.
func (f *fixture) last() string {
	<-f.heard
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.results[len(f.results)-1].Outcome
}

func (f *fixture) changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fixture) group(name string) string {
	f.T.Helper()
	all, err := f.client.GroupsNamed(f.T.Context(), contoso, name)
	if f.must(err); len(all) != 1 {
		f.T.Fatalf("%d groups are named %s", len(all), name)
	}
	return strings.ToLower(all[0].ID)
}

// audited records what an audit found: a policy for the groups, and that one store could not be read.
func (f *fixture) audited(unread bool, groups ...string) {
	f.T.Helper()
	ctx := context.WithoutCancel(f.T.Context())
	u := f.Unit(contoso)
	last, err := survey.ReadLast(ctx, u)
	f.must(err)
	found := policy.Found{ID: "p", Setting: policy.PINRecovery, Value: policy.On}
	for _, g := range groups {
		found.Assignments = append(found.Assignments, policy.Assignment{Kind: policy.IncludeGroup, GroupID: g})
	}
	last.Known.Policies = map[policy.Store]reading.Of[[]policy.Found]{}
	for _, store := range policy.Stores {
		last.Known.Policies[store] = reading.Read([]policy.Found{})
	}
	last.Known.Policies[policy.DeviceConfigurations] = reading.Read([]policy.Found{found})
	if unread {
		last.Known.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
	}
	f.must(survey.WriteLast(u, last), u.Commit(ctx))
}

func (f *fixture) opt(in bool) {
	f.T.Helper()
	ctx := context.WithoutCancel(f.T.Context())
	u := f.Unit(contoso)
	s, err := tenant.ReadSettings(ctx, u)
	s.GraphNotifications = in
	f.must(err, tenant.WriteSettings(u, s), subscription.Ask(ctx, u), u.Commit(ctx))
}

// look asks for a look and lets it come to its end.
func (f *fixture) look() {
	f.T.Helper()
	ctx := context.WithoutCancel(f.T.Context())
	u := f.Unit(contoso)
	f.must(subscription.Ask(ctx, u), u.Commit(ctx))
	f.Drain(f.Clock.Now().Add(10 * time.Minute))
}

// there are the groups that Graph has subscriptions to members of, and the rows of them; they must agree.
func (f *fixture) there() []string {
	f.T.Helper()
	ctx := context.WithoutCancel(f.T.Context())
	all, err := f.client.Subscriptions(ctx, contoso)
	f.must(err)
	rows, err := subscription.List(ctx, f.Unit(contoso))
	f.must(err)
	groups, ids, kept := []string{}, []string{}, []string{}
	for _, s := range all {
		if s.NotificationURL != f.handler.Callback {
			continue
		}
		groups, ids = append(groups, strings.Split(s.Resource, "/")[2]), append(ids, s.ID)
	}
	for _, r := range rows {
		kept = append(kept, r.ID)
	}
	slices.Sort(groups)
	slices.Sort(ids)
	slices.Sort(kept)
	if !slices.Equal(ids, kept) {
		f.T.Errorf("Graph has %v, and kept is %v", ids, kept)
	}
	return groups
}

func (f *fixture) want(groups ...string) {
	f.T.Helper()
	slices.Sort(groups)
	if got := f.there(); !slices.Equal(got, groups) {
		f.T.Fatalf("subscribed to %v, want %v", got, groups)
	}
}

func TestOnlyWhoOptedInIsSubscribed(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	pilot, windows := f.group("PIN recovery pilot"), f.group("Windows devices")
	f.look()
	f.audited(false, pilot, windows)
	f.look()
	f.want()
	f.opt(true)
	f.look()
	f.want(pilot, windows)
	rows, err := f.Store().List(t.Context(), work.Query{Partition: contoso, Prefix: subscription.Prefix})
	if err != nil || len(rows.Rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows.Rows), err)
	}
	f.must(f.sim.ChangeMembers(contoso, pilot, []string{"sam@contoso.example"}, nil))
	if got := f.last(); got != callback.Accepted || f.changes() != 1 {
		t.Errorf("a change of a group was %s, and %d changes were noted", got, f.changes())
	}
	for _, row := range rows.Rows {
		var kept map[string]any
		if err := json.Unmarshal(row.Value, &kept); err != nil || kept["hash"] == nil || len(kept) != 5 {
			t.Errorf("kept %s", row.Value) // and no secret among it
		}
	}
	// Other groups, no Graph in reach, and the opt-out end what is not wanted any more.
	f.audited(false, windows)
	f.look()
	f.want(windows)
	address := f.handler.Callback
	f.handler.Callback = ""
	f.look()
	f.handler.Callback = address
	f.want()
	f.look()
	f.want(windows)
	f.opt(false)
	f.look()
	f.want()
	for _, r := range f.Runs {
		if r.Code != "" {
			t.Errorf("a run ended %s %s", r.Verdict, r.Code)
		}
	}
}

// TestUnreadEndsNothing: what an audit could not read is not taken for a policy that is assigned to nobody.
func TestUnreadEndsNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	pilot, windows := f.group("PIN recovery pilot"), f.group("Windows devices")
	f.audited(false, pilot)
	f.opt(true)
	f.look()
	f.audited(true, windows)
	f.look()
	f.want(pilot, windows)
	f.audited(false, windows)
	f.look()
	f.want(windows)
}

// TestRenewal: a subscription lives on for as long as it is looked after now and then, and is the same one all the while.
func TestRenewal(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	pilot := f.group("PIN recovery pilot")
	f.audited(false, pilot)
	f.opt(true)
	f.look()
	row := func() subscription.Subscription {
		rows, err := subscription.List(t.Context(), f.Unit(contoso))
		if f.must(err); len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		return rows[0]
	}
	first := row()
	renewed := 0
	for range 20 { // a hundred days, with days in between on which nothing runs
		before := row().ExpiresAt
		f.Clock.Advance(5 * day)
		f.look()
		f.want(pilot)
		if after := row(); after.ExpiresAt.After(before) {
			renewed++
		} else if left := after.ExpiresAt.Sub(f.Clock.Now()); left < 14*day {
			t.Fatalf("it ends in %s", left)
		}
	}
	if row().ID != first.ID || renewed < 5 || renewed > 8 {
		t.Errorf("renewed %d times in a hundred days; made %s, now %s", renewed, first.ID, row().ID)
	}
	f.must(f.sim.ChangeMembers(contoso, pilot, []string{"sam@contoso.example"}, nil))
	if got := f.last(); got != callback.Accepted {
		t.Errorf("its notification was %s", got)
	}
	// Nobody looked for too long: a new one takes its place.
	f.Clock.Advance(60 * day)
	u := f.Unit(contoso)
	subscription.Forget(u, row()) // as housekeeping does with what has run out
	f.must(u.Commit(t.Context()))
	f.look()
	f.want(pilot)
	if row().ID == first.ID {
		t.Error("the one that ran out is back")
	}
}

// TestLostAnswer: a subscription of which only the answer was lost is found again, and not made twice.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []graphsim.FaultKind{graphsim.LostAnswer, graphsim.ExecutedThrottle, graphsim.Throttle} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			pilot := f.group("PIN recovery pilot")
			f.audited(false, pilot)
			f.must(f.sim.Inject(contoso, graphsim.Fault{Kind: kind, Family: graphsim.Subscriptions, WritesOnly: true}))
			f.opt(true)
			f.Drain(f.Clock.Now().Add(time.Hour))
			f.want(pilot)
			f.must(f.sim.ChangeMembers(contoso, pilot, []string{"sam@contoso.example"}, nil))
			if got := f.last(); got != callback.Accepted {
				t.Errorf("its notification was %s", got)
			}
		})
	}
}

// TestStrangers: a subscription whose secret nobody knows is ended where it sends to us, and left alone where it does not. A group
// that is gone has none and harms no other.
func TestStrangers(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	pilot, windows := f.group("PIN recovery pilot"), f.group("Windows devices")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.URL.Query().Get("validationToken"))
	}))
	defer other.Close()
	for _, url := range []string{f.handler.Callback, other.URL} {
		_, err := f.client.SubscribeMembers(t.Context(), contoso, windows, url, "somebody else's", f.Clock.Now().Add(day))
		f.must(err)
	}
	f.audited(false, pilot, "11111111-2222-4333-8444-555555555555")
	f.opt(true)
	f.look()
	f.want(pilot)
	if all, err := f.client.Subscriptions(t.Context(), contoso); err != nil || len(all) != 2 {
		t.Errorf("%d subscriptions at Graph, %v", len(all), err)
	}
}

// TestBound: Graph lets an application have a hundred in a tenant, and this one asks for half of them.
func TestBound(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	asked := &counting{subscriptions: f.client}
	f.handler.Graph = asked
	var groups []string
	for i := range subscription.MaxGroups + 10 {
		groups = append(groups, fmt.Sprintf("11111111-2222-4333-8444-%012d", i))
	}
	f.audited(false, groups...)
	f.opt(true)
	f.Drain(f.Clock.Now().Add(time.Hour))
	if asked.n != subscription.MaxGroups {
		t.Errorf("asked for %d", asked.n)
	}
	f.want() // none of these groups is there
}

type subscriptions interface {
	Subscriptions(ctx context.Context, tenant string) ([]graph.Subscription, error)
	SubscribeMembers(ctx context.Context, tenant, groupID, notificationURL, clientState string, expires time.Time) (graph.Subscription, error)
	RenewSubscription(ctx context.Context, tenant, id string, expires time.Time) error
	Unsubscribe(ctx context.Context, tenant, id string) error
}

type counting struct {
	subscriptions
	n int
}

func (c *counting) SubscribeMembers(ctx context.Context, tenant, groupID, url, state string, expires time.Time) (graph.Subscription, error) {
	c.n++
	return c.subscriptions.SubscribeMembers(ctx, tenant, groupID, url, state, expires)
}

// TestLifecycle: what Graph tells of a subscription is done about it.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	pilot := f.group("PIN recovery pilot")
	f.audited(false, pilot)
	f.opt(true)
	f.look()
	row := func() subscription.Subscription {
		rows, err := subscription.List(t.Context(), f.Unit(contoso))
		if f.must(err); len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		return rows[0]
	}
	first := row()
	tell := func(event string) {
		t.Helper()
		f.Clock.Advance(time.Hour)
		f.must(f.sim.TellLifecycle(contoso, pilot, event))
		if got := f.last(); got != callback.Accepted {
			t.Fatalf("%s was %s", event, got)
		}
		f.Drain(f.Clock.Now().Add(10 * time.Minute))
		f.want(pilot)
	}
	tell(graphsim.ReauthorizationRequired)
	if now := row(); now.ID != first.ID || !now.ExpiresAt.After(first.ExpiresAt) || now.Tend || f.changes() != 0 {
		t.Errorf("asked for: %+v, %d changes", now, f.changes())
	}
	tell(graphsim.NotificationsMissed)
	if row().ID != first.ID || f.changes() != 1 {
		t.Errorf("missed: %+v, %d changes", row(), f.changes())
	}
	tell(graphsim.SubscriptionRemoved)
	if row().ID == first.ID || f.changes() != 2 {
		t.Errorf("removed: %+v, %d changes", row(), f.changes())
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects. In the end there is one subscription for each group, and its
// notifications are believed.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 8, 2, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn)
		pilot, windows, old := f.group("PIN recovery pilot"), f.group("Windows devices"), f.group("Field staff")
		f.audited(false, old, windows)
		f.opt(true)
		f.look()
		f.audited(false, pilot, windows)
		f.Clock.Advance(20 * day)
		u := f.Unit(contoso)
		f.must(subscription.Ask(t.Context(), u), u.Commit(t.Context()))
		f.CrashAt(n)
		f.Drain(f.Clock.Now().Add(time.Hour))
		passed, crashed := f.Boundaries()
		f.CrashAt(0)
		f.want(pilot, windows)
		for i, group := range []string{pilot, windows} {
			f.must(f.sim.ChangeMembers(contoso, group, []string{"sam@contoso.example"}, nil))
			if got := f.last(); got != callback.Accepted {
				t.Errorf("crash %d (%s): a notification of group %d was %s", n, crashed, i, got)
			}
		}
		return passed, crashed
	})
}
