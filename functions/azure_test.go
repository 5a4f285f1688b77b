package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/functions/tenantaudit"
	"pinreset/shared/host/azure"
	"pinreset/shared/work"
)

// binding is one of a function.json, whose members the test knows all.
type binding struct {
	Type        string `json:"type"`
	Direction   string `json:"direction"`
	Name        string `json:"name"`
	QueueName   string `json:"queueName"`
	Connection  string `json:"connection"`
	DataType    string `json:"dataType"`
	Cardinality string `json:"cardinality"`
	Schedule    string `json:"schedule"`
	AuthLevel   string `json:"authLevel"`
	Route       string `json:"route"`
}

// functionFiles reads every function.json, by the name that packaging gives its folder: that of the path with "-" for "/".
func functionFiles(t *testing.T) map[string][]binding {
	t.Helper()
	found := map[string][]binding{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "function.json" {
			return err
		}
		var file struct {
			Bindings []binding `json:"bindings"`
		}
		decode(t, path, &file)
		found[strings.ReplaceAll(filepath.ToSlash(filepath.Dir(path)), "/", "-")] = file.Bindings
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// wantedBindings are what the functions' files must say: a trigger for every queue that is served, the timers, and HTTP.
func wantedBindings(triggers map[string]work.Queue) map[string][]binding {
	want := map[string][]binding{
		housekeepingTimer: {{Type: "timerTrigger", Direction: "in", Name: "timer", Schedule: "0 * * * * *"}},
		auditTimer:        {{Type: "timerTrigger", Direction: "in", Name: "timer", Schedule: "30 * * * * *"}},
		httpFunction: {{Type: "httpTrigger", Direction: "in", Name: "request", AuthLevel: "anonymous", Route: "{*path}"},
			{Type: "http", Direction: "out", Name: "response"}},
	}
	for name, queue := range triggers {
		// As bytes: members of a message that came as text would overwrite the metadata. One at a time: a batch is settled as a whole.
		want[name] = []binding{{Type: "serviceBusTrigger", Direction: "in", Name: "message", QueueName: string(queue), Connection: "SB", DataType: "binary", Cardinality: "one"}}
	}
	return want
}

// TestFunctionFilesAgree: the routes, the queues that are served, and the files by which the Functions host calls are one table.
func TestFunctionFilesAgree(t *testing.T) {
	t.Parallel()
	table := routes(needs{pace: defaultPace, metrics: newMetrics(nil, nil)})
	named := triggers(table)
	found, want := functionFiles(t), wantedBindings(named)
	for name, bindings := range want {
		if !slices.Equal(found[name], bindings) {
			t.Errorf("function %s has %+v\nwant %+v", name, found[name], bindings)
		}
	}
	for name := range found {
		if want[name] == nil {
			t.Errorf("nothing serves function %s", name)
		}
	}
	served := slices.Sorted(maps.Values(named))
	for _, q := range queues {
		if !slices.Contains(served, q.Name) {
			t.Errorf("queue %s has no function", q.Name)
		}
	}
	if len(served) != len(queues) {
		t.Errorf("%d functions serve %d queues", len(served), len(queues))
	}
	for _, r := range table {
		if _, ok := named[r.Function]; !ok {
			t.Errorf("%s has no function.json beside its handler", r.Function)
		}
	}
	for name, bindings := range found {
		if s := bindings[0].Schedule; s != "" {
			if _, err := tenantaudit.ParseCron(s); err != nil {
				t.Errorf("function %s: %v", name, err)
			}
		}
	}
}

// TestHostFile: host.json says what package azure relies on, and no invocation outlives what it allows.
func TestHostFile(t *testing.T) {
	t.Parallel()
	var file struct {
		Version         string `json:"version"`
		FunctionTimeout string `json:"functionTimeout"`
		ExtensionBundle struct {
			ID      string `json:"id"`
			Version string `json:"version"`
		} `json:"extensionBundle"`
		CustomHandler struct {
			Description struct {
				DefaultExecutablePath string `json:"defaultExecutablePath"`
			} `json:"description"`
			EnableProxyingHTTPRequest bool   `json:"enableProxyingHttpRequest"`
			InitializationTimeout     string `json:"initializationTimeout"`
		} `json:"customHandler"`
		Extensions struct {
			HTTP struct {
				RoutePrefix *string `json:"routePrefix"`
			} `json:"http"`
			ServiceBus struct {
				AutoCompleteMessages       bool   `json:"autoCompleteMessages"`
				PrefetchCount              int    `json:"prefetchCount"`
				MaxConcurrentCalls         int    `json:"maxConcurrentCalls"`
				MaxAutoLockRenewalDuration string `json:"maxAutoLockRenewalDuration"`
			} `json:"serviceBus"`
		} `json:"extensions"`
	}
	decode(t, "../host.json", &file)
	if file.Version != "2.0" || file.CustomHandler.Description.DefaultExecutablePath != "pinreset" || !file.CustomHandler.EnableProxyingHTTPRequest {
		t.Errorf("the custom handler is %+v", file.CustomHandler)
	}
	if p := file.Extensions.HTTP.RoutePrefix; p == nil || *p != "" {
		t.Error("paths would have a prefix that they have nowhere else")
	}
	bus := file.Extensions.ServiceBus
	if !bus.AutoCompleteMessages || bus.PrefetchCount != 0 || bus.MaxConcurrentCalls < 1 {
		t.Errorf("Service Bus: %+v", bus)
	}
	for name, text := range map[string]string{"functionTimeout": file.FunctionTimeout, "maxAutoLockRenewalDuration": bus.MaxAutoLockRenewalDuration} {
		at, err := time.Parse(time.TimeOnly, text)
		if limit := at.Sub(at.Truncate(24 * time.Hour)); err != nil || limit < azure.DefaultDeadline+time.Minute {
			t.Errorf("%s is %q, an invocation may take %s: %v", name, text, azure.DefaultDeadline, err)
		}
	}
	if _, err := time.Parse(time.TimeOnly, file.CustomHandler.InitializationTimeout); err != nil {
		t.Error(err)
	}
}

// TestAzureConfig: what only a machine of one's own can do is refused under the Functions host, all of it at once.
func TestAzureConfig(t *testing.T) {
	t.Parallel()
	settings := map[string]string{}
	_, err := azureConfig(func(name string) string { return settings[name] })
	for _, want := range []string{"PINRESET_DATA", "PINRESET_CLIENT_ID", "PINRESET_PUBLIC_URL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a word of %s", err, want)
		}
	}
	settings = map[string]string{"PINRESET_DATA": "/mnt/data", "PINRESET_SIM_AT": "/mnt/sim", "WEBSITE_HOSTNAME": "pinreset.azurewebsites.net"}
	if c, err := azureConfig(func(name string) string { return settings[name] }); err != nil || c.PublicURL != "https://pinreset.azurewebsites.net" {
		t.Errorf("%q, %v", c.PublicURL, err)
	}
}

