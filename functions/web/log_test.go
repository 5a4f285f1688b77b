package web_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/identity"
)

func TestAuditLogIsSearchedAndTakenAway(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	u := f.unit(contoso)
	for _, e := range []audit.Entry{
		{Actor: events.Actor{Kind: events.Operator, ID: "op-1", Name: `=HYPERLINK("http://x")`}, Action: audit.PasscodeRevealed, DeviceID: pixel, Reason: "+49 30 1234; =1+1", Ticket: "@T;\t＝2+2", Change: map[string]string{"views": "0 → 1"}},
		{Actor: events.Actor{Kind: events.Operator, ID: "op-2", Name: "Grace"}, Action: audit.ResetRequested, DeviceID: laptop, Reason: "-1 is <b>odd</b>, \"so\"\nto say"},
	} {
		if err := audit.Append(u, e); err != nil {
			t.Fatal(err)
		}
	}
	f.commit(u)
	base := "/tenants/" + contoso + "/audit"
	b := f.browser().signIn(f.may(identity.TenantRead, identity.AuditRead, identity.AuditExport))
	page := func(query string, has, lacks string) answer {
		t.Helper()
		a := b.get(base + "?" + query)
		a.want(t, http.StatusOK)
		a.sound(t, query)
		if text := string(a.body); !strings.Contains(text, has) || lacks != "" && strings.Contains(text, lacks) {
			t.Errorf("%s lacks %q or has %q: %s", query, has, lacks, text)
		}
		return a
	}
	page("", "<h3>passcode.revealed</h3>", "")
	page("person=grace", "<h3>passcode.reset.requested</h3>", "<h3>passcode.revealed</h3>")
	page("action=passcode.rev&device="+pixel, " 30 1234", "to say")
	page("person=nobody", "<p>None.</p>", "<h3>")
	bad := b.get(base + "?day=yesterday")
	bad.want(t, http.StatusUnprocessableEntity)
	bad.sound(t, "no day")
	f.call(http.MethodGet, "/v1"+base+"?person=GRACE", f.admin, nil).want(t, http.StatusOK)
	if a := f.call(http.MethodGet, "/v1"+base+"?person=GRACE", f.admin, nil); strings.Count(string(a.body), `"action"`) != 1 {
		t.Errorf("the API finds %s", a.body)
	}

	form := url.Values{"key": {page("", "Take it away", "").key(t)}, "person": {"op-"}, "form": {"csv"}}
	without := b.post(base+"/export", form)
	without.want(t, http.StatusUnprocessableEntity)
	without.sound(t, "no reason")
	if text := string(without.body); !strings.Contains(text, `href="`+base+`">Show all`) || !strings.Contains(text, `method="get" action="`+base+`"`) {
		t.Errorf("the links of a form that was given back lead past its page: %s", text)
	}
	form.Set("reason", "the yearly look")
	before := len(f.auditOf(contoso))
	form.Set("person", "")
	file := b.post(base+"/export", form)
	file.want(t, http.StatusOK)
	if d := file.header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment; ") || !strings.HasPrefix(file.header.Get("Content-Type"), "text/csv") {
		t.Errorf("%s, %s", d, file.header.Get("Content-Type"))
	}
	rows, err := csv.NewReader(strings.NewReader(string(file.body))).ReadAll()
	if err != nil || len(rows) != before+2 { // the heading, and the record of taking it
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			// Where a comma is in numbers, a spreadsheet takes a semicolon for the end of a cell.
			for part := range strings.SplitSeq(cell, ";") {
				part = strings.TrimLeft(part, " \t")
				if part != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(part)[0]) {
					t.Errorf("a spreadsheet takes %q of %q for a formula", part, cell)
				}
			}
		}
	}
	if newest := rows[1]; newest[1] != audit.LogExported || newest[7] != "the yearly look" || !strings.Contains(newest[9], "form: csv") {
		t.Errorf("the newest entry is %q", newest)
	}
	form.Set("form", "jsonl")
	form.Set("device", laptop)
	file = b.post(base+"/export", form)
	file.want(t, http.StatusOK)
	var e audit.Entry
	if err := json.Unmarshal(file.body, &e); err != nil || e.Actor.ID != "op-2" || e.DeviceID != laptop { // one line
		t.Errorf("%s: %v", file.body, err)
	}
	form.Set("form", "pdf")
	b.post(base+"/export", form).want(t, http.StatusBadRequest)

	reader := f.browser().signIn(f.may(identity.TenantRead, identity.AuditRead))
	if a := reader.get(base); a.status != http.StatusOK || strings.Contains(string(a.body), "Take it away") {
		t.Errorf("a reader is offered the export, or sees no log: %d", a.status)
	}
	form.Set("form", "csv")
	n := len(f.auditOf(contoso))
	reader.post(base+"/export", form).want(t, http.StatusForbidden)
	if len(f.auditOf(contoso)) != n {
		t.Error("a refused export is in the log")
	}
}

// TestExportBreaksOff proves that a file whose rest could not be read does not pass for a whole one.
func TestExportBreaksOff(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	b := f.browser().signIn(f.admin)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+"/tenants/"+contoso+"/audit/export", strings.NewReader(url.Values{"reason": {"a test"}, "form": {"csv"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", f.server.URL)
	u := f.unit(contoso)
	if err := u.Put(audit.Prefix+"!", "no entry"); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	res, err := b.Do(r)
	if err == nil {
		defer res.Body.Close()
		t.Errorf("answered %d", res.StatusCode)
	}
}
