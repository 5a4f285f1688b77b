package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/secret"
)

// TestRevealedIsNotPrinted prints and logs what holds a code on its way out. Only the API's own encoding shows it.
func TestRevealedIsNotPrinted(t *testing.T) {
	t.Parallel()
	const code = "canary-4711"
	text := secret.NewText(code)
	ours := desk.Revealed{Passcode: text, User: "kim"}
	answers := revealed{Passcode: clearText{text}, User: "kim"}
	for what, v := range map[string]any{
		"desk": ours, "desk pointer": &ours, "answer": answers, "answer pointer": &answers, "field": answers.Passcode, "body": &answer[revealed]{answers},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "4711") || strings.Contains(got, "63616e617279") || strings.Contains(got, "63616E617279") {
				t.Errorf("%s under %s: %s", what, verb, got)
			}
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("shown", "desk", ours, "answer", answers, "code", answers.Passcode)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("shown", "desk", ours, "code", answers.Passcode)
	if strings.Contains(log.String(), "4711") {
		t.Errorf("logged %s", &log)
	}
	if raw, err := json.Marshal(ours); err != nil || strings.Contains(string(raw), "4711") {
		t.Errorf("the desk's own as JSON: %s, %v", raw, err)
	}
	if raw, err := json.Marshal(answers); err != nil || !strings.Contains(string(raw), `"passcode":"canary-4711"`) {
		t.Errorf("the answer: %s, %v", raw, err)
	}
}
