package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pinreset/functions/passcodereset"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/awsapi"
	"pinreset/shared/credential"
)

// config is everything that can be configured. Flags of `up` win over environment variables; secrets are named by file and
// are never in a variable or a flag.
type config struct {
	Listen    string // PINRESET_LISTEN: host:port of the API and the pages
	Data      string // PINRESET_DATA: directory of the store, the keys and the administrator's token
	PublicURL string // PINRESET_PUBLIC_URL: how browsers reach this server; consent callbacks return there
	LogLevel  string // PINRESET_LOG_LEVEL: debug, info, warn or error
	// TraceTo is where an OpenTelemetry collector listens for OTLP over HTTP: OTEL_EXPORTER_OTLP_ENDPOINT, such as
	// http://localhost:4318. "" traces nothing. OpenTelemetry's own variables of sampling and batching hold where this one is set.
	TraceTo      string
	TraceHeaders http.Header // OTEL_EXPORTER_OTLP_HEADERS: name=value,… sent with the spans, such as the collector's key

	// The tenant side. Without a client id, `up` starts a simulated cloud and fills these in.
	Graph                string // PINRESET_GRAPH: https://graph.microsoft.com, or a national cloud's
	Authority            string // PINRESET_AUTHORITY: https://login.microsoftonline.com, or a national cloud's
	MicrosoftConsent     string // PINRESET_MICROSOFT_CONSENT: https://login.windows.net, where Microsoft's page sends administrators
	ClientID             string // PINRESET_CLIENT_ID: application (client) id of pinreset's registration
	ClientSecretFile     string // PINRESET_CLIENT_SECRET_FILE
	PrivilegedClientID   string // PINRESET_PRIVILEGED_CLIENT_ID: the second registration, which alone may reset passcodes; "" uses the first
	PrivilegedSecretFile string // PINRESET_PRIVILEGED_SECRET_FILE

	// How people sign in to the pages: with Microsoft Entra ID, through a registration of its own. Without one, with tokens alone.
	SignInClientID   string   // PINRESET_SIGNIN_CLIENT_ID: the registration's application (client) id
	SignInSecretFile string   // PINRESET_SIGNIN_CLIENT_SECRET_FILE
	SignInClients    []string // PINRESET_SIGNIN_CLIENTS: client ids, with commas between them, of the programs that may call the API for people

	// How it signs in, to customers' tenants and to Azure services.
	Credential        credential.Way // PINRESET_CREDENTIAL: secret, managed-identity, workload-identity, client-assertion, aws or developer
	IdentityClientID  string         // PINRESET_IDENTITY_CLIENT_ID: client id of the user-assigned managed identity
	AssertionFile     string         // PINRESET_ASSERTION_FILE: with the token that proves who pinreset is, read again for each use
	WorkloadTokenFile string         // AZURE_FEDERATED_TOKEN_FILE: set by Kubernetes' workload identity webhook
	HomeTenant        string         // PINRESET_HOME_TENANT: id of the tenant that the Azure services belong to
	KeyVaultKey       string         // PINRESET_KEY_VAULT_KEY: https://NAME.vault.azure.net/keys/KEY, which wraps the key-encryption keys; "" uses a file

	// Where rows and messages are: both in Azure's services, which several processes share, or with "" in the data directory. An emulator
	// is named by a connection string in a file, because it holds a key.
	TablesURL                string // PINRESET_TABLES_URL: https://ACCOUNT.table.core.windows.net
	TablesConnectionFile     string // PINRESET_TABLES_CONNECTION_FILE
	ServiceBus               string // PINRESET_SERVICEBUS: NAME.servicebus.windows.net
	ServiceBusConnectionFile string // PINRESET_SERVICEBUS_CONNECTION_FILE
	SQSURL                   string // PINRESET_SQS_URL: https://sqs.REGION.amazonaws.com/ACCOUNT/PREFIX, in place of Service Bus
	QueuesLater              bool   // the queues of SQS are looked at when it is known which of them this process takes from
	SNSTopic                 string // PINRESET_SNS_TOPIC: ARN of the topic that gets a copy of each announcement with SQS; "" sends none
	ServiceBusTopic          string // PINRESET_SERVICEBUS_TOPIC: the topic that gets a copy of each announcement, such as a failure; "" sends none
	RootKeyFile              string // PINRESET_ROOT_KEY_FILE: wraps the key-encryption keys in place of KeyVaultKey; the same for all processes

	// AWS is how AWS is called where the settings name something of it: AWS_REGION, AWS_ACCESS_KEY_ID and their like, which Lambda sets.
	AWS *awsapi.Account

	// How long a reset whose call got no clear answer looks for a trace of it at the device. Microsoft publishes no bound for
	// either, so whoever knows a tenant to be slow or quick says so.
	CallAgainAfter time.Duration // PINRESET_CALL_AGAIN_AFTER: Graph throttled the call: 5s to 1h, then it is made again
	GiveUpAfter    time.Duration // PINRESET_GIVE_UP_AFTER: the answer was lost: 10s to 24h, then a person decides

	// AuditSchedule says when every tenant is audited: PINRESET_AUDIT_SCHEDULE, six fields as in Azure Functions, in UTC.
	AuditSchedule tenantaudit.Cron

	// The server that mail of notifications is handed to; without one none is sent.
	SMTP             string // PINRESET_SMTP: host:port; TLS from the start on 465, else STARTTLS
	SMTPFrom         string // PINRESET_SMTP_FROM: mail address of the sender
	SMTPUsername     string // PINRESET_SMTP_USERNAME; "" signs in to nothing
	SMTPPasswordFile string // PINRESET_SMTP_PASSWORD_FILE

	// The simulated cloud.
	SimData   string // PINRESET_SIM_DATA: its own directory, beside the data directory and never in it
	SimListen string // PINRESET_SIM_LISTEN: https host:port for tokens and Graph
	SimPages  string // PINRESET_SIM_PAGES: http host:port for people's pages
	SimAt     string // PINRESET_SIM_AT: directory of a simulated cloud that runs already, in place of starting one
	NoSample  bool   // PINRESET_NO_SAMPLE: don't register the sample tenant at the first start
}

