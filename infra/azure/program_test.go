package azure

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
	"pinreset/shared/work/servicebus"
)

// binding is the part of a function.json that the template must agree with.
type binding struct {
	Type       string `json:"type"`
	QueueName  string `json:"queueName"`
	Connection string `json:"connection"`
}

// functionFiles reads every function.json of the program, by the name of the function. That they say what the program serves is
// proven beside the program.
func functionFiles(d *deployment) map[string]*binding {
	const root = "../../functions"
	found := map[string]*binding{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "function.json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file struct {
			Bindings []binding `json:"bindings"`
		}
		if err := json.Unmarshal(text, &file); err != nil || len(file.Bindings) == 0 {
			return fmt.Errorf("%s: %v", path, err)
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		found[strings.ReplaceAll(filepath.ToSlash(folder), "/", "-")] = &file.Bindings[0]
		return err
	})
	if err != nil || len(found) == 0 {
		d.problem("functions: %d found, %v", len(found), err)
	}
	return found
}

// checkEntities: the namespace has the queues and the topic that the program uses, with the settings that it relies on.
func checkEntities(d *deployment) {
	var queues []work.Queue
	for _, b := range functionFiles(d) {
		if b.Type == "serviceBusTrigger" {
			queues = append(queues, work.Queue(b.QueueName))
		}
	}
	wanted := servicebus.Entities(queues, servicebus.Options{Topics: map[work.Queue]string{work.Announcements: servicebus.AnnouncementTopic}})
	made := map[string]resource{}
	for _, r := range d.resources {
		_, name, _ := strings.Cut(r.name, "/")
		switch r.kind {
		case "Microsoft.ServiceBus/namespaces/queues":
			made["queue "+name] = r
		case "Microsoft.ServiceBus/namespaces/topics":
			made["topic "+name] = r
		}
	}
	for _, e := range wanted {
		r, ok := made[string(e.Kind)+" "+e.Name]
		if !ok {
			d.problem("%s %s is not in the template", e.Kind, e.Name)
			continue
		}
		delete(made, string(e.Kind)+" "+e.Name)
		d.lasts(r, e.TimeToLive, "defaultMessageTimeToLive")
		d.lasts(r, e.DuplicateWindow, "duplicateDetectionHistoryTimeWindow")
		d.want(r, true, "requiresDuplicateDetection")
		d.want(r, false, "enablePartitioning")
		if e.Kind == servicebus.KindQueue {
			d.lasts(r, e.LockDuration, "lockDuration")
			d.want(r, e.MaxDeliveries, "maxDeliveryCount")
			d.want(r, e.DeadLetterOnExpiry, "deadLetteringOnMessageExpiration")
			d.want(r, false, "requiresSession")
		}
	}
	for name := range made {
		d.problem("nobody serves %s", name)
	}
	// A subscription that nobody reads must not fill the topic, and with it stop the program: what is old is dropped.
	d.each("Microsoft.ServiceBus/namespaces/topics/subscriptions", func(r resource) { d.want(r, false, "deadLetteringOnMessageExpiration") })
	d.each("Microsoft.ServiceBus/namespaces/topics/subscriptions/rules", func(r resource) {
		d.want(r, events.TypePrefix+events.FailureRaised{}.Kind(), "correlationFilter", "label")
	})
}

// lasts holds a duration of ISO 8601 in days or minutes against the program's.
func (d *deployment) lasts(r resource, want time.Duration, name string) {
	text := fmt.Sprint(r.at("properties", name))
	var days, minutes int
	if _, err := fmt.Sscanf(text, "P%dD", &days); err != nil {
		_, err = fmt.Sscanf(text, "PT%dM", &minutes)
		if err != nil {
			d.problem("%s: %s is %q", r.id, name, text)
			return
		}
	}
	if got := time.Duration(days)*24*time.Hour + time.Duration(minutes)*time.Minute; got != want {
		d.problem("%s: %s is %s (lock, live, or memory of duplicates), the program relies on %s", r.id, name, got, want)
	}
}

var (
	readByName = regexp.MustCompile(`(?:value|duration)\("([A-Z_]+)"`)
	spelt      = regexp.MustCompile(`"PINRESET_([A-Z_]+)"`)
)

// read are the settings that the program's source reads, without the prefix that all have.
func read(d *deployment) map[string]bool {
	names := map[string]bool{}
	files, err := filepath.Glob("../../functions/*.go")
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		var text []byte
		if text, err = os.ReadFile(name); err != nil {
			break
		}
		for _, m := range slices.Concat(readByName.FindAllSubmatch(text, -1), spelt.FindAllSubmatch(text, -1)) {
			names["PINRESET_"+string(m[1])] = true
		}
	}
	if err != nil || len(names) < 20 {
		d.problem("settings: %d were found in the source, %v", len(names), err)
	}
	return names
}

