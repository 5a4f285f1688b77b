package functionshost_test

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/host/azure/functionshost"
)

// The custom handler of these tests is this test's own program: the host starts it with a setting by which it knows.
const childSetting = "FUNCTIONSHOST_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(childSetting); how != "" {
		handle(how)
		return
	}
	os.Exit(m.Run())
}

// handle is a custom handler that does what each message says.
func handle(how string) {
	switch how {
	case "exit at start":
		os.Exit(3)
	case "deaf":
		time.Sleep(time.Hour)
	}
	fmt.Println(`{"msg":"up"}`)
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // for a test
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("X-Ms-Invocation-Id") != "":
			w.Header().Set("X-Saw", r.Method+" "+r.RequestURI+" "+r.Header.Get("X-Own"))
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(body)
			return
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusNotFound) // any answer will do
			return
		}
		var in struct {
			Data     map[string]json.RawMessage
			Metadata map[string]any
		}
		if err := json.Unmarshal(body, &in); err != nil || r.ContentLength != -1 || r.Header.Get("X-Azure-Functions-InvocationId") == "" || len(os.Environ()) != 8 {
			fmt.Fprintln(os.Stderr, "invocation:", string(body), r.Header, os.Environ(), err)
		}
		w.Header().Set("Content-Type", "application/json")
		if in.Data["timer"] != nil {
			fmt.Fprint(w, `{"Outputs":{},"Logs":[],"ReturnValue":null}`)
			return
		}
		var text string
		_ = json.Unmarshal(in.Data["message"], &text)
		message, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			fmt.Fprintln(os.Stderr, "message:", text)
		}
		what := string(message)
		if first, later, ok := strings.Cut(what, " then "); ok { // on the first delivery, and on the others
			if what = first; in.Metadata["DeliveryCount"] != "1" {
				what = later
			}
		}
		switch what {
		case "fail":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "nothing":
			w.WriteHeader(http.StatusNoContent)
			return
		case "null":
			fmt.Fprint(w, "null")
			return
		case "text":
			w.Header().Set("Content-Type", "text/plain")
		case "broken":
			fmt.Fprint(w, "{")
			return
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
			return
		case "complain":
			fmt.Fprintln(os.Stderr, "something is wrong")
		case "warn":
			fmt.Fprintln(os.Stderr, "Warning: careful")
		case "print":
			fmt.Println("plain text")
		case "exit 0":
			os.Exit(0)
		case "exit 1":
			os.Exit(1)
		case "exit 200":
			os.Exit(200)
		case "stay":
			time.Sleep(time.Hour)
		case "slow":
			time.Sleep(400 * time.Millisecond)
		}
		fmt.Fprint(w, `{"Outputs":{},"Logs":[],"ReturnValue":null}`)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

const (
	hostFile  = `{"version":"2.0","functionTimeout":"00:05:00","customHandler":{"description":{"defaultExecutablePath":"program"},"enableProxyingHttpRequest":true},"extensions":{"http":{"routePrefix":""},"serviceBus":{"maxConcurrentCalls":3}}}`
	queueFile = `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"message","queueName":"%QUEUE%","connection":"SB","dataType":"binary","cardinality":"one"}]}`
	timerFile = `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"0 * * * * *"}]}`
	httpFile  = `{"bindings":[{"type":"httpTrigger","direction":"in","name":"request","authLevel":"anonymous","route":"{*path}"},{"type":"http","direction":"out","name":"response"}]}`
)

func wellMade() map[string]string {
	return map[string]string{"host.json": hostFile, "work/function.json": queueFile, "clock/function.json": timerFile, "web/function.json": httpFile, "program": ""}
}

