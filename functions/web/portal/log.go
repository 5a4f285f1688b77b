package portal

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

type logData struct {
	Entries   []audit.Entry
	Next      string
	Filter    desk.AuditFilter
	Filtered  bool
	MayExport bool
	Form      view.Form
}

func (p *pages) log(v *visit) error {
	return p.showLog(v, http.StatusOK, filterOf(v.r.URL.Query()), fresh())
}

func (p *pages) showLog(v *visit, status int, filter desk.AuditFilter, f view.Form) error {
	d := logData{Filter: filter, Filtered: filter != desk.AuditFilter{}, MayExport: v.room.Can(identity.AuditExport), Form: f}
	page := paged(v.r)
	list, err := v.room.Audit(v.r.Context(), filter, page)
	if bad, isForm := wrong(f, err); isForm {
		d.Form, status = bad, http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	d.Entries, d.Next = list.Items, next(v.r, list.Next)
	return p.showStatus(v, status, "log", p.chrome(v, "audit", "Who did what"), d)
}

func filterOf(asked url.Values) desk.AuditFilter {
	text := func(name string) string { return strings.TrimSpace(asked.Get(name)) }
	return desk.AuditFilter{Person: text("person"), Action: text("action"), Device: text("device"), Day: text("day")}
}

// exportLog answers with a file of everything that the filter finds. It is written as it is read, so that its length does not matter.
func (p *pages) exportLog(v *visit) error {
	f, filter := typed(v.r), filterOf(v.r.PostForm)
	form := v.r.PostFormValue("form")
	write, known := writers[form]
	if !known {
		if err := v.room.Need(identity.AuditExport); err != nil {
			return err
		}
		return problem.Refuse(fault.InvalidRequest, "The form does not say what kind of file it asks for.")
	}
	entries, err := v.room.ExportAudit(v.r.Context(), filter, form, f.Reason)
	if f, isForm := wrong(f, err); isForm && v.room.Can(identity.AuditRead) {
		return p.showLog(v, http.StatusUnprocessableEntity, filter, f)
	}
	if err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", write.kind)
	h.Set("Content-Disposition", `attachment; filename="audit-`+v.room.ID()+"-"+p.Now().UTC().Format("20060102T150405Z")+"."+form+`"`)
	if err := write.all(v.w, entries); err != nil {
		problem.Note(v.r.Context(), err)
		panic(http.ErrAbortHandler) // half a file must not pass for a whole one
	}
	return nil
}

// writer writes entries as a file.
type writer struct {
	kind string // media type
	all  func(io.Writer, iter.Seq2[audit.Entry, error]) error
}

// writers are the kinds of file, by the ending of their names.
var writers = map[string]writer{
	"csv":   {"text/csv; charset=utf-8; header=present", writeCSV},
	"jsonl": {"application/jsonl", writeLines},
}

func writeLines(w io.Writer, entries iter.Seq2[audit.Entry, error]) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func writeCSV(w io.Writer, entries iter.Seq2[audit.Entry, error]) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"at", "action", "actorKind", "actorId", "actorName", "deviceId", "requestId", "reason", "ticket", "change", "id"}); err != nil {
		return err
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		var changes []string
		for _, name := range slices.Sorted(maps.Keys(e.Change)) {
			changes = append(changes, name+": "+e.Change[name])
		}
		cells := []string{
			e.At.UTC().Format(time.RFC3339Nano), e.Action, string(e.Actor.Kind), e.Actor.ID, e.Actor.Name, e.DeviceID, e.RequestID, e.Reason, e.Ticket,
			strings.Join(changes, "; "), e.ID,
		}
		for i, text := range cells {
			cells[i] = harmless(text)
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// formula is where a spreadsheet may see the beginning of a formula: at that of a cell, and, where numbers are written with a comma, behind
// a semicolon or a line's end, which then end a cell although the quotes of the file say otherwise.
var formula = regexp.MustCompile(`(^|[;\t\r\n])( *[=+\-@＝＋－＠])`)

// harmless keeps a spreadsheet from taking a text for a formula, in the way of OWASP's page "CSV Injection".
func harmless(text string) string { return formula.ReplaceAllString(text, "${1}'${2}") }
