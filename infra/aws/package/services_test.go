package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pinreset/shared/awsapi"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/tables/tablestest"
)

// account is who calls the model of SQS.
func account() *awsapi.Account {
	return awsapi.Open(awsapi.Account{Region: sqstest.Region, Credentials: func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret"}, nil
	}})
}

// TestModelSQS: the program with rows in Table storage (Azurite) and messages on the model of SQS. Each reset is made once, though the
// process is killed on the way.
func TestModelSQS(t *testing.T) {
	t.Parallel()
	names := []work.Queue{"announcement", "audit", "audit-bulk", "bulkreset-bulk", "consent", "device-report", "housekeeping-bulk", "notification", "passcode-reset", "passcode-reset-bulk", "policy", "portalaction-bulk", "subscription-bulk"}
	var c sqstest.Config
	for _, name := range names {
		dead := string(name) + sqs.DeadSuffix
		c.Queues = append(c.Queues, sqstest.Queue{Name: string(name), Visibility: visibility, DeadLetter: dead, MaxReceives: 50}, sqstest.Queue{Name: dead})
	}
	server := sqstest.New(t, c)
	connection := filepath.Join(t.TempDir(), "connection")
	if err := os.WriteFile(connection, []byte(tablestest.Emulator(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	d := deploy(t, func(o *lambdahost.Options) {
		o.Settings["PINRESET_TABLES_CONNECTION_FILE"] = connection
		o.Settings["PINRESET_ROOT_KEY_FILE"] = filepath.Join(filepath.Dir(connection), "root-key")
		o.Settings["PINRESET_SQS_URL"] = server.URL()
		o.Settings["AWS_REGION"] = sqstest.Region
		o.Settings["AWS_ACCESS_KEY_ID"], o.Settings["AWS_SECRET_ACCESS_KEY"] = "AKIAEXAMPLE", "secret"
	})
	from := lambdahost.SQS{Account: account(), Endpoint: server.Endpoint() + "/", URL: server.URL()}
	ctx, cancel := context.WithCancel(context.Background())
	var pollers sync.WaitGroup
	for _, name := range names {
		pollers.Go(func() { d.function.Poll(ctx, from, lambdahost.Mapping{Queue: string(name)}) })
	}
	t.Cleanup(func() { cancel(); pollers.Wait() })
	d.signIn()
	devices := d.onboard()
	r, _, err := d.api.StartReset(t.Context(), graphsim.Contoso, devices["sales-pixel-12"], "forgot it", "")
	if err != nil {
		t.Fatal(err)
	}
	d.function.Kill()
	if ended := d.ended(r.ID); ended.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", ended.State, ended.FailureCode, d.resets("sales-pixel-12"))
	}
	if server.Calls("SendMessageBatch") == 0 || server.Calls("DeleteMessage") == 0 {
		t.Error("no message went by SQS")
	}
}

// TestModelSQSWithOneFunctionsRole: a Lambda that is one function starts with a role that may look at its own queue and at no other, says
// so when that queue is missing, and a timer's role may look at none.
func TestModelSQSWithOneFunctionsRole(t *testing.T) {
	t.Parallel()
	closed := []string{"GetQueueAttributes"}
	for _, test := range []struct {
		function, missing string
		starts            bool
	}{{"housekeeping-timer", "", true}, {"consent", "", true}, {"consent", "consent", false}} {
		t.Run(test.function+" without "+test.missing, func(t *testing.T) {
			t.Parallel()
			var c sqstest.Config
			for _, name := range []string{"announcement", "audit", "audit-bulk", "bulkreset-bulk", "consent", "device-report", "housekeeping-bulk", "passcode-reset", "passcode-reset-bulk", "policy", "portalaction-bulk", "subscription-bulk"} {
				own := sqstest.Queue{Name: name, DeadLetter: name + sqs.DeadSuffix, MaxReceives: 50, Forbidden: closed}
				if name == test.function {
					own.Forbidden = nil
				}
				if name != test.missing {
					c.Queues = append(c.Queues, own)
				}
				c.Queues = append(c.Queues, sqstest.Queue{Name: name + sqs.DeadSuffix, Forbidden: closed})
			}
			server := sqstest.New(t, c)
			connection := filepath.Join(t.TempDir(), "connection")
			if err := os.WriteFile(connection, []byte(tablestest.Emulator(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			d := deploy(t, func(o *lambdahost.Options) {
				o.Settings["PINRESET_FUNCTION"] = test.function
				o.Settings["PINRESET_TABLES_CONNECTION_FILE"] = connection
				o.Settings["PINRESET_ROOT_KEY_FILE"] = filepath.Join(filepath.Dir(connection), "root-key")
				o.Settings["PINRESET_SQS_URL"] = server.URL()
				o.Settings["AWS_REGION"] = sqstest.Region
				o.Settings["AWS_ACCESS_KEY_ID"], o.Settings["AWS_SECRET_ACCESS_KEY"] = "AKIAEXAMPLE", "secret"
			})
			payload := lambdahost.Event(test.function, []lambdahost.Record{{ID: "1", Handle: "1", Body: "{}", Deliveries: 1, Attributes: map[string]string{
				outbox.AttributePartition: "nobody", outbox.AttributeMessage: "done-long-ago", outbox.AttributeAttempt: "1"}}})
			if test.function == "housekeeping-timer" {
				payload = []byte(`{"schedule":"housekeeping-timer"}`)
			}
			result, err := d.function.Invoke(t.Context(), payload)
			if err != nil {
				t.Fatal(err)
			}
			if said := string(result.Payload); test.starts == (result.Failed || strings.Contains(said, "itemIdentifier")) || !test.starts && !strings.Contains(said, "queues of SQS: look at consent: does not exist") {
				t.Errorf("failed %v, %s: %s", result.Failed, result.Reason, said)
			}
		})
	}
}
