package graphsim

import (
	"context"
	"slices"
	"strings"
	"time"
)

// A TenantInfo is what the control plane shows of a tenant.
type TenantInfo struct {
	ID                string          `json:"id"`
	Domain            string          `json:"domain"`
	Name              string          `json:"name"`
	ServicePrincipals []PrincipalInfo `json:"servicePrincipals"`
	Devices           []DeviceInfo    `json:"devices"`
	Users             []string        `json:"users"` // user principal names
}

// A PrincipalInfo is an app's state in a tenant, as the primary replica has it.
type PrincipalInfo struct {
	ID      string   `json:"id"`
	AppID   string   `json:"appId"`
	Name    string   `json:"name"`
	Enabled bool     `json:"enabled"`
	Roles   []string `json:"roles,omitempty"`
}

// A DeviceInfo is one device; it never has a passcode.
type DeviceInfo struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	OperatingSystem string    `json:"operatingSystem"`
	Version         string    `json:"osVersion"`
	User            string    `json:"user,omitempty"`
	Online          bool      `json:"online"`
	Outcome         Outcome   `json:"outcome,omitempty"`
	LastSync        time.Time `json:"lastSync"`
	Resets          int       `json:"resets"`
	State           string    `json:"state,omitempty"` // of the newest visible reset

	EnablePinRecovery *bool  `json:"enablePinRecovery,omitempty"` // on a Windows device, once a policy has set it
	CanReset          string `json:"canReset,omitempty"`          // of a Windows device, as dsregcmd /status says it
}

// Tenants lists all tenants with their devices, by domain.
func (c *Cloud) Tenants(ctx context.Context) ([]TenantInfo, error) {
	domains := make([]string, 0, len(c.seeds)+c.fleet.Tenants)
	for _, s := range seeds() {
		domains = append(domains, s.domain)
	}
	for n := range c.fleet.Tenants {
		domains = append(domains, fleetSeed(n+1, 0).domain)
	}
	slices.Sort(domains)
	var list []TenantInfo
	for _, domain := range domains {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := c.Tenant(domain)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

// Tenant describes one tenant.
func (c *Cloud) Tenant(ref string) (TenantInfo, error) {
	t, err := c.lookup(ref)
	if err != nil {
		return TenantInfo{}, err
	}
	c.lock(t)
	defer t.mu.Unlock()
	info := TenantInfo{ID: t.id, Domain: t.domain, Name: t.name}
	for _, u := range t.users {
		info.Users = append(info.Users, u.upn)
	}
	v := c.primary()
	if err := c.settled(t, v.now); err != nil {
		return TenantInfo{}, err
	}
	for _, sp := range t.visiblePrincipals(v) {
		app, _ := findApplication(sp.AppID)
		info.ServicePrincipals = append(info.ServicePrincipals, PrincipalInfo{
			ID: sp.ID, AppID: sp.AppID, Name: app.name, Enabled: !sp.Disabled, Roles: t.rolesOf(v, sp),
		})
	}
	for _, d := range t.devices() {
		if d.Retired {
			continue
		}
		one := DeviceInfo{
			ID: d.id, Name: d.name, OperatingSystem: d.os, Version: d.version,
			Online: !d.Offline, Outcome: d.Outcome, Resets: d.Resets,
			LastSync: d.lastSync(v.now, c.timing.CheckIn).UTC(),
		}
		if d.os == "Windows" {
			one.EnablePinRecovery, one.CanReset = d.Applied.Recovery, d.canReset()
		}
		if u, ok := t.user(d.UserID); ok {
			one.User = u.upn
		}
		if list := d.results(v.now, false, false); len(list) > 0 {
			one.State, _ = list[0].(map[string]any)["actionState"].(string)
		}
		info.Devices = append(info.Devices, one)
	}
	slices.SortFunc(info.Devices, func(a, b DeviceInfo) int { return strings.Compare(a.Name, b.Name) })
	return info, nil
}
