package aws

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

	"pinreset/shared/credential"
	"pinreset/shared/work/servicebus"
)

// served are the program's functions, and the queue that starts each; "" for a timer and for the one that answers requests. The files of
// Azure Functions say so, of which a test beside the program proves that they say what it serves.
func served(s *stack) map[string]string {
	const root = "../../functions"
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "function.json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file struct {
			Bindings []struct {
				QueueName string `json:"queueName"`
			} `json:"bindings"`
		}
		if err := json.Unmarshal(text, &file); err != nil || len(file.Bindings) == 0 {
			return fmt.Errorf("%s: %v", path, err)
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		found[strings.ReplaceAll(filepath.ToSlash(folder), "/", "-")] = file.Bindings[0].QueueName
		return err
	})
	if err != nil || len(found) < 10 {
		s.problem("functions: %d found, %v", len(found), err)
	}
	return found
}

var (
	readByName = regexp.MustCompile(`(?:value|duration)\("([A-Z_]+)"`)
	spelt      = regexp.MustCompile(`"PINRESET_([A-Z_]+)"`)
)

// settings are those that the program's source reads.
func settings(s *stack) map[string]bool {
	found := map[string]bool{}
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
			found["PINRESET_"+string(m[1])] = true
		}
	}
	if err != nil || len(found) < 20 {
		s.problem("settings: %d were found in the source, %v", len(found), err)
	}
	return found
}

// signsIn is the way of signing in that the template names.
const signsIn = "aws"

// checkSettings: each function's environment says which it is, and for the rest what all have. Everything in it is read by the
// program, and says what the template was given or has made.
func checkSettings(s *stack) {
	known := settings(s)
	topic := ""
	if s.given["ServiceBus"] != "" {
		topic = servicebus.AnnouncementTopic
	}
	want := map[string]any{
		"PINRESET_CREDENTIAL": signsIn, "PINRESET_LOG_LEVEL": "info",
		"PINRESET_CLIENT_ID": s.given["ClientId"], "PINRESET_PRIVILEGED_CLIENT_ID": s.given["PrivilegedClientId"], "PINRESET_SIGNIN_CLIENT_ID": s.given["SignInClientId"], "PINRESET_HOME_TENANT": s.given["HomeTenant"],
		"PINRESET_TABLES_URL": s.given["TablesUrl"], "PINRESET_KEY_VAULT_KEY": s.given["KeyVaultKey"], "PINRESET_PUBLIC_URL": s.given["PublicUrl"],
		"PINRESET_AUDIT_SCHEDULE": s.given["AuditSchedule"], "PINRESET_SQS_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/",
		"PINRESET_SNS_TOPIC":  "arn:aws:sns:eu-central-1:123456789012:" + fmt.Sprint(s.given["AWS::StackName"]) + "-announcements",
		"PINRESET_SERVICEBUS": s.given["ServiceBus"], "PINRESET_SERVICEBUS_TOPIC": topic,
	}
	for name := range want {
		if !known[name] {
			s.problem("nobody reads setting %s", name)
		}
	}
	functions := served(s)
	s.each("AWS::Serverless::Function", func(r resource) {
		variables, _ := r.at("Environment", "Variables").(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			if name == "PINRESET_FUNCTION" {
				continue
			}
			if value, wanted := want[name]; !wanted || variables[name] != value {
				s.problem("%s: setting %s is %v, want %v", r.id, name, variables[name], value)
			}
		}
		if _, ok := functions[fmt.Sprint(variables["PINRESET_FUNCTION"])]; !ok || len(variables) != len(want)+1 {
			s.problem("%s: %d settings; it is the function %v", r.id, len(variables), variables["PINRESET_FUNCTION"])
		}
	})
	if !known["PINRESET_FUNCTION"] {
		s.problem("nobody reads which function a Lambda is")
	}
}

// secretive are words that only a secret follows, or that only a reader of secrets has.
var secretive = regexp.MustCompile(`(?i)AccountKey|SharedAccessKey|SecretAccessKey|SecretString|NoEcho|resolve:(ssm|secretsmanager)|secretsmanager:|password|BEGIN [A-Z ]*PRIVATE|sig=`)

// checkSecrets: the template has no secret and asks for none.
func checkSecrets(s *stack) {
	for name, v := range map[string]any{"parameters": s.parameters, "resources": s.declared, "common": s.globals, "given": s.given} {
		text, err := json.Marshal(v)
		if found := secretive.Find(text); err != nil || found != nil {
			s.problem("%s have a place for a secret: %s (%v)", name, found, err)
		}
	}
}

// checkOutputs: what the operators' page asks for is put out.
func checkOutputs(s *stack) {
	for name, value := range map[string]string{
		"Url": "https://made.lambda-url.eu-central-1.on.aws/", "AnnouncementTopic": "arn:aws:sns:eu-central-1:123456789012:" + fmt.Sprint(s.given["AWS::StackName"]) + "-announcements",
		"Roles": "arn:aws:iam::123456789012:role/" + fmt.Sprint(s.given["AWS::StackName"]) + "-",
	} {
		if got := at(s.outputs, name, "Value"); got != value {
			s.problem("output %s is %v, want %s", name, got, value)
		}
	}
}

// TestReadme: the operators' page names every function, setting and parameter, and says what the program does not read yet.
func TestReadme(t *testing.T) {
	t.Parallel()
	page := string(read(t, "README.md"))
	s := environments(t, func(b []byte) []byte { return b })[0]
	var wanted []string
	for name := range served(s) {
		wanted = append(wanted, name)
	}
	wanted = slices.AppendSeq(wanted, maps.Keys(s.parameters))
	variables, _ := at(s.globals, "Function", "Environment", "Variables").(map[string]any)
	wanted = slices.AppendSeq(wanted, maps.Keys(variables))
	for _, name := range append(wanted, "PINRESET_FUNCTION") {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("README.md does not name %s", name)
		}
	}
	if !slices.Contains(credential.Ways, signsIn) {
		t.Errorf("the program does not know the way %s of signing in", signsIn)
	}
}
