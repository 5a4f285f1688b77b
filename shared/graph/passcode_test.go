package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pinreset/shared/diag"
	"pinreset/shared/secret"
)

const canary = "Canary-48151623"

var posted = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

func entry(typ, name, state, started, passcode string) string {
	return fmt.Sprintf(`{"@odata.type":%q,"actionName":%q,"actionState":%q,"startDateTime":%q,"lastUpdatedDateTime":%q,"passcode":%s,"errorCode":7}`,
		typ, name, state, started, started, passcode)
}

func TestPasscodeResult(t *testing.T) {
	t.Parallel()
	const typ = "microsoft.graph.resetPasscodeActionResult"
	old := entry("#"+typ, "resetPasscode", "done", "2026-01-05T09:59:00Z", `"old"`)
	early := entry("#"+typ, "resetPasscode", "pending", "2026-01-05T09:59:57Z", `null`)
	mine := entry("#"+typ, "resetPasscode", "done", "2026-01-05T10:00:02.1234567Z", `"`+canary+`"`)
	bareType := entry(typ, "", "notSupported", "2026-01-05T11:00:03+01:00", `null`)
	byName := entry("", "ResetPasscode", "aStateOfTheFuture", "2026-01-05T10:00:04Z", `null`)
	wipe := entry("#microsoft.graph.deviceActionResult", "wipe", "done", "2026-01-05T10:00:09Z", `null`)
	unset := entry("#"+typ, "resetPasscode", "none", "0001-01-01T00:00:00Z", `null`)
	for _, c := range []struct {
		name    string
		results []string
		state   ActionState // "": nil
		code    bool
	}{
		{"none", nil, "", false},
		{"older only", []string{old, wipe, unset}, "", false},
		{"within the skew", []string{old, early}, ActionPending, false},
		{"mine", []string{mine, early, old, wipe}, ActionDone, true},
		{"type without #", []string{old, bareType}, ActionNotSupported, false},
		{"newest wins, unknown state kept", []string{byName, mine}, "aStateOfTheFuture", false},
	} {
		for _, wrapped := range []bool{false, true} {
			body := `{"id":"` + deviceX + `","deviceName":"sales-pixel-12","userId":"u","enrolledDateTime":"0001-01-01T00:00:00Z","lastSyncDateTime":"2026-01-05T12:00:00+02:00","deviceActionResults":[` + strings.Join(c.results, ",") + `]}`
			if wrapped {
				body = `{"value":` + body + `}`
			}
			s := serve(t, answerWith(200, nil, body))
			got, err := s.client(t, nil).PasscodeResult(t.Context(), tenantA, deviceX, posted)
			if err != nil {
				t.Fatal(err)
			}
			if d := got.Device; d.DeviceName != "sales-pixel-12" || d.UserID != "u" || !d.Enrolled.IsZero() || !d.LastSync.Equal(posted) || d.LastSync.Location() != time.UTC {
				t.Errorf("%s: device %+v", c.name, d)
			}
			switch a := got.Action; {
			case a == nil:
				if c.state != "" {
					t.Errorf("%s: no action", c.name)
				}
			case a.State != c.state || a.Passcode.Empty() == c.code || a.ErrorCode != 7:
				t.Errorf("%s: action %+v", c.name, a)
			}
		}
	}
}

func TestPasscodeResultThroughBeta(t *testing.T) {
	t.Parallel()
	var path string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		fmt.Fprint(w, `{"id":"x"}`)
	})
	got, err := s.client(t, nil).PasscodeResultBeta(t.Context(), tenantA, deviceX, posted)
	if err != nil || got.Version != Beta || path != "/beta/deviceManagement/managedDevices/"+deviceX {
		t.Errorf("%+v %v %q", got, err, path)
	}
}

// A passcode that Graph sends, rightly or in the wrong place, shows up in nothing that can be printed, logged or stored.
func TestPasscodeIsNowhere(t *testing.T) { // not parallel: azcore's log has one listener
	logged := listenToAzureLog(t)
	good := `{"id":"` + deviceX + `","deviceActionResults":[` + entry("#microsoft.graph.resetPasscodeActionResult", "resetPasscode", "done", "2026-01-05T10:00:02Z", `"`+canary+`"`) + `]}`
	var printed strings.Builder
	var record diag.Record
	ctx := diag.NewContext(t.Context(), &record)
	show := func(v any) {
		fmt.Fprintf(&printed, "%v\n%+v\n%#v\n%s\n", v, v, v, v)
		data, _ := json.Marshal(v)
		printed.Write(data)
	}
	for _, c := range []struct {
		status int
		body   string
	}{
		{200, good},
		{200, good[:len(good)-1]}, // cut off
		{200, `{"deviceActionResults":"` + canary + `"}`},
		{200, `{"deviceActionResults":[{"errorCode":"` + canary + `"}]}`},
		{200, `{"deviceActionResults":[{"startDateTime":"` + canary + `"}]}`},
		{200, canary},
		{400, `{"error":{"code":"BadRequest","message":"passcode ` + canary + ` is not good"}}`},
		{400, `{"error":{"code":"Canary ` + canary + `","message":""}}`},
		{500, good},
	} {
		s := serve(t, answerWith(c.status, nil, c.body))
		client := s.client(t, nil)
		reading, err := client.PasscodeResult(ctx, tenantA, deviceX, posted)
		show(reading)
		show(err)
		if c.body == good && c.status == 200 {
			if err != nil || reading.Action == nil || reading.Action.Passcode.Empty() {
				t.Fatalf("no passcode: %v", err)
			}
			show(reading.Action)
		}
		_, err = client.ResetPasscode(ctx, tenantA, deviceX)
		show(err)

		part := fmt.Sprintf(`{"responses":[{"id":"1","status":%d,"body":%s}]}`, c.status, c.body)
		s = serve(t, answerWith(200, nil, part))
		parts, err := s.client(t, nil).Batch(ctx, tenantA, V1, []BatchRequest{BatchGet("1", devicesPath+"/"+deviceX)})
		show(parts)
		show(err)
		if len(parts) > 0 {
			show(parts[0])
			var into struct {
				Results []actionResult `json:"deviceActionResults"`
			}
			show(parts[0].Decode(&into))
			show(into)
		}
	}
	steps, _ := record.Steps()
	show(steps)
	if len(steps) < 20 || len(logged()) < 1000 {
		t.Fatalf("%d steps and %d characters logged: nothing to search", len(steps), len(logged()))
	}
	for where, text := range map[string]string{"results, errors and steps": printed.String(), "azcore's log": logged()} {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("passcode in %s: …%s…", where, text[max(0, i-200):min(len(text), i+50)])
		}
	}
	// The search finds what is there.
	if !strings.Contains(fmt.Sprint(struct{ s string }{canary}), canary) || strings.Contains(fmt.Sprint(secret.NewText(canary)), canary) {
		t.Error("the search is blind")
	}
}
