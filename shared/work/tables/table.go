package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Options change a table's defaults.
type Options struct {
	// Name of the table; "pinreset" if empty. 3 to 63 letters and digits, a letter first.
	Name string
	// Timeout bounds every call, repetitions included; 15 s if zero. It is less than the lease of a delivery, so that a settlement can't
	// linger on.
	Timeout time.Duration
	// Transport carries the requests; one of the table's own if nil.
	Transport policy.Transporter
}

// Table is an outbox.Rows. All methods are safe for concurrent use.
type Table struct {
	client  *aztables.Client
	name    string
	timeout time.Duration
}

var _ outbox.Rows = (*Table)(nil)

// New returns the table at an account's endpoint for tables, such as https://account.table.core.windows.net. It asks nothing
// of the service; see [Table.Check].
func New(endpoint string, credential azcore.TokenCredential, o Options) (*Table, error) {
	service, err := aztables.NewServiceClient(endpoint, credential, o.client())
	if err != nil {
		return nil, fmt.Errorf("table endpoint %s: %w", endpoint, err)
	}
	return newTable(service, o), nil
}

// NewFromConnectionString returns the table of an account that is named by a connection string with a key or a signature: an
// emulator, or an account that still allows keys.
func NewFromConnectionString(text string, o Options) (*Table, error) {
	service, err := aztables.NewServiceClientFromConnectionString(text, o.client())
	if err != nil {
		return nil, errors.New("connection string of a table account: it can't be read") // the cause may quote the key
	}
	return newTable(service, o), nil
}

func newTable(service *aztables.ServiceClient, o Options) *Table {
	name := cmp.Or(o.Name, "pinreset")
	return &Table{client: service.NewClient(name), name: name, timeout: cmp.Or(o.Timeout, 15*time.Second)}
}

// client are the settings of the SDK's client: tries that are short against the whole, and a look at what leaves.
func (o Options) client() *aztables.ClientOptions {
	timeout := cmp.Or(o.Timeout, 15*time.Second)
	if o.Transport == nil {
		// The client's own keeps ten connections for the next request and opens the eleventh anew each time.
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		o.Transport = &http.Client{Transport: transport}
	}
	return &aztables.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport:       o.Transport,
		PerCallPolicies: []policy.Policy{sizeGuard{}},
		Retry: policy.RetryOptions{
			MaxRetries: 4, TryTimeout: timeout / 3, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second,
		},
	}}
}

// Create creates the table if there is none.
func (t *Table) Create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	_, err := t.client.CreateTable(ctx, nil)
	if err != nil && codeOf(err) != aztables.TableAlreadyExists {
		return fmt.Errorf("create table %s: %w", t.name, err)
	}
	return nil
}

// Check reads from the table, so that a wrong address, a missing table or a credential that is refused is told at start
// rather than at the first piece of work.
func (t *Table) Check(ctx context.Context) error {
	_, err := t.Get(ctx, work.Key{Partition: "check", Row: "check"})
	if errors.Is(err, work.ErrNotFound) {
		return nil
	}
	var refused *azcore.ResponseError
	switch {
	case codeOf(err) == aztables.TableNotFound:
		return fmt.Errorf("table %s does not exist in this account; the template creates it: %w", t.name, err)
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusForbidden || refused.StatusCode == http.StatusUnauthorized):
		return fmt.Errorf("table %s refuses this identity, which needs the role Storage Table Data Contributor: %w", t.name, err)
	}
	return err
}

// Get returns the row or work.ErrNotFound.
func (t *Table) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if err := ctx.Err(); err != nil {
		return work.Row{}, err
	}
	if !storable(key.Partition) || !storable(key.Row) {
		return work.Row{}, work.ErrNotFound // no such row can ever have been written
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	got, err := t.client.GetEntity(ctx, key.Partition, key.Row, nil)
	if codeOf(err) == aztables.ResourceNotFound {
		return work.Row{}, work.ErrNotFound
	}
	if err != nil {
		return work.Row{}, fmt.Errorf("get entity: %w", err)
	}
	row, err := decode(got.Value)
	if err != nil {
		return work.Row{}, err
	}
	row.Key, row.ETag = key, string(got.ETag)
	return row, nil
}

// codeOf is the service's code of the error; "" for any other error. It does not hold for transactions.
func codeOf(err error) aztables.TableErrorCode {
	var refused *azcore.ResponseError
	if !errors.As(err, &refused) {
		return ""
	}
	return aztables.TableErrorCode(refused.ErrorCode)
}

// storable reports whether Table storage takes the key, and the client addresses it rightly. One byte more than package work
// allows is the kind of row that package outbox puts in front.
func storable(key string) bool {
	if key == "" || len(key) > work.MaxKeyBytes+1 {
		return false
	}
	for i := range len(key) {
		if c := key[i]; c < 0x20 || c >= 0x7f || strings.IndexByte(`/\#?'%`, c) >= 0 {
			return false
		}
	}
	return true
}