// packed zips the files; the program's content is this test's own.
func packed(t *testing.T, files map[string]string, mode os.FileMode) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "app.zip")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	z := zip.NewWriter(out)
	for name, content := range files {
		h := &zip.FileHeader{Name: name}
		h.SetMode(0o644)
		data := []byte(content)
		if strings.HasSuffix(name, "program") {
			h.SetMode(mode)
			if content == "" {
				data = program
			}
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func settings(how string) map[string]string {
	return map[string]string{childSetting: how, "SB__fullyQualifiedNamespace": "x.servicebus.windows.net", "QUEUE": "q"}
}

// model starts a host on the well-made app. It counts its environment: PATH, five of the host's... and the settings.
func model(t *testing.T, change func(*functionshost.Options)) *functionshost.Host {
	t.Helper()
	linux(t)
	o := functionshost.Options{Zip: packed(t, wellMade(), 0o755), Queues: functionshost.NewBroker(0, 0)}
	o.Settings = map[string]string{childSetting: "obey", "SB": "x"}
	if change != nil {
		change(&o)
	}
	if o.Settings["SB"] == "x" {
		o.Zip = packed(t, replaced("work/function.json", strings.ReplaceAll(queueFile, "%QUEUE%", "q")), 0o755)
	}
	h, err := functionshost.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(false); err != nil {
			t.Error(err)
		}
	})
	return h
}

func linux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Functions runs programs for linux/amd64")
	}
}

func replaced(name, content string) map[string]string {
	files := wellMade()
	files[name] = content
	return files
}

func without(name string) map[string]string {
	files := wellMade()
	delete(files, name)
	return files
}

// TestModelRefusesPackages: what the host would not run, or would run wrongly, is refused before it starts.
func TestModelRefusesPackages(t *testing.T) {
	t.Parallel()
	linux(t)
	nested := map[string]string{}
	for name, content := range wellMade() {
		nested["app/"+name] = content
	}
	for _, c := range []struct {
		files map[string]string
		mode  os.FileMode
		set   map[string]string
		says  string
	}{
		{without("program"), 0o755, nil, "custom handler"},
		{wellMade(), 0o644, nil, "cannot be executed"},
		{replaced("program", "#!/bin/sh\n"), 0o755, nil, "custom handler"},
		{nested, 0o755, nil, "directory around everything"},
		{replaced("work/function.json", `{"bindings":[]}`), 0o755, nil, "0 triggers"},
		{replaced("work/function.json", `{"bindings":[{"type":"cosmosDBTrigger","direction":"in","name":"x"}]}`), 0o755, nil, "not known"},
		{replaced("work/function.json", strings.Replace(queueFile, `"dataType":"binary",`, "", 1)), 0o755, nil, "dataType"},
		{replaced("work/function.json", strings.Replace(queueFile, `"one"`, `"many"`, 1)), 0o755, nil, "cardinality"},
		{replaced("work/function.json", strings.Replace(timerFile, `]}`, `,{"type":"timerTrigger","direction":"in","name":"two","schedule":"0 0 0 * * *"}]}`, 1)), 0o755, nil, "2 triggers"},
		{replaced("clock/function.json", strings.Replace(timerFile, "0 * * * * *", "* * * * *", 1)), 0o755, nil, "six fields"},
		{replaced("web/function.json", strings.Replace(httpFile, `,{"type":"http","direction":"out","name":"response"}`, "", 1)), 0o755, nil, "output"},
		{replaced("host.json", strings.Replace(hostFile, `"enableProxyingHttpRequest":true`, `"x":1`, 1)), 0o755, nil, "enableProxyingHttpRequest"},
		{wellMade(), 0o755, map[string]string{"SB__fullyQualifiedNamespace": "x"}, "%QUEUE%"},
		{wellMade(), 0o755, map[string]string{"QUEUE": "q"}, "connection"},
	} {
		if c.set == nil {
			c.set = settings("obey")
		}
		h, err := functionshost.Start(t.Context(), functionshost.Options{Zip: packed(t, c.files, c.mode), Queues: functionshost.NewBroker(0, 0), Settings: c.set})
		if err == nil {
			_ = h.Stop(false)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "never compared with a live host") {
			t.Errorf("%s: %v", c.says, err)
		}
	}
}

