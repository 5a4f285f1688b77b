package graphsim

import (
	"fmt"
	"strings"
	"time"
)

// A DeviceReport is what a Windows device says of itself: what an agent on it
// would collect.
type DeviceReport struct {
	Device            string    `json:"device"` // name
	DeviceID          string    `json:"deviceId"`
	ManagedDeviceID   string    `json:"managedDeviceId"`
	TenantID          string    `json:"tenantId"`
	UserPrincipalName string    `json:"userPrincipalName,omitempty"`
	CollectedAt       time.Time `json:"collectedAt"`

	Dsregcmd          string            `json:"dsregcmd"` // dsregcmd /status, run as the user
	CanReset          string            `json:"canReset"` // the same line of it
	EditionID         string            `json:"editionId"`
	Version           string            `json:"version"`              // 10.0.22631.3447
	Trust             string            `json:"trust,omitempty"`      // cloud, key, certificate
	EnablePinRecovery *bool             `json:"enablePinRecovery"`    // as MDM wrote it; null: not set
	Registry          map[string]uint32 `json:"registry"`             // path\name → REG_DWORD
	WebSignIn         *string           `json:"webSignInAllowedUrls"` // ConfigureWebSignInAllowedUrls as MDM wrote it; null: not set
	Events            []int             `json:"events"`               // ids in Microsoft-Windows-HelloForBusiness/Operational
}

// DeviceReport returns what a device would report now. Only Windows devices have
// one. In the model CanReset follows EnablePinRecovery at the check-in that
// brings it, where both PIN reset service principals are enabled by then and
// edition, version and join type allow it; when a real one follows is not
// documented.
func (c *Cloud) DeviceReport(tenantRef, deviceRef string) (DeviceReport, error) {
	t, err := c.lookup(tenantRef)
	if err != nil {
		return DeviceReport{}, err
	}
	c.lock(t)
	defer t.mu.Unlock()
	d, err := t.device(deviceRef)
	if err != nil {
		return DeviceReport{}, err
	}
	if d.os != "Windows" {
		return DeviceReport{}, fmt.Errorf("report of %s, which runs %s: %w", d.name, d.os, ErrInvalid)
	}
	now := c.now()
	if err := c.settled(t, now); err != nil {
		return DeviceReport{}, err
	}
	r := DeviceReport{
		Device: d.name, DeviceID: d.directoryID, ManagedDeviceID: d.id, TenantID: t.id, CollectedAt: now.UTC(),
		CanReset: d.canReset(), EditionID: editionIDs[d.edition()], Version: d.version, Trust: d.helloTrust(),
		EnablePinRecovery: d.Applied.Recovery, WebSignIn: d.Applied.WebSignIn, Registry: d.registry(t.id), Events: []int{3045, 3054, 3055},
	}
	if d.Applied.Protector {
		r.Events = append(r.Events, 3060) // a PIN recovery key is created
	}
	if u, ok := t.user(d.UserID); ok {
		r.UserPrincipalName = u.upn
	}
	r.Dsregcmd = d.dsregcmd(t, r.CanReset)
	return r, nil
}

// editionIDs are the names of editions in the registry.
var editionIDs = map[string]string{"Enterprise": "Enterprise", "LTSC": "EnterpriseS", "Education": "Education", "Pro": "Professional", "Home": "Core"}

// edition is the sku, with the long-term servicing channel told apart.
func (d *device) edition() string {
	if d.ltsc {
		return "LTSC"
	}
	return d.sku
}

// helloTrust is how the device's Windows Hello signs in on-premises.
func (d *device) helloTrust() string {
	switch {
	case d.hello != "":
		return d.hello
	case d.trust == "ServerAd":
		return "key"
	}
	return ""
}

func (d *device) canReset() string {
	if d.Applied.Protector {
		return "DestructiveAndNonDestructive"
	}
	return "DestructiveOnly"
}

// registry shows the values that matter to PIN reset: policy as MDM writes it
// and the trust model.
func (d *device) registry(tenantID string) map[string]uint32 {
	base := `HKLM\SOFTWARE\Microsoft\Policies\PassportForWork\` + tenantID + `\Device\Policies\`
	values := make(map[string]uint32)
	if on := d.Applied.Recovery; on != nil {
		values[base+"EnablePinRecovery"] = map[bool]uint32{true: 1}[*on]
	}
	switch d.helloTrust() {
	case "certificate":
		values[base+"UseCertificateForOnPremAuth"] = 1
	case "cloud":
		values[base+"UseCloudTrustForOnPremAuth"] = 1
	}
	return values
}

// dsregcmd writes the device's state as dsregcmd /status prints it
// (entra-docs, troubleshoot-device-dsregcmd.md): names right-aligned, sections
// between rules. It has the lines that matter here and their neighbours.
func (d *device) dsregcmd(t *tenant, canReset string) string {
	var out strings.Builder
	section := func(name string, lines ...[2]string) {
		rule := "+" + strings.Repeat("-", 70) + "+\r\n"
		fmt.Fprintf(&out, "%s| %-69s|\r\n%s\r\n", rule, name, rule)
		for _, l := range lines {
			fmt.Fprintf(&out, "%26s : %s\r\n", l[0], l[1])
		}
		out.WriteString("\r\n")
	}
	yes := func(b bool) string { return map[bool]string{true: "YES", false: "NO"}[b] }
	entra, domain := d.trust == "AzureAd" || d.trust == "ServerAd", d.trust == "ServerAd"
	state := [][2]string{{"AzureAdJoined", yes(entra)}, {"EnterpriseJoined", "NO"}, {"DomainJoined", yes(domain)}}
	if domain {
		short, _, _ := strings.Cut(t.domain, ".")
		state = append(state, [2]string{"DomainName", strings.ToUpper(short)})
	}
	section("Device State", append(state, [2]string{"Device Name", d.name})...)
	if entra {
		section("Device Details",
			[2]string{"DeviceId", d.directoryID}, [2]string{"Thumbprint", strings.ToUpper(strings.ReplaceAll(guid(d.id+" thumbprint"), "-", "")) + "00000000"},
			[2]string{"KeyContainerId", guid(d.id + " container")}, [2]string{"KeyProvider", "Microsoft Platform Crypto Provider"},
			[2]string{"TpmProtected", "YES"}, [2]string{"DeviceAuthStatus", "SUCCESS"})
		section("Tenant Details", [2]string{"TenantName", t.name}, [2]string{"TenantId", t.id})
	}
	hello := entra && d.sku != "Home"
	user := [][2]string{{"NgcSet", yes(hello)}}
	if hello {
		user = append(user, [2]string{"NgcKeyId", "{" + strings.ToUpper(guid(d.id+" hello "+d.UserID)) + "}"}, [2]string{"CanReset", canReset})
	}
	user = append(user, [2]string{"WorkplaceJoined", yes(d.trust == "Workplace")})
	if entra {
		user = append(user, [2]string{"WamDefaultSet", "YES"}, [2]string{"WamDefaultAuthority", "organizations"})
	}
	section("User State", user...)
	section("SSO State", [2]string{"AzureAdPrt", yes(entra)}, [2]string{"EnterprisePrt", "NO"},
		[2]string{"OnPremTgt", yes(d.helloTrust() == "cloud")}, [2]string{"CloudTgt", yes(entra)})
	return out.String()
}
