package portal

import (
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

type bulksData struct {
	Bulks []desk.Bulk
	Next  string
}

func (p *pages) bulks(v *visit) error {
	list, err := v.room.Bulks(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	return p.show(v, "bulks", p.chrome(v, "resets", "Bulk resets"), bulksData{Bulks: list.Items, Next: next(v.r, list.Next)})
}

type bulkData struct {
	Bulk      desk.Bulk
	Items     []passcode.Item
	Next      string
	MayCancel bool
	Form      view.Form
}

func (p *pages) bulk(v *visit) error { return p.showBulk(v, http.StatusOK, fresh()) }

// showBulk shows how far a bulk reset has got. What each device says is told by no event of its own, so the page loads itself again.
func (p *pages) showBulk(v *visit, status int, f view.Form) error {
	b, err := v.room.Bulk(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	d := bulkData{Bulk: b, MayCancel: v.room.Can(identity.BulkReset), Form: f}
	if v.room.Can(identity.TenantRead) {
		items, err := v.room.BulkItems(v.r.Context(), b.ID, paged(v.r))
		if err != nil {
			return err
		}
		d.Items, d.Next = items.Items, next(v.r, items.Next)
	}
	c := p.chrome(v, "resets", "Bulk reset")
	c.About = b.ID
	if b.Open && len(f.Errors) == 0 && v.r.URL.Query().Get("cursor") == "" {
		c.Live = refresh
	}
	return p.showStatus(v, status, "bulk", c, d)
}

func (p *pages) cancelBulk(v *visit) error {
	id, f := v.r.PathValue("id"), typed(v.r)
	_, err := v.room.CancelBulk(v.r.Context(), f.Key, id, desk.Cancellation{Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showBulk(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/bulk-resets/" + id)
}