// TestModelJudgesAnswers: what completes a message and what gives it back, until it is given up.
func TestModelJudgesAnswers(t *testing.T) {
	t.Parallel()
	for body, c := range map[string]struct {
		dead    bool
		problem string
	}{
		"done":             {},
		"fail then done":   {},
		"fail":             {dead: true},
		"text":             {dead: true},
		"broken":           {dead: true},
		"nothing":          {true, "never ends"},
		"null":             {true, "never ends"},
		"redirect":         {true, "redirect"},
		"complain":         {problem: "something is wrong"},
		"warn":             {},
		"print":            {problem: "no JSON"},
		"exit 200 then ok": {},
		"exit 1 then ok":   {},
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			b := functionshost.NewBroker(0, 4)
			var mu sync.Mutex
			sent := 0
			h := model(t, func(o *functionshost.Options) {
				o.Queues = b
				o.Sent = func(in functionshost.Invocation) {
					mu.Lock()
					defer mu.Unlock()
					sent++
					if in.Function != "work" || in.MessageID != "m" {
						t.Errorf("sent %+v", in)
					}
				}
			})
			b.Send("q", functionshost.Message{ID: "m", Body: []byte(body), Properties: map[string]string{"a": "b"}})
			drained(t, b)
			letters := b.DeadLetters()
			if (len(letters) == 1) != c.dead {
				t.Errorf("given up: %+v", letters)
			}
			if c.dead && (letters[0].Reason != "MaxDeliveryCountExceeded" || letters[0].Queue != "q" || sent != 4) {
				t.Errorf("given up after %d deliveries: %+v", sent, letters)
			}
			problems(t, h, c.problem)
		})
	}
}

func drained(t *testing.T, b *functionshost.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.Drained(ctx); err != nil {
		t.Fatal(err)
	}
}

// problems checks that there are some with the text, or none. What the program prints may come after its answer.
func problems(t *testing.T, h *functionshost.Host, want string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; {
		found := strings.Join(h.Problems(), "\n")
		if want == "" && found == "" || want != "" && strings.Contains(found, want) {
			return
		}
		if want == "" || time.Now().After(end) {
			t.Errorf("problems are %q, want %q", found, want)
			return
		}
		runtime.Gosched()
	}
}

// TestModelEndsOfProcess: which exits the program comes back from.
func TestModelEndsOfProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bodies []string
		exits  []int
		gone   bool
	}{
		{[]string{"exit 0"}, []int{0}, true},
		{[]string{"exit 1", "exit 1"}, []int{1, 1}, false},
		{[]string{"exit 1", "exit 1", "exit 1"}, []int{1, 1, 1}, true},
		{[]string{"exit 200", "exit 200", "exit 200", "exit 200"}, []int{200, 200, 200, 200}, false},
	} {
		t.Run(strings.Join(c.bodies, ","), func(t *testing.T) {
			t.Parallel()
			b := functionshost.NewBroker(0, 1)
			h := model(t, func(o *functionshost.Options) { o.Queues = b })
			for _, body := range c.bodies {
				b.Send("q", functionshost.Message{ID: body, Body: []byte(body)})
				drained(t, b)
			}
			if !c.gone {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := h.Wait(ctx, len(c.exits)+1); err != nil {
					t.Error(err)
				}
			}
			if exits := h.Exits(); !slices.Equal(exits, c.exits) {
				t.Errorf("exits %v", exits)
			}
			b.Send("q", functionshost.Message{ID: "last", Body: []byte("done")})
			drained(t, b)
			if letters := b.DeadLetters(); slices.ContainsFunc(letters, func(l functionshost.DeadLetter) bool { return l.ID == "last" }) != c.gone {
				t.Errorf("given up: %+v", letters)
			}
		})
	}
}

// TestModelKillsWhatHangs: a function whose time is up takes the process with it, and every other invocation there; the kill counts for
// nothing.
func TestModelKillsWhatHangs(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"stay then done", "nothing then done"} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			b := functionshost.NewBroker(0, 0)
			h := model(t, func(o *functionshost.Options) {
				o.Queues, o.FunctionTimeout, o.Hold = b, 2*time.Second, true
			})
			b.Send("q", functionshost.Message{ID: "hangs", Body: []byte(body)})
			drained(t, b)
			if exits := h.Exits(); !slices.Equal(exits, []int{-1}) || len(b.DeadLetters()) > 0 {
				t.Errorf("exits %v, given up %v", exits, b.DeadLetters())
			}
			problems(t, h, "did not end within")
		})
	}
}

