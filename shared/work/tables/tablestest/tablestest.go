package tablestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"pinreset/shared/nodetest"
	"pinreset/shared/work/tables"
)

// account is the account that the tests of a package use.
type account struct {
	open   func(tables.Options) (*tables.Table, error)
	remove func(ctx context.Context, table string) error
	stop   func() error
}

var shared struct {
	once    sync.Once
	account *account
	err     error
}

// Run runs the package's tests and ends what they started; TestMain calls it.
func Run(m *testing.M) int {
	code := m.Run()
	if a := shared.account; a != nil {
		if err := a.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Open returns a table of the test's own, empty. It skips the test when there is nothing to run it on.
func Open(t testing.TB, o tables.Options) *tables.Table {
	t.Helper()
	shared.once.Do(func() { shared.account, shared.err = connect() })
	if errors.Is(shared.err, nodetest.ErrMissing) {
		t.Skipf("skipped, for Table storage: %v", shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	o.Name = "pinresettest" + strings.ToLower(rand.Text())
	table, err := shared.account.open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := shared.account.remove(ctx, o.Name); err != nil {
			t.Error(err)
		}
	})
	return table
}

// Emulator starts an Azurite for this test alone, and returns its connection string: for programs that name their tables themselves. It
// skips the test when there is none to start.
func Emulator(t testing.TB) string {
	t.Helper()
	connection, stop, err := Start(t.Context())
	if errors.Is(err, nodetest.ErrMissing) {
		t.Skipf("skipped, for Table storage: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return connection
}

// Start starts an Azurite, and returns its connection string and what ends it: for what is no test. Where there is none to start, the
// error is a nodetest.ErrMissing.
func Start(ctx context.Context) (connection string, stop func() error, err error) {
	a, err := startAzurite(ctx)
	if err != nil {
		return "", nil, err
	}
	return a.connectionString, a.stop, nil
}

// connect returns the account that the environment names, or an Azurite.
func connect() (*account, error) {
	named := os.Getenv("PINRESET_TEST_TABLES")
	if strings.HasPrefix(named, "https://") {
		credential, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return nil, err
		}
		service, err := aztables.NewServiceClient(named, credential, nil)
		if err != nil {
			return nil, err
		}
		return &account{
			open:   func(o tables.Options) (*tables.Table, error) { return tables.New(named, credential, o) },
			remove: remover(service), stop: func() error { return nil },
		}, nil
	}
	stop := func() error { return nil }
	if named == "" {
		a, err := startAzurite(context.Background())
		if err != nil {
			return nil, err
		}
		named, stop = a.connectionString, a.stop
	}
	service, err := aztables.NewServiceClientFromConnectionString(named, nil)
	if err != nil {
		return nil, errors.Join(errors.New("the connection string in PINRESET_TEST_TABLES can't be read"), stop())
	}
	return &account{
		open:   func(o tables.Options) (*tables.Table, error) { return tables.NewFromConnectionString(named, o) },
		remove: remover(service), stop: stop,
	}, nil
}

func remover(service *aztables.ServiceClient) func(context.Context, string) error {
	return func(ctx context.Context, table string) error {
		_, err := service.DeleteTable(ctx, table, nil)
		return err
	}
}
