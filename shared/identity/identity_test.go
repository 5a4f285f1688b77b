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

func TestSession(t *testing.T) {
	t.Parallel()
	c := clocktest.New(started)
	s := identity.NewSessions(c.Now)
	text := s.Start("token")
	for range 15 { // each use keeps it alive, up to its life
		c.Advance(identity.SessionIdle - time.Second)
		if id, ok := s.Token(text, true); !ok || id != "token" {
			t.Fatal("ended while it was used")
		}
	}
	c.Advance(identity.SessionIdle - time.Second)
	c.Advance(identity.SessionIdle)
	if _, ok := s.Token(text, true); ok {
		t.Error("outlived its life")
	}
	text = s.Start("token")
	c.Advance(identity.SessionIdle)
	if _, ok := s.Token(text, true); ok {
		t.Error("outlived its idle time")
	}
	text = s.Start("token")
	c.Advance(identity.SessionIdle / 2)
	if _, ok := s.Token(text, false); !ok {
		t.Error("ended before its idle time")
	}
	c.Advance(identity.SessionIdle / 2)
	if _, ok := s.Token(text, false); ok {
		t.Error("was kept open by a page that loads itself again")
	}
	text = s.Start("token")
	s.End(text)
	if _, ok := s.Token(text, true); ok {
		t.Error("goes on after its end")
	}
	if _, ok := s.Token("", true); ok {
		t.Error("nothing is a session")
	}
}

func TestOneTimeCodeOpensOneSession(t *testing.T) {
	t.Parallel()
	c := clocktest.New(started)
	s := identity.NewSessions(c.Now)
	code := s.OneTimeCode("admin")
	var opened atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if text, err := s.Redeem(code); err == nil {
				opened.Add(1)
				if id, ok := s.Token(text, true); !ok || id != "admin" {
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
	if _, err := s.Redeem(code); !errors.Is(err, identity.ErrCode) {
		t.Errorf("an old code: %v", err)
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
