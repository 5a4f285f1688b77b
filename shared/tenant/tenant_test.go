package tenant_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
)

var (
	now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	who = events.Actor{Kind: events.Operator, ID: "op-1"}
)

func open(t *testing.T) *sqlitework.Store {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func unit(s work.Store, partition string) *work.Unit {
	return work.NewUnit(s, partition, now, func() string { return "id" })
}

func add(t *testing.T, s work.Store, id, name string) error {
	t.Helper()
	u := unit(s, tenant.Partition)
	_, err := tenant.Add(u, id, name, who)
	if err != nil {
		return err
	}
	return u.Commit(t.Context())
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := add(t, s, contoso, "Contoso"); err != nil {
		t.Fatal(err)
	}
	want := tenant.Tenant{ID: contoso, Kind: tenant.Entra, DisplayName: "Contoso", AddedAt: now, AddedBy: who}
	for _, id := range []string{contoso, strings.ToUpper(contoso)} {
		if got, err := tenant.Get(t.Context(), s, id); err != nil || got != want {
			t.Errorf("get %s: %+v, %v", id, got, err)
		}
		if err := add(t, s, id, "Somebody else"); !errors.Is(err, work.ErrConflict) {
			t.Errorf("add %s again: %v, want ErrConflict", id, err)
		}
	}
	if got, err := tenant.Get(t.Context(), s, contoso); err != nil || got != want {
		t.Errorf("after the conflict: %+v, %v", got, err)
	}
	for _, id := range []string{fabrikam, "", "contoso", contoso + "0", "../" + contoso, "settings"} {
		if _, err := tenant.Get(t.Context(), s, id); !errors.Is(err, work.ErrNotFound) {
			t.Errorf("get %q: %v, want ErrNotFound", id, err)
		}
	}
	// In whatever case it is added, it is found: ids are compared in lower case.
	if err := add(t, s, strings.ToUpper(fabrikam), "Fabrikam"); err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.Get(t.Context(), s, fabrikam); err != nil || got.ID != fabrikam {
		t.Errorf("get: %+v, %v", got, err)
	}
	for _, id := range []string{"", "contoso", "common", contoso + " "} {
		var field *events.FieldError
		if err := add(t, s, id, "Nobody"); !errors.As(err, &field) || field.Field != "id" {
			t.Errorf("add %q: %v", id, err)
		}
	}
}

func TestNormalID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{contoso: contoso, strings.ToUpper(contoso): contoso, "common": "", "{" + contoso + "}": "", contoso[1:]: ""} {
		if got, ok := tenant.NormalID(in); ok != (want != "") || ok && got != want {
			t.Errorf("NormalID(%q) is %q, %t", in, got, ok)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := open(t)
	var want []string
	for i := range 12 {
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", (i*7)%12)
		want = append(want, id)
		if err := add(t, s, id, "T"); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	u := unit(s, tenant.Partition) // the register's partition keeps other rows, too
	if err := errors.Join(u.Put("idempotency|key", 1), u.Put("00000003", 1), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	var got []string
	page := ""
	for {
		tenants, next, err := tenant.List(t.Context(), s, 5, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range tenants {
			got = append(got, x.ID)
		}
		if page = next; page == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("list %v, want %v", got, want)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	u := unit(s, contoso)
	got, err := tenant.ReadSettings(t.Context(), u)
	if err != nil || got != tenant.DefaultSettings() {
		t.Fatalf("settings of a tenant that chose none: %+v, %v", got, err)
	}
	if d := tenant.DefaultSettings(); d.PasscodeLife() != 7*24*time.Hour || d.ResetDeadline() != 24*time.Hour || d.Validate() != nil {
		t.Errorf("defaults %+v", d)
	}
	want := tenant.Settings{PasscodeHours: 8, ResetDeadlineHours: 2}
	if err := errors.Join(tenant.WriteSettings(u, want), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.ReadSettings(t.Context(), unit(s, contoso)); err != nil || got != want {
		t.Errorf("settings %+v, %v", got, err)
	}
	if got, err := tenant.ReadSettings(t.Context(), unit(s, fabrikam)); err != nil || got != tenant.DefaultSettings() {
		t.Errorf("another tenant's: %+v, %v", got, err)
	}
	// A row of an earlier version, with fewer settings, has the defaults for the others.
	err = s.Commit(t.Context(), work.Batch{Partition: fabrikam, Writes: []work.Write{{Row: "settings", Value: []byte(`{"passcodeHours":3}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.ReadSettings(t.Context(), unit(s, fabrikam)); err != nil || got != (tenant.Settings{PasscodeHours: 3, ResetDeadlineHours: 24, BudgetHour: 10, BudgetDay: 30, SuspendMinutes: 60}) {
		t.Errorf("row of an earlier version: %+v, %v", got, err)
	}
	// Two who change them at once: the second is told.
	first, second := unit(s, contoso), unit(s, contoso)
	for _, u := range []*work.Unit{first, second} {
		if _, err := tenant.ReadSettings(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if err := tenant.WriteSettings(u, tenant.DefaultSettings()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(t.Context()); !errors.Is(err, work.ErrConflict) {
		t.Errorf("second change: %v", err)
	}
}

func TestSettingsOutOfRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		passcode, deadline, hour, day int
		field                         string
	}{
		{1, 1, 1, 1, ""}, {168, 720, 500, 500, ""}, {0, 24, 10, 30, "passcodeHours"}, {169, 24, 10, 30, "passcodeHours"}, {-1, 24, 10, 30, "passcodeHours"},
		{24, 0, 10, 30, "resetDeadlineHours"}, {24, 721, 10, 30, "resetDeadlineHours"}, {0, 0, 10, 30, "passcodeHours"},
		{24, 24, 0, 30, "budgetHour"}, {24, 24, 501, 30, "budgetHour"}, {24, 24, 10, 0, "budgetDay"}, {24, 24, 10, 501, "budgetDay"},
	} {
		err := tenant.Settings{PasscodeHours: c.passcode, ResetDeadlineHours: c.deadline, BudgetHour: c.hour, BudgetDay: c.day, SuspendMinutes: 60}.Validate()
		var field *events.FieldError
		if errors.As(err, &field); (err == nil) != (c.field == "") || err != nil && (field == nil || field.Field != c.field) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for name, change := range map[string]func(*tenant.Settings){
		"suspendAbove":   func(s *tenant.Settings) { s.SuspendAbove = 5001 },
		"suspendMinutes": func(s *tenant.Settings) { s.SuspendMinutes = 0 },
		"secondPerson":   func(s *tenant.Settings) { s.SecondPerson = "two" },
		"callerCheck":    func(s *tenant.Settings) { s.CallerCheck = "always" },
	} {
		s := tenant.DefaultSettings()
		change(&s)
		if field, ok := errors.AsType[*events.FieldError](s.Validate()); !ok || field.Field != name {
			t.Errorf("%s out of range: %v", name, s.Validate())
		}
	}
}

func TestOnPremises(t *testing.T) {
	t.Parallel()
	s := open(t)
	u := unit(s, tenant.Partition)
	added, err := tenant.AddOnPremises(u, "Corp.Example", "Contoso", who)
	if err := errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, ok := tenant.NormalID(added.ID); !ok || added.ID != strings.ToLower(added.ID) || added.ID[14] != '8' {
		t.Errorf("id %s", added.ID)
	}
	got, err := tenant.Get(t.Context(), s, added.ID)
	if err != nil || got != added || got.Kind != tenant.OnPremises || got.Domain != "corp.example" {
		t.Errorf("%+v, %v", got, err)
	}
	if v, ok := fault.As(got.InEntra()); !ok || !v.Permanent() || v.Code != fault.TenantOnPremises {
		t.Errorf("what needs Graph: %v", got.InEntra())
	}
	for _, domain := range []string{"", "corp", "corp example", "-a.example", "http://corp.example", "corp.example/", strings.Repeat("a.", 130) + "example"} {
		var field *events.FieldError
		if _, err := tenant.AddOnPremises(unit(s, tenant.Partition), domain, "Nobody", who); !errors.As(err, &field) || field.Field != "domain" {
			t.Errorf("domain %q: %v", domain, err)
		}
	}
	// Another id source, another id.
	other := work.NewUnit(s, tenant.Partition, now, func() string { return "another" })
	if second, err := tenant.AddOnPremises(other, "corp.example", "Contoso", who); err != nil || second.ID == added.ID {
		t.Errorf("second %s, %v", second.ID, err)
	}
}

// TestRowOfBeforeKinds: the register of an earlier version has no kinds; its tenants are in Entra.
func TestRowOfBeforeKinds(t *testing.T) {
	t.Parallel()
	s := open(t)
	old := fmt.Sprintf(`{"id":%q,"displayName":"Contoso","addedAt":"2026-01-02T03:04:05Z","addedBy":{"kind":"operator","id":"op-1"}}`, contoso)
	if err := s.Commit(t.Context(), work.Batch{Partition: tenant.Partition, Writes: []work.Write{{Row: contoso, Value: []byte(old)}}}); err != nil {
		t.Fatal(err)
	}
	got, err := tenant.Get(t.Context(), s, contoso)
	if err != nil || got.Kind != tenant.Entra || got.InEntra() != nil || got.DisplayName != "Contoso" {
		t.Errorf("%+v, %v", got, err)
	}
	list, _, err := tenant.List(t.Context(), s, 10, "")
	if err != nil || len(list) != 1 || list[0] != got {
		t.Errorf("listed %+v, %v", list, err)
	}
}

func TestWays(t *testing.T) {
	t.Parallel()
	answers := func(k tenant.Kind) map[string]string {
		all := map[string]string{}
		for _, w := range k.Ways() {
			if w.Title == "" || w.Text == "" || all[w.Name] != "" {
				t.Errorf("%s: %+v", k, w)
			}
			all[w.Name] = w.Answer
		}
		return all
	}
	entra, onPremises := answers(tenant.Entra), answers(tenant.OnPremises)
	want := map[string]string{"non-destructive": tenant.Never, "destructive": tenant.Depends, "remote-passcode": tenant.Never, "group-policy": tenant.Never}
	if !maps.Equal(onPremises, want) {
		t.Errorf("on premises: %v", onPremises)
	}
	for name := range want {
		if entra[name] != tenant.Depends {
			t.Errorf("Entra, %s: %q", name, entra[name])
		}
	}
}
