package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"pinreset/shared/secret"
)

// nested has secrets in every kind of place that a value can be in.
type nested struct {
	Plain   secret.Text
	Pointer *secret.Text
	List    []secret.Text
	Array   [2]secret.Text
	Map     map[string]secret.Text
	Any     any
	Deep    struct{ Inner *nested }
	hidden  secret.Text
	behind  *secret.Text
	slice   []secret.Text
	inner   struct{ text secret.Text }
}

func places() map[string]any {
	text := secret.NewText(canary)
	n := nested{
		Plain: text, Pointer: &text, List: []secret.Text{text}, Array: [2]secret.Text{text, text}, Map: map[string]secret.Text{"a": text},
		Any: text, hidden: text, behind: &text, slice: []secret.Text{text},
	}
	n.inner.text = text
	outer := n
	outer.Deep.Inner = &n
	return map[string]any{
		"text": text, "pointer": &text, "struct": outer, "pointer to struct": &outer, "list": []any{text, &text, n}, "map": map[string]any{"a": text, "b": n},
		"map of pointers": map[int]*secret.Text{1: &text}, "channel element": [1]*nested{&n},
	}
}

// TestTextIsNotPrinted prints secrets in every place under every verb, those included that do not suit.
func TestTextIsNotPrinted(t *testing.T) {
	t.Parallel()
	quiet(t, "fmt.Sprint", fmt.Sprint(secret.NewText(canary)))
	if got := fmt.Sprint(secret.NewText(canary)); got != "[redacted]" {
		t.Errorf("printed as %s", got)
	}
	for where, v := range places() {
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "40", ".3", "-40.2", "# "} {
				quiet(t, where+" under %"+flags+string(verb), fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
		quiet(t, where+" in an error", fmt.Errorf("reset %v: %w", v, errors.New("no")).Error())
		quiet(t, where+" as an extra argument", fmt.Sprintf(strings.Clone("none"), v))
		quiet(t, where+" in a line", fmt.Sprintln(v))
	}
}

func TestTextIsNotLogged(t *testing.T) {
	t.Parallel()
	for where, v := range places() {
		var out bytes.Buffer
		o := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, o), slog.NewTextHandler(&out, o)} {
			log := slog.New(h)
			log.InfoContext(t.Context(), "code", "code", v, slog.Group("group", "code", v))
			log.With("code", v).WithGroup("group").DebugContext(t.Context(), "code", slog.Any("again", &v))
		}
		if out.Len() == 0 {
			t.Fatal("nothing was logged")
		}
		quiet(t, where+" in the log", out.String())
	}
}

func TestTextIsNotEncoded(t *testing.T) {
	t.Parallel()
	for where, v := range places() {
		raw, err := json.Marshal(v)
		if err != nil || !bytes.Contains(raw, []byte("[redacted]")) {
			t.Errorf("%s as JSON: %s, %v", where, raw, err)
		}
		quiet(t, where+" as JSON", string(raw))
		var out strings.Builder
		if err := template.Must(template.New("t").Parse("{{.}} {{printf \"%d\" .}}")).Execute(&out, v); err != nil {
			t.Error(err)
		}
		quiet(t, where+" in a template", out.String())
	}
	text := secret.NewText(canary)
	type carrier struct {
		Text    secret.Text
		Pointer *secret.Text
	}
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(carrier{text, &text}); err != nil || !strings.Contains(out.String(), "[redacted]") {
		t.Errorf("gob %q: %v", out.String(), err)
	}
	quiet(t, "gob", out.String())
	raw, err := xml.Marshal(carrier{text, &text})
	if err != nil || !bytes.Contains(raw, []byte("[redacted]")) {
		t.Errorf("XML %s: %v", raw, err)
	}
	quiet(t, "XML", string(raw))
	if raw, err := text.MarshalText(); err != nil || string(raw) != "[redacted]" {
		t.Errorf("text %s: %v", raw, err)
	}
}

func quiet(t *testing.T, where, out string) {
	t.Helper()
	if tells(out) {
		t.Errorf("%s: %s", where, out)
	}
}

// tells reports whether the output has the secret in any form: as it is, cut, in hexadecimal, or as numbers.
func tells(out string) bool {
	lower := strings.ToLower(out)
	for _, form := range []string{canary[:6], fmt.Sprintf("%x", canary), strings.Trim(fmt.Sprint([]byte(canary)), "[]")} {
		if strings.Contains(lower, form) {
			return true
		}
	}
	return false
}

func TestTellsCatches(t *testing.T) {
	t.Parallel()
	naked := struct{ text string }{canary}
	for _, out := range []string{fmt.Sprint(naked), fmt.Sprintf("%X", naked), fmt.Sprintf("%d", []byte(canary)), fmt.Sprintf("%.6s", canary)} {
		if !tells(out) {
			t.Errorf("%s passes for quiet", out)
		}
	}
}

func TestTextFromJSON(t *testing.T) {
	t.Parallel()
	type reply struct {
		Passcode secret.Text `json:"passcode"`
	}
	for in, empty := range map[string]bool{`{"passcode":"` + canary + `"}`: false, `{"passcode":null}`: true, `{"passcode":""}`: true, `{}`: true} {
		var r reply
		if err := json.Unmarshal([]byte(in), &r); err != nil || r.Passcode.Empty() != empty {
			t.Errorf("%s: empty %t, %v", in, r.Passcode.Empty(), err)
		}
	}
	for _, in := range []string{`{"passcode":47110815}`, `{"passcode":{"code":"` + canary + `"}}`, `{"passcode":["` + canary + `"]}`} {
		var r reply
		err := json.Unmarshal([]byte(in), &r)
		if err == nil || strings.Contains(err.Error(), "4711") || !r.Passcode.Empty() {
			t.Errorf("%s: %v", in, err)
		}
	}
	r := reply{Passcode: secret.NewText("of an earlier reply")}
	if err := json.Unmarshal([]byte(`{"passcode":null}`), &r); err != nil || !r.Passcode.Empty() {
		t.Errorf("null leaves what was there before: %v", err)
	}
	// What was decoded is what is sealed.
	s := open(t)
	if err := json.Unmarshal([]byte(`{"passcode":"`+canary+`"}`), &r); err != nil {
		t.Fatal(err)
	}
	env, err := s.Seal(t.Context(), "s-1", place, r.Passcode, start.Add(secret.MaxLife))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Open(t.Context(), env, place, s.receipt("s-1")); err != nil || got.Expose() != canary {
		t.Errorf("opened %q: %v", got, err)
	}
}
