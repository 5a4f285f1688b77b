package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pinreset/shared/awsapi"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/tables/tablestest"
)

// polled is what the platform's pollers see of the model of SQS.
type polled struct{ queues *sqs.Queues }

func (p polled) Receive(ctx context.Context, queue string, limit int) ([]lambdahost.Record, error) {
	got, err := p.queues.Receive(ctx, work.Queue(queue), limit)
	if errors.Is(err, context.Canceled) {
		return nil, nil
	}
	var records []lambdahost.Record
	for _, r := range got {
		records = append(records, lambdahost.Record{ID: r.Token, Handle: r.Token, Attributes: r.Attributes, Body: string(r.Body), Deliveries: r.Deliveries})
	}
	return records, err
}

func (p polled) Delete(ctx context.Context, queue, handle string) error {
	return p.queues.Complete(ctx, work.Queue(queue), handle)
}

// TestModelSQS: the program with rows in Table storage (Azurite) and messages on the model of SQS. Each reset is made once, though the
// process is killed on the way.
func TestModelSQS(t *testing.T) {
	t.Parallel()
	names := []work.Queue{"announcement", "audit", "audit-bulk", "bulkreset-bulk", "consent", "device-report", "housekeeping-bulk", "notification", "passcode-reset", "passcode-reset-bulk", "policy", "portalaction-bulk", "subscription-bulk"}
	var c sqstest.Config
	for _, name := range names {
		dead := string(name) + sqs.DeadSuffix
		c.Queues = append(c.Queues, sqstest.Queue{Name: string(name), DeadLetter: dead, MaxReceives: 50}, sqstest.Queue{Name: dead})
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
	queues, err := sqs.Open(sqs.Options{URL: server.URL(), Account: awsapi.Open(awsapi.Account{Region: sqstest.Region,
		Credentials: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret"}, nil
		}}), Visibility: visibility})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var pollers sync.WaitGroup
	for _, name := range names {
		pollers.Go(func() { d.function.Poll(ctx, polled{queues}, lambdahost.Mapping{Queue: string(name)}) })
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
