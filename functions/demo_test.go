package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"pinreset/shared/client"
)

// TestDemo tells the whole story as a user does, and finds in each step what it is there to show.
func TestDemo(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if exit := run(t.Context(), []string{"demo", "-o", "json"}, func(string) string { return "" }, strings.NewReader(""), &out, &errs); exit != exitDone {
		t.Errorf("exit %d: %s", exit, &errs)
	}
	// What a step says, and whether it has a diagnostics page.
	shown := map[string]struct {
		says string
		page bool
	}{
		"policy rollout before Microsoft's applications have consent: refused":  {"nothing was written", true},
		"wrong OMA-URI in a policy of somebody else: found by lint":             {"/PassportForWork/", false},
		"the same rollout after consent: coverage rises, phones counted apart":  {"0 % (0 of 31) → 6 % (2 of 30) → 88 % (15 of 17); 14 phones", false},
		"signed report of a laptop: its red check turns green":                  {"passed (dsregcmd: CanReset DestructiveAndNonDestructive)", false},
		"policy deleted behind our back: found by the next audit and put right": {"rolled out again, on, to all users", true},
		"Windows laptop: refused, with what to do instead":                      {"I forgot my PIN", true},
		"reset clicked in the Intune portal: adopted and explained":             {"adele@fabrikam.example", true},
		"tenant on premises: its verdict, without Entra":                        {"did not reach a domain controller", false},
		"every diagnostics link answers":                                        {"5 links", false},
	}
	var steps []string
	for lines := json.NewDecoder(&out); ; {
		var s demoStep
		if err := lines.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s.Step)
		if !s.OK || s.Detail == "" {
			t.Errorf("%s: ok %t, %q", s.Step, s.OK, s.Detail)
		}
		want, ok := shown[s.Step]
		if delete(shown, s.Step); !ok {
			continue
		}
		if !strings.Contains(s.Detail, want.says) || strings.Contains(s.Diagnostics, "/diag/") != want.page {
			t.Errorf("%s says %q, with the page %q", s.Step, s.Detail, s.Diagnostics)
		}
	}
	if told := (&demo{}).story(); len(shown) != 0 || len(steps) != len(told) {
		t.Errorf("%d steps of %d, not told: %v", len(steps), len(told), shown)
	}
}

// TestDemoFails: a step that is not as it should is told, the rest of the story as well, and the end is an error.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	api, err := client.New(client.Options{Server: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		d := &demo{api: api, out: &out, err: io.Discard, json: asJSON}
		err = d.tell(t.Context(), []scene{
			{"bad", func(context.Context) (string, string, error) {
				return "seen so far", "/diag/ABC", errors.New("it is red")
			}},
			{"good", func(context.Context) (string, string, error) { return "green", "", nil }},
		})
		if err == nil {
			t.Error("a failed step is no error")
		}
		want := []string{"FAIL bad", "seen so far; it is red", "http://127.0.0.1:1/diag/ABC", "ok   good"}
		if asJSON {
			want = []string{`"step":"bad","ok":false,"detail":"seen so far; it is red"`, `"step":"good","ok":true`}
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("no %q in %s", text, &out)
			}
		}
	}
}
