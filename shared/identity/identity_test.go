package identity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/clocktest"
	"pinreset/shared/identity"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	tenantA = "aaaaaaaa-0000-4000-8000-000000000001"
	tenantB = "bbbbbbbb-0000-4000-8000-000000000002"
)

var by = events.Actor{Kind: events.Operator, ID: "someone", Name: "Someone"}

// started is when the tests begin.
var started = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

type fixture struct {
	*clocktest.Clock
	store  *sqlitework.Store
	tokens *identity.Tokens
	newID  func() string
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Clock: clocktest.New(started)}
	store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	var n atomic.Int64
	f.newID = func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
	f.store, f.tokens = store, identity.NewTokens(store, f.Now, f.newID)
	return f
}

func (f *fixture) unit() *work.Unit {
	return work.NewUnit(f.store, identity.Partition, f.Now(), f.newID)
}

func (f *fixture) make(t *testing.T, g identity.Grant) (identity.Token, string) {
	t.Helper()
	u := f.unit()
	token, text, err := f.tokens.Create(u, g, by)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return token, text
}

func request(authorization string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

var helpDesk = identity.Grant{
	Name: "help desk", Tenants: []string{strings.ToUpper(tenantA)}, Days: 30,
	Permissions: []identity.Permission{identity.ResetStart, identity.TenantRead},
}

func TestTokenSaysWhoAsksAndNoMore(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token, text := f.make(t, helpDesk)
	p, err := f.tokens.Authenticate(request("Bearer " + text))
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != token.ID || p.Name != "help desk" || p.All {
		t.Errorf("principal %+v", p)
	}
	if !p.Sees(tenantA) || !p.Sees(strings.ToUpper(tenantA)) || p.Sees(tenantB) || p.Sees("") {
		t.Error("sees other tenants than it was given")
	}
	if !p.Can(identity.ResetStart) || p.Can(identity.PasscodeReveal) || p.Can(identity.GrantWrite) {
		t.Error("can do other things than it was given")
	}
}

func TestTokenThatDoesNotHold(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, text := f.make(t, helpDesk)
	_, other := f.make(t, helpDesk)
	flipped := []byte(text)
	flipped[len(flipped)-2] ^= 1
	id, _, _ := strings.Cut(text[len("pr_"):], "_")
	_, random, _ := strings.Cut(other[len("pr_"):], "_")
	mixed := "pr_" + id + "_" + random
	for name, authorization := range map[string]string{
		"nothing": "", "no scheme": text, "another scheme": "Basic " + text, "empty": "Bearer ", "no prefix": "Bearer " + text[3:],
		"no random part": "Bearer pr_01", "one bit flipped": "Bearer " + string(flipped), "another token's random part": "Bearer " + mixed,
		"longer": "Bearer " + text + "A", "shorter": "Bearer " + text[:len(text)-1], "key that tables refuse": "Bearer pr_a/b#c" + text[strings.LastIndex(text, "_"):],
		"huge": "Bearer pr_" + strings.Repeat("A", 1<<16) + "_" + strings.Repeat("A", 43), "id that is not there": "Bearer pr_01J_" + strings.Repeat("A", 43),
	} {
		if p, err := f.tokens.Authenticate(request(authorization)); !errors.Is(err, identity.ErrUnauthenticated) {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestTokenEnds(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token, text := f.make(t, helpDesk)
	f.Advance(30*24*time.Hour - time.Second)
	if _, err := f.tokens.Check(t.Context(), text); err != nil {
		t.Fatalf("a second before its expiry: %v", err)
	}
	f.Advance(time.Second)
	if _, err := f.tokens.Check(t.Context(), text); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("at its expiry: %v", err)
	}
	if _, err := f.tokens.Holder(t.Context(), token.ID); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("holder at its expiry: %v", err)
	}

	token, text = f.make(t, helpDesk)
	u := f.unit()
	if _, err := f.tokens.Revoke(t.Context(), u, token.ID, by); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tokens.Check(t.Context(), text); err != nil {
		t.Errorf("before the revocation is committed: %v", err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tokens.Check(t.Context(), text); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("after the revocation: %v", err)
	}
	entries, _, err := audit.List(t.Context(), f.store, identity.Partition, 10, "")
	if err != nil || len(entries) != 3 || entries[0].Action != audit.TokenRevoked || entries[0].RequestID != token.ID {
		t.Errorf("audit %+v, %v", entries, err)
	}
}

func TestTokenIsStoredNowhere(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, text := f.make(t, helpDesk)
	random := text[len("pr_")+len("01")+24+1:]
	page, err := f.store.List(t.Context(), work.Query{Partition: identity.Partition})
	if err != nil || len(page.Rows) == 0 {
		t.Fatalf("%d rows, %v", len(page.Rows), err)
	}
	for _, row := range page.Rows {
		if strings.Contains(string(row.Value), random) {
			t.Errorf("row %s has the token", row.Key.Row)
		}
	}
}

func TestGrantIsChecked(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for field, g := range map[string]identity.Grant{
		"name":           {Name: " ", Tenants: []string{"*"}, Permissions: identity.Permissions(), Days: 1},
		"tenants":        {Name: "n", Permissions: identity.Permissions(), Days: 1},
		"tenants[0]":     {Name: "n", Tenants: []string{"*", tenantA}, Permissions: identity.Permissions(), Days: 1},
		"tenants[1]":     {Name: "n", Tenants: []string{tenantA, "contoso"}, Permissions: identity.Permissions(), Days: 1},
		"permissions":    {Name: "n", Tenants: []string{"*"}, Days: 1},
		"permissions[0]": {Name: "n", Tenants: []string{"*"}, Permissions: []identity.Permission{"everything"}, Days: 1},
		"days":           {Name: "n", Tenants: []string{"*"}, Permissions: identity.Permissions()},
	} {
		_, _, err := f.tokens.Create(f.unit(), g, by)
		if wrong, ok := errors.AsType[*events.FieldError](err); !ok || wrong.Field != field {
			t.Errorf("want %s to be wrong, got %v", field, err)
		}
	}
	bidi := identity.Grant{Name: "a\u202eb", Tenants: []string{"*"}, Permissions: identity.Permissions(), Days: 1}
	if _, _, err := f.tokens.Create(f.unit(), bidi, by); err == nil {
		t.Error("a name that reads backwards was taken")
	}
}

// TestAdministratorsTokenIsShared: processes with directories of their own have one administrator, and the first has the token.
func TestAdministratorsTokenIsShared(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	dirs := make([]string, 4)
	ids := make([]string, len(dirs))
	var all sync.WaitGroup
	for i := range dirs {
		dirs[i] = t.TempDir()
		all.Go(func() {
			var err error
			if ids[i], err = f.tokens.ShareAdmin(t.Context(), dirs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	file := func(i int) string { return filepath.Join(dirs[i], identity.AdminFile) }
	having := slices.DeleteFunc([]int{0, 1, 2, 3}, func(i int) bool {
		_, err := os.Stat(file(i))
		return err != nil
	})
	if len(having) != 1 || len(slices.Compact(slices.Clone(ids))) != 1 {
		t.Fatalf("processes %v have a token, and the administrators are %v", having, ids)
	}
	first, other := having[0], (having[0]+1)%len(dirs)
	text, err := os.ReadFile(file(first))
	if err != nil {
		t.Fatal(err)
	}
	again := func(i int) string {
		t.Helper()
		id, err := f.tokens.ShareAdmin(t.Context(), dirs[i])
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if again(first) != ids[0] || again(other) != ids[0] {
		t.Error("a second start made another token")
	}

	// The token was lost: an empty file asks for another.
	if err := os.WriteFile(file(other), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := again(other)
	if id == ids[0] {
		t.Error("an empty file was left as it is")
	}
	if _, err := f.tokens.Check(t.Context(), strings.TrimSpace(string(text))); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("the earlier token: %v", err)
	}
	if err := os.Remove(file(first)); err != nil {
		t.Fatal(err)
	}
	if again(first) != id {
		t.Error("the first process does not use the new token")
	}
}

// TestFirstAdministrator: of many who ask at once one becomes the administrator, and nobody after them while the token is valid.
func TestFirstAdministrator(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	refused := errors.New("no room")
	if _, err := f.tokens.FirstAdmin(t.Context(), func(string) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a token that could not be kept: %v", err)
	}
	texts, made := make([]string, 4), make([]bool, 4)
	var all sync.WaitGroup
	for i := range texts {
		all.Go(func() {
			_, err := f.tokens.FirstAdmin(t.Context(), func(text string) error { texts[i] = text; return nil })
			made[i] = err == nil
			if err != nil && !errors.Is(err, identity.ErrHasAdministrator) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var id string
	for i, text := range texts {
		p, err := f.tokens.Check(t.Context(), text)
		if (err == nil) != made[i] {
			t.Errorf("process %d was told %v, and its token: %v", i, made[i], err)
		}
		if err == nil {
			if id != "" || !p.All || len(p.Permissions) != len(identity.Permissions()) {
				t.Errorf("%+v after %s", p, id)
			}
			id = p.ID
		}
	}
	if id == "" {
		t.Fatal("nobody is the administrator")
	}
	if shared, err := f.tokens.ShareAdmin(t.Context(), t.TempDir()); err != nil || shared != id {
		t.Errorf("a process that starts later has administrator %s, not %s: %v", shared, id, err)
	}
	u := f.unit()
	if _, err := f.tokens.Revoke(t.Context(), u, id, events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := f.tokens.FirstAdmin(t.Context(), func(string) error { return nil }); err != nil || again.ID == id {
		t.Errorf("after the token was revoked: %+v, %v", again, err)
	}
}

func TestAdministratorsToken(t *testing.T) {
	t.Parallel()
	f, dir := setUp(t), t.TempDir()
	path := filepath.Join(dir, identity.AdminFile)
	ensure := func() (id, text string) {
		t.Helper()
		id, err := f.tokens.EnsureAdmin(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return id, strings.TrimSpace(string(raw))
	}
	id, text := ensure()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	p, err := f.tokens.Check(t.Context(), text)
	if err != nil || p.ID != id || !p.All || len(p.Permissions) != len(identity.Permissions()) {
		t.Fatalf("%+v, %v", p, err)
	}
	f.Advance(5 * 366 * 24 * time.Hour)
	if again, same := ensure(); again != id || same != text {
		t.Error("a second start made another token")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	id2, text2 := ensure()
	if id2 == id || text2 == text {
		t.Error("the token was not replaced")
	}
	if _, err := f.tokens.Check(t.Context(), text); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("the earlier token: %v", err)
	}
	if err := os.WriteFile(path, []byte("pr_x_y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id3, _ := ensure(); id3 == id2 {
		t.Error("a file with another text was left as it is")
	}
	if _, err := f.tokens.Check(t.Context(), text2); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("the second token: %v", err)
	}
}

func sessions(t *testing.T, f *fixture) *identity.Sessions {
	t.Helper()
	return identity.NewSessions(f.store, f.Now)
}

func TestSession(t *testing.T) {
	t.Parallel()
	c := setUp(t)
	s := sessions(t, c)
	start := func() string {
		text, err := s.Start(t.Context(), identity.Holder{Token: "token"})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ended := func(text string, use bool) bool {
		holder, err := s.Holder(t.Context(), text, use)
		if err != nil && !errors.Is(err, identity.ErrUnauthenticated) {
			t.Fatal(err)
		}
		return err != nil || holder.Token != "token"
	}
	text := start()
	for used := time.Duration(0); used+identity.SessionIdle < identity.SessionLife; used += identity.SessionIdle - time.Second { // each use keeps it alive, up to its life
		c.Advance(identity.SessionIdle - time.Second)
		if ended(text, true) {
			t.Fatal("ended while it was used")
		}
	}
	c.Advance(identity.SessionIdle - time.Second)
	ended(text, true)
	c.Advance(identity.SessionIdle - time.Second)
	if !ended(text, true) {
		t.Error("outlived its life")
	}
	text = start()
	c.Advance(identity.SessionIdle)
	if !ended(text, true) {
		t.Error("outlived its idle time")
	}
	text = start()
	c.Advance(identity.SessionIdle / 2)
	if ended(text, false) {
		t.Error("ended before its idle time")
	}
	c.Advance(identity.SessionIdle / 2)
	if !ended(text, false) {
		t.Error("was kept open by a page that loads itself again")
	}
	text = start()
	if err := s.End(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if !ended(text, true) {
		t.Error("goes on after its end")
	}
	if err := s.End(t.Context(), text); err != nil {
		t.Errorf("ended twice: %v", err)
	}
	if !ended("", true) {
		t.Error("nothing is a session")
	}
}

// Another process that shares the store knows the session, and one that it ends is ended everywhere. What is stored opens nothing.
func TestSessionIsSharedAndStoredAsHash(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	here, there := sessions(t, f), sessions(t, f)
	person := identity.Person{Tenant: tenantA, Object: tenantB, Name: "Kim", SignedInAt: f.Now(), IssuedAt: f.Now()}
	text, err := here.Start(t.Context(), identity.Holder{Person: &person})
	if err != nil {
		t.Fatal(err)
	}
	holder, err := there.Holder(t.Context(), text, true)
	if err != nil || holder.Person == nil || holder.Person.ID() != person.ID() || holder.Token != "" {
		t.Fatalf("%+v, %v", holder, err)
	}
	p, err := f.store.List(t.Context(), work.Query{Partition: identity.SessionPartition})
	if err != nil || len(p.Rows) != 1 {
		t.Fatal(len(p.Rows), err)
	}
	for _, row := range p.Rows {
		if strings.Contains(string(row.Value)+row.Row, text) {
			t.Error("the store has what the browser holds")
		}
	}
	if err := there.End(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Holder(t.Context(), text, true); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("ended elsewhere: %v", err)
	}
}

// A use that is noted late does not bring a session back that was ended meanwhile.
func TestEndedSessionStaysEnded(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := sessions(t, f)
	for range 50 {
		text, err := s.Start(t.Context(), identity.Holder{Token: "token"})
		if err != nil {
			t.Fatal(err)
		}
		f.Advance(2 * time.Minute) // so that a use writes
		var both sync.WaitGroup
		both.Go(func() { _, _ = s.Holder(t.Context(), text, true) })
		both.Go(func() {
			if err := s.End(t.Context(), text); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if _, err := s.Holder(t.Context(), text, true); !errors.Is(err, identity.ErrUnauthenticated) {
			t.Fatalf("is back: %v", err)
		}
	}
}

func TestOneTimeCodeOpensOneSession(t *testing.T) {
	t.Parallel()
	c := setUp(t)
	s := sessions(t, c)
	code := s.OneTimeCode("admin")
	var opened atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if text, err := s.Redeem(t.Context(), code); err == nil {
				opened.Add(1)
				if holder, err := s.Holder(t.Context(), text, true); err != nil || holder.Token != "admin" {
					t.Error("the session is not the administrator's")
				}
			} else if !errors.Is(err, identity.ErrCode) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("%d sessions of one code", n)
	}
	code = s.OneTimeCode("admin")
	c.Advance(identity.CodeLife)
	if _, err := s.Redeem(t.Context(), code); !errors.Is(err, identity.ErrCode) {
		t.Errorf("an old code: %v", err)
	}
}

// What may be done differs from tenant to tenant, and outside of one nothing may be done.
func TestPersonOnTenants(t *testing.T) {
	t.Parallel()
	const home = "cccccccc-0000-4000-8000-000000000003"
	person := identity.Person{Tenant: home, Object: tenantB, Name: "Kim", Roles: []string{"HelpDesk", "no such role"}}
	granted := map[string][]identity.Permission{tenantA: {identity.TenantRead, identity.AuditRead}}
	p := identity.NewPrincipal(person, granted)
	if p.All || p.Can(identity.TenantRead) || len(p.Permissions) != 0 || !p.Sees(tenantA) || !p.Sees(home) || p.Sees(tenantB) {
		t.Errorf("%+v", p)
	}
	if on := p.In(strings.ToUpper(tenantA)); !on.Can(identity.AuditRead) || on.Can(identity.PasscodeReveal) {
		t.Errorf("on the granted one: %v", on.Permissions)
	}
	if on := p.In(home); !on.Can(identity.PasscodeReveal) || on.Can(identity.AuditRead) {
		t.Errorf("on the own one: %v", on.Permissions)
	}
	if on := p.In(tenantB); len(on.Permissions) != 0 {
		t.Errorf("on another one: %v", on.Permissions)
	}
	if where := p.Where(identity.AuditRead); !slices.Equal(where, []string{tenantA}) || !p.CanSomewhere(identity.AuditRead) || p.CanSomewhere(identity.SettingsWrite) {
		t.Error(where)
	}
	person.Guest = true // the roles are the host's word about somebody else's person
	if p := identity.NewPrincipal(person, granted); p.Sees(home) || !p.In(tenantA).Can(identity.AuditRead) {
		t.Errorf("a guest: %+v", p)
	}
	for role, permissions := range identity.Roles() {
		for _, permission := range permissions {
			if !slices.Contains(identity.Permissions(), permission) {
				t.Errorf("%s: %s is no permission", role, permission)
			}
		}
		if slices.Contains(permissions, identity.PasscodeReveal) && slices.Contains(permissions, identity.ApprovalDecide) {
			t.Errorf("%s reveals and approves", role)
		}
	}
}

func ExampleTokens() {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	n := 0
	newID := func() string { n++; return fmt.Sprintf("id%d", n) }

	tokens := identity.NewTokens(store, time.Now, newID)
	u := work.NewUnit(store, identity.Partition, time.Now(), newID)
	_, text, err := tokens.Create(u, identity.Grant{
		Name: "ticket system", Tenants: []string{"*"}, Permissions: []identity.Permission{identity.ResetStart}, Days: 90,
	}, events.Pinreset())
	if err != nil {
		panic(err)
	}
	if err := u.Commit(context.Background()); err != nil {
		panic(err)
	}
	who, err := tokens.Check(context.Background(), text)
	fmt.Println(who.Name, who.Can(identity.ResetStart), who.Can(identity.PasscodeReveal), err)
	// Output: ticket system true false <nil>
}