// Defaults that the command line's clients share with the server.
const defaultListen = "127.0.0.1:8080"

var defaultData = filepath.Join(".pinreset", "data")

// loadConfig reads the environment and reports every mistake at once.
func loadConfig(getenv func(string) string) (config, error) {
	value := func(name, otherwise string) string {
		if v := getenv("PINRESET_" + name); v != "" {
			return v
		}
		return otherwise
	}
	var problems []error
	duration := func(name string, otherwise, least, most time.Duration) time.Duration {
		d, err := time.ParseDuration(value(name, otherwise.String()))
		if err != nil || d < least || d > most {
			problems = append(problems, fmt.Errorf("PINRESET_%s must be a time from %s to %s, such as 90s, not %q", name, least, most, value(name, "")))
		}
		return d
	}
	schedule, err := tenantaudit.ParseCron(value("AUDIT_SCHEDULE", tenantaudit.DefaultCron))
	if err != nil {
		problems = append(problems, fmt.Errorf("PINRESET_AUDIT_SCHEDULE: %w", err))
	}
	headers, err := traceHeaders(getenv("OTEL_EXPORTER_OTLP_HEADERS"))
	if err != nil {
		problems = append(problems, err)
	}
	c := config{
		TraceHeaders:  headers,
		AuditSchedule: schedule,
		Listen:        value("LISTEN", defaultListen),
		Data:          value("DATA", defaultData),
		PublicURL:     strings.TrimSuffix(value("PUBLIC_URL", ""), "/"),
		LogLevel:      value("LOG_LEVEL", "warn"),
		TraceTo:       strings.TrimSuffix(getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "/"),

		Graph:                strings.TrimSuffix(value("GRAPH", "https://graph.microsoft.com"), "/"),
		Authority:            strings.TrimSuffix(value("AUTHORITY", "https://login.microsoftonline.com"), "/"),
		MicrosoftConsent:     strings.TrimSuffix(value("MICROSOFT_CONSENT", "https://login.windows.net"), "/"),
		ClientID:             value("CLIENT_ID", ""),
		ClientSecretFile:     value("CLIENT_SECRET_FILE", ""),
		PrivilegedClientID:   value("PRIVILEGED_CLIENT_ID", ""),
		PrivilegedSecretFile: value("PRIVILEGED_SECRET_FILE", ""),
		SignInClientID:       value("SIGNIN_CLIENT_ID", ""),
		SignInSecretFile:     value("SIGNIN_CLIENT_SECRET_FILE", ""),
		SignInClients:        strings.FieldsFunc(value("SIGNIN_CLIENTS", ""), func(r rune) bool { return r == ',' || r == ' ' }),
		Credential:           credential.Way(value("CREDENTIAL", string(credential.Secret))),
		IdentityClientID:     value("IDENTITY_CLIENT_ID", ""),
		AssertionFile:        value("ASSERTION_FILE", ""),
		WorkloadTokenFile:    getenv("AZURE_FEDERATED_TOKEN_FILE"),
		HomeTenant:           value("HOME_TENANT", ""),
		KeyVaultKey:          value("KEY_VAULT_KEY", ""),

		TablesURL:                strings.TrimSuffix(value("TABLES_URL", ""), "/"),
		TablesConnectionFile:     value("TABLES_CONNECTION_FILE", ""),
		ServiceBus:               value("SERVICEBUS", ""),
		ServiceBusConnectionFile: value("SERVICEBUS_CONNECTION_FILE", ""),
		SQSURL:                   value("SQS_URL", ""),
		SNSTopic:                 value("SNS_TOPIC", ""),
		AWS: awsapi.Open(awsapi.Account{Region: getenv("AWS_REGION"), Credentials: awsapi.Environment(getenv), Endpoints: map[string]string{
			"sts": getenv("AWS_ENDPOINT_URL_STS"), "sns": getenv("AWS_ENDPOINT_URL_SNS")}}),
		ServiceBusTopic: value("SERVICEBUS_TOPIC", ""),
		RootKeyFile:     value("ROOT_KEY_FILE", ""),

		CallAgainAfter: duration("CALL_AGAIN_AFTER", passcodereset.DefaultSchedule.Trace, 5*time.Second, time.Hour),
		GiveUpAfter:    duration("GIVE_UP_AFTER", passcodereset.DefaultSchedule.Lost, 10*time.Second, 24*time.Hour),

		SMTP:             value("SMTP", ""),
		SMTPFrom:         value("SMTP_FROM", ""),
		SMTPUsername:     value("SMTP_USERNAME", ""),
		SMTPPasswordFile: value("SMTP_PASSWORD_FILE", ""),

		SimData:   value("SIM_DATA", ""),
		SimAt:     value("SIM_AT", ""),
		SimListen: value("SIM_LISTEN", "127.0.0.1:8443"),
		SimPages:  value("SIM_PAGES", "127.0.0.1:8081"),
		NoSample:  value("NO_SAMPLE", "") != "",
	}
	return c, errors.Join(append(problems, c.validate())...)
}

