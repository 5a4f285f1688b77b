package userreset_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pinreset/shared/userreset"
)

// TestByVersion has the rows of Microsoft's page: from Settings since 1703, above the lock screen since 1709.
func TestByVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		build                int
		settings, lockScreen bool
	}{
		{14393, false, false},                     // 1607
		{15063, true, false},                      // 1703
		{16298, true, false}, {16299, true, true}, // 1709
		{19045, true, true}, {22631, true, true},
	} {
		for place, want := range map[userreset.Place]bool{userreset.Settings: c.settings, userreset.LockScreen: c.lockScreen} {
			if offered, known := userreset.Offered(place, c.build); offered != want || !known {
				t.Errorf("build %d, %s: %t %t", c.build, place, offered, known)
			}
			for _, d := range userreset.Deployments() {
				if g := userreset.Destructive(place, d, c.build); (len(g.Steps) > 0) != want || g.Text == "" || g.Steps == nil {
					t.Errorf("build %d, %s, %s: %+v", c.build, place, d, g)
				}
			}
		}
	}
	for _, build := range []int{0, -1} {
		if offered, known := userreset.Offered(userreset.Settings, build); offered || known {
			t.Errorf("a build that is not known: %t %t", offered, known)
		}
		g := userreset.Destructive(userreset.LockScreen, userreset.OnPremises, build)
		if len(g.Steps) == 0 || !strings.Contains(g.Text, "not known") {
			t.Errorf("a build that is not known: %+v", g)
		}
	}
	if g := userreset.Destructive(userreset.LockScreen, userreset.OnPremises, 15063); !strings.Contains(g.Text, "from Settings only") {
		t.Errorf("version 1703 above the lock screen: %q", g.Text)
	}
}

func TestWhatIsSaid(t *testing.T) {
	t.Parallel()
	said := func(p userreset.Place, d userreset.Deployment, build int) string {
		return fmt.Sprintf("%+v", userreset.Destructive(p, d, build))
	}
	for _, p := range userreset.Places() {
		onPremises := said(p, userreset.OnPremises, 19045)
		for _, part := range []string{"domain controller", "federation service", "password", "second factor", "I forgot my PIN", "new PIN"} {
			if !strings.Contains(onPremises, part) {
				t.Errorf("%s on premises does not say %q: %s", p, part, onPremises)
			}
		}
		if entra := said(p, userreset.EntraJoined, 19045); strings.Contains(entra, "domain controller") || strings.Contains(entra, "federation") {
			t.Errorf("%s Entra joined: %s", p, entra)
		}
		if hybrid := said(p, userreset.HybridJoined, 19045); !strings.Contains(hybrid, "key trust") {
			t.Errorf("%s hybrid joined: %s", p, hybrid)
		}
	}
	if !strings.Contains(said(userreset.Settings, userreset.OnPremises, 22631), "PIN (Windows Hello)") ||
		strings.Contains(said(userreset.Settings, userreset.OnPremises, 19045), "PIN (Windows Hello)") {
		t.Error("Windows 11 and Windows 10 name the entry differently")
	}
	if strings.Contains(said(userreset.Settings, userreset.OnPremises, 19045), "sign-in screen choose") {
		t.Error("the steps in Settings begin on the sign-in screen")
	}
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var network []string
	for _, r := range userreset.Requirements() {
		if r.ID == "" || r.Title == "" || r.Text == "" || r.Fix == "" || seen[r.ID] || r.Source != userreset.Reported && r.Source != userreset.Asked {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
		if r.Network {
			network = append(network, r.ID)
			if r.Source != userreset.Reported {
				t.Errorf("network check %s is not reported by the device", r.ID)
			}
		}
	}
	if !slices.Equal(network, []string{userreset.DomainController, userreset.Federation}) {
		t.Errorf("network checks %v", network)
	}
}
