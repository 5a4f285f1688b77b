package readiness_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pinreset/shared/readiness"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

func TestRows(t *testing.T) {
	t.Parallel()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	unit := func(tenant string) *work.Unit {
		return work.NewUnit(s, tenant, now, func() string { return "id" })
	}
	u := unit(tenantID)
	if _, err := readiness.ReadTenant(t.Context(), u); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("before an audit: %v", err)
	}
	if _, err := readiness.ReadDevice(t.Context(), u, deviceID); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("before a report: %v", err)
	}
	facts := readyTenant()
	report, _ := readyDevice().Report.Get()
	if err := errors.Join(readiness.WriteTenant(u, facts), readiness.WriteDevice(u, strings.ToUpper(deviceID), report), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	u = unit(tenantID)
	if got, err := readiness.ReadTenant(t.Context(), u); err != nil || !reflect.DeepEqual(readiness.Tenant(got), readiness.Tenant(facts)) {
		t.Errorf("tenant %+v, %v", got, err)
	}
	if got, err := readiness.ReadDevice(t.Context(), u, deviceID); err != nil || !reflect.DeepEqual(got, report) {
		t.Errorf("report %+v, %v", got, err)
	}
	other := unit(groupID)
	if _, err := readiness.ReadTenant(t.Context(), other); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("of another tenant: %v", err)
	}
	if _, err := readiness.ReadDevice(t.Context(), other, deviceID); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("a device of another tenant: %v", err)
	}
}
