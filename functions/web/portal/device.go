package portal

import (
	"net/http"
	"slices"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/callercheck"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

type devicesData struct {
	Search   string
	Devices  []desk.Device
	Next     string
	MayReset bool
}

func (p *pages) devices(v *visit) error {
	search := v.r.URL.Query().Get("search")
	list, err := v.room.Devices(v.r.Context(), search, paged(v.r))
	if err != nil {
		return err
	}
	return p.show(v, "devices", p.chrome(v, "devices", "Devices"), devicesData{
		Search: search, Devices: list.Items, Next: next(v.r, list.Next), MayReset: v.room.Can(identity.ResetStart),
	})
}

type deviceData struct {
	Device   desk.Device
	Resets   []resetItem
	Pending  *desk.Reset // the reset that has not ended
	Instead  []string    // what works where a reset does not
	Said     desk.Said
	MayReset bool
	Caller   *callCheck // nil where the tenant asks for none
	MayLog   bool
	Form     view.Form
}

func (p *pages) device(v *visit) error { return p.showDevice(v, http.StatusOK, fresh()) }

func (p *pages) showDevice(v *visit, status int, f view.Form) error {
	d, err := v.room.Device(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	title := d.Name
	if title == "" {
		title = "Device without a name"
	}
	data := deviceData{
		Device: d.Device, Resets: p.items(v, d.Resets), MayReset: v.room.Can(identity.ResetStart), MayLog: v.room.Can(identity.AuditRead), Form: f,
	}
	if data.Said, err = v.room.LastSaid(v.r.Context(), d.ID); err != nil {
		return err
	}
	if i := slices.IndexFunc(d.Resets, func(r desk.Reset) bool { return r.ID == d.PendingReset }); i >= 0 {
		data.Pending = &d.Resets[i]
	}
	if d.Eligibility.Code != "" {
		data.Instead = fault.Lookup(d.Eligibility.Code).Fix
	}
	c := p.chrome(v, "devices", title)
	if data.MayReset && data.Pending == nil && d.Eligibility.Answer != passcode.No {
		if data.Caller, err = p.checkOf(v, callercheck.Reset, d.ID, "/tenants/"+v.room.ID()+"/devices/"+d.ID, f.Key); err != nil {
			return err
		}
		if data.Caller.Live() {
			c.Live = refresh
		}
	}
	return p.showStatus(v, status, "device", c, data)
}

func (p *pages) startReset(v *visit) error {
	f := typed(v.r)
	a, err := v.room.StartReset(v.r.Context(), f.Key, v.r.PathValue("id"), desk.NewReset{Reason: f.Reason, Ticket: f.Ticket})
	if f, isForm := wrong(f, err); isForm {
		return p.showDevice(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/resets/" + a.Body.ID)
}
