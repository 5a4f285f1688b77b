package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
)

// TestDevicesGoOnWhereTheyStopped reads a fleet in pages that are no multiple of Graph's, and counts what Graph was asked: no
// page of Graph's is read again but the one that a cursor stands in.
func TestDevicesGoOnWhereTheyStopped(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	const all = 23
	var fleet []graph.ManagedDevice
	for i := range all {
		fleet = append(fleet, graph.ManagedDevice{ID: fmt.Sprintf("33333333-0000-4000-8000-%012d", i), DeviceName: fmt.Sprint("phone-", i), OperatingSystem: "iOS"})
	}
	f.fleet.devices[contoso], f.fleet.page = fleet, 5
	path := "/v1/tenants/" + contoso + "/devices?"
	for limit, want := range map[int]int{1: 23, 4: 9, 5: 5, 7: 8, 23: 5, 50: 5} { // calls of Graph for the whole list
		var names []string
		cursor := ""
		f.fleet.asked = nil
		for range all + 1 {
			var page struct {
				Items []struct{ Name string }
				Next  string
			}
			f.call(http.MethodGet, path+url.Values{"limit": {fmt.Sprint(limit)}, "cursor": {cursor}}.Encode(), f.admin, nil).into(t, &page)
			for _, d := range page.Items {
				names = append(names, d.Name)
			}
			if len(page.Items) > limit {
				t.Errorf("limit %d: %d items", limit, len(page.Items))
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if len(names) != all || len(slices.Compact(slices.Sorted(slices.Values(names)))) != all {
			t.Errorf("limit %d: %d devices: %q", limit, len(names), names)
		}
		if len(f.fleet.asked) != want {
			t.Errorf("limit %d: Graph was asked for %d pages, want %d: %q", limit, len(f.fleet.asked), want, f.fleet.asked)
		}
	}
}

// TestSearchShowsADeviceOnce searches for a text that is the name of two devices and the serial number of one of them and of a
// third.
func TestSearchShowsADeviceOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	device := func(n int, name, serial string) graph.ManagedDevice {
		return graph.ManagedDevice{ID: fmt.Sprintf("33333333-0000-4000-8000-%012d", n), DeviceName: name, SerialNumber: serial}
	}
	f.fleet.devices[contoso] = []graph.ManagedDevice{device(1, "X1", "X1"), device(2, "X1", "S2"), device(3, "lab", "X1"), device(4, "other", "S4")}
	for _, limit := range []string{"1", "2", "3", "50"} {
		var found []string
		cursor := ""
		for range 5 {
			var page struct {
				Items []struct{ ID string }
				Next  string
			}
			f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices?"+url.Values{"search": {"X1"}, "limit": {limit}, "cursor": {cursor}}.Encode(), f.admin, nil).into(t, &page)
			for _, d := range page.Items {
				found = append(found, d.ID[len(d.ID)-1:])
			}
			if cursor = page.Next; cursor == "" {
				break
			}
			f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices?"+url.Values{"search": {"other"}, "cursor": {cursor}}.Encode(), f.admin, nil).
				refused(t, http.StatusBadRequest, fault.InvalidRequest)
		}
		if fmt.Sprint(found) != "[1 2 3]" {
			t.Errorf("limit %s: found %v", limit, found)
		}
	}
}
