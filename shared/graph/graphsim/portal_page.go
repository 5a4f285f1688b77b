package graphsim

import (
	"errors"
	"net/http"
)

// The pages of this file stand for Microsoft's own portals. What a person does
// there happens in the tenant and in its audit log, and pinreset is not asked. A
// script sends the same form: action and target, the id that the action is
// about.

// An intunePageData is the data of intune.html.
type intunePageData struct {
	TenantInfo
	Admin    string
	Policies []PolicyInfo
	Devices  []portalDevice
}

type portalDevice struct {
	DeviceInfo
	Resettable bool // the portal offers Reset passcode
}

func (c *Cloud) intunePage(w http.ResponseWriter, r *http.Request) {
	info, err := c.Tenant(r.PathValue("tenant"))
	if err != nil {
		c.errorPage(w, r, unknownTenant(r.PathValue("tenant")))
		return
	}
	policies, err := c.Policies(info.ID)
	if err != nil {
		c.pageFailed(w, r, err)
		return
	}
	data := intunePageData{TenantInfo: info, Admin: info.Users[0], Policies: policies}
	for _, d := range info.Devices {
		data.Devices = append(data.Devices, portalDevice{d, d.OperatingSystem != "Windows" && d.OperatingSystem != "macOS"})
	}
	c.page(w, http.StatusOK, "intune.html", data, "")
}

func (c *Cloud) intuneForm(w http.ResponseWriter, r *http.Request) {
	tenant, target := r.PathValue("tenant"), r.PostFormValue("target")
	var err error
	switch r.PostFormValue("action") {
	case "resetPasscode":
		err = c.ResetInPortal(tenant, target)
	case "checkIn":
		err = c.CheckIn(tenant, target)
	case "checkInAll":
		err = c.CheckInAll(tenant)
	case "policyOn":
		err = c.ChangePolicy(tenant, target, true, "")
	case "policyOff":
		err = c.ChangePolicy(tenant, target, false, "")
	case "unassign":
		err = c.UnassignPolicy(tenant, target)
	case "deletePolicy":
		err = c.DeletePolicy(tenant, target)
	case "disableApp":
		err = c.EnableServicePrincipal(tenant, target, false)
	case "enableApp":
		err = c.EnableServicePrincipal(tenant, target, true)
	case "revoke":
		err = c.Revoke(tenant, target)
	default:
		c.errorPage(w, r, missingParameter("action"))
		return
	}
	switch {
	case errors.Is(err, ErrUnknown):
		c.page(w, http.StatusNotFound, "error.html", err.Error(), "")
	case errors.Is(err, ErrInvalid):
		c.page(w, http.StatusBadRequest, "error.html", err.Error(), "")
	case err != nil:
		c.pageFailed(w, r, err)
	default:
		http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
	}
}

// reportPage is what dsregcmd /status prints on a Windows device.
func (c *Cloud) reportPage(w http.ResponseWriter, r *http.Request) {
	report, err := c.DeviceReport(r.PathValue("tenant"), r.PathValue("device"))
	if err != nil {
		c.page(w, http.StatusNotFound, "error.html", err.Error(), "")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write([]byte(report.Dsregcmd))
}
