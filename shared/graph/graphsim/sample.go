package graphsim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// The sample tenants. What differs is how far their onboarding is, how people
// sign in, and the region.
const (
	Contoso   = "c0117050-7e57-4c10-8d01-000000000001" // everything in place
	Fabrikam  = "fab21ca0-7e57-4c10-8d01-000000000002" // nothing consented
	Northwind = "0072714d-7e57-4c10-8d01-000000000003" // our apps and only the PIN reset service app: half consented
	Tailspin  = "7a115913-7e57-4c10-8d01-000000000004" // everything in place, federated: sign-in at an identity provider of its own
	Woodgrove = "300d9203-7e57-4c10-8d01-000000000005" // everything in place, in a region like the US Government's
)

// A seed is what a tenant grows from on first use.
type seed struct {
	id, domain, name string
	prefix           string   // of its device names
	consented        []string // app ids whose consent is as old as the tenant
	more             int      // devices besides the sample ones
	federated        bool
	subscope         string // tenant_region_sub_scope of discovery
	fleet            bool   // one of many: its content is dropped when it is not used
}

// everyConsent lists our apps and Microsoft's two PIN reset apps.
var everyConsent = sync.OnceValue(func() []string { return append(ourApps(), PinResetService, PinResetClient) })

func ourApps() []string {
	var ours []string
	for _, a := range catalogue {
		if a.ours() {
			ours = append(ours, a.id)
		}
	}
	return ours
}

// seeds returns the sample tenants.
func seeds() []seed {
	all := everyConsent()
	return []seed{
		{id: Contoso, domain: "contoso.example", name: "Contoso", consented: all},
		{id: Fabrikam, domain: "fabrikam.example", name: "Fabrikam", prefix: "fab-"},
		{id: Northwind, domain: "northwind.example", name: "Northwind", prefix: "nw-", consented: append(ourApps(), PinResetService)},
		{id: Tailspin, domain: "tailspin.example", name: "Tailspin", prefix: "ts-", consented: all, federated: true},
		{id: Woodgrove, domain: "woodgrove.example", name: "Woodgrove", prefix: "wg-", consented: all, subscope: "DODCON"},
	}
}

// staff are the people of every sample tenant.
var staff = []string{"Adele Admin", "Carla Chief", "Hana Help", "Sam Sales", "Fred Field", "Wanda Warehouse", "Dev Developer", "Ines Intern"}

// plant gives a tenant the content of its seed. Ids derive from the domain, so
// that they are the same at every start and in every directory; times are
// relative to the moment the state began.
func (c *Cloud) plant(t *tenant) {
	s := t.seed
	t.epoch = c.meta.Epoch
	t.content = content{
		principals:  make(map[string]*servicePrincipal),
		grants:      make(map[string]*permissionGrant),
		assignments: make(map[string]*roleAssignment),
		policies:    make(map[string]*policy),
		records:     make(map[int64]auditRecord),

		subscriptions: make(map[string]*subscription),
	}
	all := group{ID: guid(s.domain + " group all"), Name: "All employees"}
	pilot := group{ID: guid(s.domain + " group pilot"), Name: "PIN recovery pilot"}
	field := group{ID: guid(s.domain + " group field"), Name: "Field staff"}
	for i, name := range staff {
		local, _, _ := strings.Cut(strings.ToLower(name), " ")
		u := user{id: guid(s.domain + " user " + local), upn: local + "@" + s.domain, name: name}
		t.users = append(t.users, u)
		all = all.with(u.id, "user", 1, false)
		switch {
		case i < 3:
			pilot = pilot.with(u.id, "user", 1, false)
		case i < 6:
			field = field.with(u.id, "user", 1, false)
		}
	}
	windows := group{ID: guid(s.domain + " group windows"), Name: "Windows devices"}
	kiosks := group{ID: guid(s.domain + " group kiosks"), Name: "Shared devices"}
	for _, p := range fleet {
		object := deviceObjectID(t.domain, p.name)
		switch {
		case p.os == "Windows":
			windows = windows.with(object, "device", 1, false)
		case p.user == "":
			kiosks = kiosks.with(object, "device", 1, false)
		}
	}
	everything := group{ID: guid(s.domain + " group everything"), Name: "Everyone and everything"}
	everything = everything.with(all.ID, "group", 1, false).with(windows.ID, "group", 1, false)
	t.groups = []*group{&all, &pilot, &field, &windows, &kiosks, &everything}
	c.plantDirectory(t, s)
}

// plantDevices makes the sample devices and those that the seed has more.
func (t *tenant) plantDevices() {
	t.planted = make(map[string]*device, len(fleet)+t.more)
	for i := range fleet {
		d := newDevice(t, t.prefix, fleet[i], t.epoch)
		t.planted[d.id] = d
	}
	pixel := fleet[slices.IndexFunc(fleet, func(p profile) bool { return p.name == "sales-pixel-12" })]
	for i := range t.more {
		pixel.name = fmt.Sprintf("pixel-%04d", i+1)
		d := newDevice(t, t.prefix, pixel, t.epoch)
		t.planted[d.id] = d
	}
}

// plantDirectory adds the service principals that a tenant has from the start.
func (c *Cloud) plantDirectory(t *tenant, s seed) {
	a := t.admit(c.meta.Epoch.Add(-90 * 24 * time.Hour))
	a.id = func(object string) string { return guid(s.domain + " " + object) }
	for _, appID := range append([]string{microsoftGraph, azureADGraph}, s.consented...) {
		app, _ := findApplication(appID)
		if err := a.consent(app); err != nil {
			panic("graphsim: sample data: " + err.Error())
		}
	}
	for _, ch := range a.changes {
		ch.apply()
	}
}
