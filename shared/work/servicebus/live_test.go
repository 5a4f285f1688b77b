package servicebus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus/admin"

	"pinreset/shared/work"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
	"pinreset/shared/work/worktest"
)

// liveLock is the shortest lock that the service offers ("Message transfers, locks, and settlement").
const liveLock = 5 * time.Second

// TestConformanceLive runs the suite on the namespace that PINRESET_TEST_SERVICEBUS names: a connection string with the right to
// manage, or a host name for which the default credential has that right. Rows are where PINRESET_TEST_TABLES says. Each
// test makes two queues of its own and deletes them.
func TestConformanceLive(t *testing.T) {
	t.Parallel()
	named := os.Getenv("PINRESET_TEST_SERVICEBUS")
	if named == "" {
		t.Skip("PINRESET_TEST_SERVICEBUS names no namespace to run on")
	}
	o, manager := live(t, named)
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		o := o
		o.Prefix = "pinresettest-" + strings.ToLower(rand.Text()) + "-"
		makeQueues(t, manager, o)
		b := outboxOver(t, tablestest.Open(t, tables.Options{}), o)
		b.Lease, b.Skew = liveLock, time.Second
		return b
	})
}

func live(t *testing.T, named string) (Options, *admin.Client) {
	t.Helper()
	if strings.HasPrefix(named, "Endpoint=") {
		manager, err := admin.NewClientFromConnectionString(named, nil)
		if err != nil {
			t.Fatal("the connection string in PINRESET_TEST_SERVICEBUS can't be read")
		}
		return Options{ConnectionString: named, Now: time.Now}, manager
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := admin.NewClient(named, credential, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Namespace: named, Credential: credential, Now: time.Now}, manager
}

// makeQueues makes the queues that the suite uses, as Entities says but for the lock.
func makeQueues(t *testing.T, manager *admin.Client, o Options) {
	t.Helper()
	for _, e := range Entities(worktest.Queues, o) {
		duplicates, deliveries := true, int32(1000)
		properties := admin.QueueProperties{
			LockDuration: seconds(liveLock), MaxDeliveryCount: &deliveries, RequiresDuplicateDetection: &duplicates,
			DuplicateDetectionHistoryTimeWindow: seconds(e.DuplicateWindow), AutoDeleteOnIdle: seconds(time.Hour),
		}
		if _, err := manager.CreateQueue(t.Context(), e.Name, &admin.CreateQueueOptions{Properties: &properties}); err != nil {
			t.Fatalf("make queue %s: %v", e.Name, err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if _, err := manager.DeleteQueue(ctx, e.Name, nil); err != nil {
				t.Errorf("delete queue %s: %v", e.Name, err)
			}
		})
	}
}

// seconds is a duration as the service's management writes it (ISO 8601).
func seconds(d time.Duration) *string {
	text := fmt.Sprintf("PT%dS", int(d.Seconds()))
	return &text
}

// TestCheckLive looks at the namespace as the program does when it starts: a queue that is not there is named.
func TestCheckLive(t *testing.T) {
	t.Parallel()
	named := os.Getenv("PINRESET_TEST_SERVICEBUS")
	if named == "" {
		t.Skip("PINRESET_TEST_SERVICEBUS names no namespace to run on")
	}
	o, manager := live(t, named)
	o.Prefix = "pinresettest-" + strings.ToLower(rand.Text()) + "-"
	makeQueues(t, manager, o)
	bus, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close(context.WithoutCancel(t.Context()))
	if err := bus.Check(t.Context(), worktest.Queues); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := bus.Check(t.Context(), []work.Queue{"missing"}); !errors.Is(err, ErrNoEntity) {
		t.Errorf("Check of a queue that is not there: %v, want ErrNoEntity", err)
	}
}