// traceHeaders reads name=value pairs, values in percent encoding, as the page "OpenTelemetry Protocol Exporter" has them. Its error
// names no value, which may be a key.
func traceHeaders(text string) (http.Header, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil //nolint:nilnil // none
	}
	headers := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || name == "" || strings.ContainsAny(name, " \t\r\n:") || err != nil || strings.ContainsAny(value, "\r\n") {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value, values in percent encoding")
		}
		headers.Set(name, value)
	}
	return headers, nil
}

func (c config) validate() error {
	var problems []error
	problem := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("PINRESET_%s %s", name, fmt.Sprintf(format, args...)))
	}
	for _, a := range []struct{ name, value string }{
		{"GRAPH", c.Graph}, {"AUTHORITY", c.Authority}, {"MICROSOFT_CONSENT", c.MicrosoftConsent},
	} {
		if u, err := url.Parse(a.value); err != nil || u.Scheme != "https" || u.Host == "" {
			problem(a.name, "must be an https address, not %q", a.value)
		}
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		problem("PUBLIC_URL", "must be an http or https address, not %q", c.PublicURL)
	}
	if u, err := url.Parse(c.TraceTo); c.TraceTo != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		problems = append(problems, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address, without a password or a query")) // which it may hold
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		problem("LISTEN", "must be host:port, not %q", c.Listen)
	}
	if _, err := c.level(); err != nil {
		problem("LOG_LEVEL", "must be debug, info, warn or error, not %q", c.LogLevel)
	}
	c.signInProblems(problem)
	c.credentialProblems(problem)
	c.serviceProblems(problem)
	c.mailProblems(problem)
	return errors.Join(problems...)
}

func (c config) level() (slog.Level, error) {
	var l slog.Level
	return l, l.UnmarshalText([]byte(c.LogLevel))
}

// pace is the default one with what was configured of it.
func (c config) pace() pace {
	p := defaultPace
	p.reset.Trace, p.reset.Lost = c.CallAgainAfter, c.GiveUpAfter
	return p
}

// simulated reports whether the tenant side is the simulated cloud.
func (c config) simulated() bool { return c.ClientID == "" }

func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if s := strings.TrimSpace(string(data)); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("secret file %s is empty", path)
}