// ahead are settings of the services that the template makes, and that the program does not read yet. One that it reads must
// leave this list.
var ahead []string

// checkSettings: the app's settings are those that the program and the host read, and say what the template has made.
func checkSettings(d *deployment) {
	known := read(d)
	for _, name := range ahead {
		if known[name] {
			d.problem("%s is read by the program now: it is not ahead of it", name)
		}
		known[name] = true
	}
	set := map[string]string{}
	d.each("Microsoft.Web/sites", func(r resource) {
		for _, s := range asList(r.at("properties", "siteConfig", "appSettings")) {
			name := asText(member(s, "name"))
			if _, twice := set[name]; twice {
				d.problem("setting %s is there twice", name)
			}
			set[name] = asText(member(s, "value"))
		}
	})
	bus, client := asText(d.variable("serviceBus"))+".servicebus.windows.net", "client-of-"+asText(d.variable("identity"))
	want := map[string]string{
		"PINRESET_CREDENTIAL": "managed-identity", "PINRESET_IDENTITY_CLIENT_ID": client, "PINRESET_LOG_LEVEL": "info",
		"PINRESET_CLIENT_ID": asText(d.parameter("clientId")), "PINRESET_PRIVILEGED_CLIENT_ID": asText(d.parameter("privilegedClientId")),
		"PINRESET_SIGNIN_CLIENT_ID": asText(d.parameter("signInClientId")),
		"PINRESET_SERVICEBUS":       bus, "PINRESET_SERVICEBUS_TOPIC": servicebus.AnnouncementTopic, "PINRESET_TABLES_URL": "https://" + asText(d.variable("dataStorage")) + ".table.core.windows.net/",
		"PINRESET_KEY_VAULT_KEY": "https://" + asText(d.variable("vault")) + ".vault.azure.net/keys/" + asText(d.variable("key")),
		"PINRESET_PUBLIC_URL":    asText(d.parameter("publicUrl")), "PINRESET_AUDIT_SCHEDULE": asText(d.parameter("auditSchedule")),
		"AzureWebJobsStorage__accountName": asText(d.variable("hostStorage")),
	}
	connections := []string{"AzureWebJobsStorage"}
	for _, b := range functionFiles(d) {
		if b.Connection != "" && !slices.Contains(connections, b.Connection) {
			connections = append(connections, b.Connection)
			want[b.Connection+"__fullyQualifiedNamespace"] = bus
		}
	}
	for _, c := range connections {
		want[c+"__credential"], want[c+"__clientId"] = "managedidentity", client
		if _, wins := set[c]; wins {
			d.problem("%s is set: it wins over the identity", c)
		}
	}
	for output, setting := range map[string]string{"serviceBus": "PINRESET_SERVICEBUS", "tablesUrl": "PINRESET_TABLES_URL",
		"keyVaultKey": "PINRESET_KEY_VAULT_KEY", "identityClientId": "PINRESET_IDENTITY_CLIENT_ID", "functionApp": "", "url": "", "identityPrincipalId": "", "workbook": ""} {
		if v, ok := d.values[output]; !ok || setting != "" && v != want[setting] {
			d.problem("output %s is %v, want %q", output, v, want[setting])
		}
	}
	for name, value := range want {
		if got, ok := set[name]; !ok || got != value {
			d.problem("setting %s is %q, want %q", name, got, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if strings.HasPrefix(name, "PINRESET_") && !known[name] {
			d.problem("nobody reads setting %s", name)
		}
	}
	// functionAppConfig is in their place on Flex Consumption, which refuses them.
	for _, name := range []string{"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"} {
		if _, ok := set[name]; ok {
			d.problem("setting %s is not for this plan", name)
		}
	}
}

// TestReadme: the operators' page names every setting, function, role and alert, and what the program does not read yet.
func TestReadme(t *testing.T) {
	t.Parallel()
	page := string(file(t, "README.md"))
	all := environments(t, func(b []byte) []byte { return b })
	has := func(what, name string) {
		if !strings.Contains(page, name) {
			t.Errorf("README.md does not name %s %s", what, name)
		}
	}
	all[0].each("Microsoft.Web/sites", func(r resource) {
		for _, s := range asList(r.at("properties", "siteConfig", "appSettings")) {
			has("setting", "`"+asText(member(s, "name"))+"`")
		}
	})
	for name := range functionFiles(all[0]) {
		has("function", "`"+name+"`")
	}
	for _, role := range roles {
		has("role", role.name)
	}
	const sentence = "The program does not read these settings yet: "
	if says := strings.Contains(page, sentence+strings.Join(ahead, ", ")+"."); says != (len(ahead) > 0) || len(ahead) == 0 && strings.Contains(page, sentence) {
		t.Errorf("README.md says of settings that are not read: %t", says)
	}
}