// TestAzureConfigWithServices: rows and messages that are in Azure's services need no directory, and no token goes to an instance's disk.
func TestAzureConfigWithServices(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"PINRESET_SIM_AT": "/mnt/sim", "WEBSITE_HOSTNAME": "pinreset.azurewebsites.net",
		"PINRESET_TABLES_CONNECTION_FILE": "a", "PINRESET_SERVICEBUS_CONNECTION_FILE": "b", "PINRESET_ROOT_KEY_FILE": "c"}
	for _, data := range []string{"", "/mnt/data"} {
		settings["PINRESET_DATA"] = data
		if c, err := azureConfig(func(name string) string { return settings[name] }); err != nil || c.Data != data {
			t.Errorf("the data directory is %q, want %q: %v", c.Data, data, err)
		}
	}
}

// TestHostByEnvironment: the host's own variable chooses, and a command that is given comes first.
func TestHostByEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environment []string
		args        []string
		exit        int
		says        string
	}{
		{[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "FUNCTIONS_CUSTOMHANDLER_PORT=1"}, nil, 1, "PINRESET_TABLES_URL is missing"},
		{[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=nope"}, nil, 1, "listen for the Functions host"},
		{[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=0"}, nil, 1, "PINRESET_DATA must name a directory"},
		{[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=0"}, []string{"version"}, 0, ""},
		{nil, nil, 0, ""}, // the help
	} {
		got := runBinary(t, c.environment, nil, c.args...)
		if got.exit != c.exit || !strings.Contains(got.err, c.says) || c.exit != 0 && got.out != "" {
			t.Errorf("%v %v: exit %d, %q, %q", c.environment, c.args, got.exit, got.out, got.err)
		}
	}
}