// TestModelLockEnds: a run that goes on after its lock is no longer renewed does not keep its message: it is handed out again meanwhile.
func TestModelLockEnds(t *testing.T) {
	t.Parallel()
	b := functionshost.NewBroker(100*time.Millisecond, 0)
	var mu sync.Mutex
	sent := 0
	h := model(t, func(o *functionshost.Options) {
		o.Queues, o.LockRenewal = b, time.Millisecond
		o.Sent = func(functionshost.Invocation) { mu.Lock(); sent++; mu.Unlock() }
	})
	b.Send("q", functionshost.Message{ID: "m", Body: []byte("slow then done")})
	drained(t, b)
	if mu.Lock(); sent != 2 {
		t.Errorf("sent %d times", sent)
	}
	mu.Unlock()
	problems(t, h, "")
}

// TestModelRenewsLocks: as long as a lock is renewed, its message is handed out once.
func TestModelRenewsLocks(t *testing.T) {
	t.Parallel()
	b := functionshost.NewBroker(200*time.Millisecond, 0)
	var mu sync.Mutex
	sent := map[string]int{}
	model(t, func(o *functionshost.Options) {
		o.Queues = b
		o.Sent = func(in functionshost.Invocation) { mu.Lock(); sent[in.MessageID]++; mu.Unlock() }
		o.Lost = func(in functionshost.Invocation) bool {
			mu.Lock()
			defer mu.Unlock()
			return in.MessageID == "lost" && sent["lost"] == 1
		}
	})
	b.Send("q", functionshost.Message{ID: "m", Body: []byte("slow")})
	b.Send("q", functionshost.Message{ID: "lost", Body: []byte("done")})
	drained(t, b)
	if mu.Lock(); !maps.Equal(sent, map[string]int{"m": 1, "lost": 2}) {
		t.Errorf("sent %v", sent)
	}
	mu.Unlock()
}

// TestModelStart: a program that does not answer, or ends at once, is an error each time; the third ends the host.
func TestModelStart(t *testing.T) {
	t.Parallel()
	linux(t)
	for _, how := range []string{"exit at start", "deaf"} {
		o := functionshost.Options{Zip: packed(t, wellMade(), 0o755), Queues: functionshost.NewBroker(0, 0), Settings: settings(how), InitializationTimeout: 300 * time.Millisecond}
		h, err := functionshost.Start(t.Context(), o)
		if err == nil {
			_ = h.Stop(false)
		}
		if err == nil || !strings.Contains(err.Error(), "third time") {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// TestModelPassesHTTP: requests go through as they came, with the host's headers, and any answer comes back.
func TestModelPassesHTTP(t *testing.T) {
	t.Parallel()
	h := model(t, nil)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/a/%2Fb?x=1;y", bufio.NewReader(strings.NewReader("\x00\xffbody")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Own", "kept")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusTeapot || string(body) != "\x00\xffbody" || res.Header.Get("X-Saw") != "PUT /a/%2Fb?x=1;y kept" {
		t.Errorf("%d %q %q %v", res.StatusCode, body, res.Header.Get("X-Saw"), err)
	}
	if result := h.Tick("clock"); !result.OK {
		t.Errorf("the timer: %+v", result)
	}
	if result := h.Tick("work"); result.OK {
		t.Error("a queue's function ticked")
	}
	problems(t, h, "")
}

// TestModelDrains: with drain, what is under way ends; without, it dies.
func TestModelDrains(t *testing.T) {
	t.Parallel()
	linux(t)
	for _, drain := range []bool{true, false} {
		b := functionshost.NewBroker(0, 0)
		began := make(chan struct{}, 8)
		h, err := functionshost.Start(t.Context(), functionshost.Options{Zip: packed(t, wellMade(), 0o755), Queues: b, Settings: settings("obey"),
			Expected: func(string) bool { return true }, Sent: func(functionshost.Invocation) { began <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		b.Send("q", functionshost.Message{ID: "m", Body: []byte("slow")})
		<-began
		if err := h.Stop(drain); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err = b.Drained(ctx)
		cancel()
		if done := !errors.Is(err, context.DeadlineExceeded); done != drain {
			t.Errorf("drain %v: %v", drain, err)
		}
	}
}
