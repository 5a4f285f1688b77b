package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"pinreset/shared/credential"
	"pinreset/shared/dispatch"
	"pinreset/shared/host/azure"
	"pinreset/shared/host/lambda"
	"pinreset/shared/secret"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/sqlitework"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/tables"
)

// Tables of the program. The key ring has one of its own, because it is left out of backups and copies.
const (
	rowsTable = "pinreset"
	keysTable = "pinresetkeys"
)

// rowStore is what the program needs of a store of rows and messages.
type rowStore interface {
	work.Store
	work.Source
	ErasePartition(ctx context.Context, partition string) (rows, messages int, err error)
}

// keyRing is what it needs of the store of keys.
type keyRing interface {
	work.Store
	Erase(ctx context.Context, keys ...work.Key) error
	ErasePartition(ctx context.Context, partition string) (rows, messages int, err error)
}

// stores are where rows, messages and keys are: in the data directory, or in Azure's services, which several processes share.
type stores struct {
	rows   rowStore
	keys   keyRing
	local  *sqlitework.Store           // rows, where they are in the data directory; else nil
	shared *outbox.Store               // rows, where they are in Azure's services; else nil
	sqs    *sqs.Queues                 // messages, where they are on SQS; else nil
	rest   func(context.Context) error // gives up what a frozen process can't keep; with rows in services
	close  func() error
}

// sharedStores reports whether rows and messages are in Azure's services.
func (c config) sharedStores() bool { return c.TablesURL != "" || c.TablesConnectionFile != "" }

// serviceProblems says what is missing for Azure's services, and what contradicts it.
func (c config) serviceProblems(problem func(name, format string, args ...any)) {
	tablesSet, busSet := c.TablesURL != "" || c.TablesConnectionFile != "", c.ServiceBus != "" || c.ServiceBusConnectionFile != ""
	queuesSet := busSet || c.SQSURL != ""
	switch {
	case tablesSet && !queuesSet:
		problem("SERVICEBUS", "or PINRESET_SQS_URL is needed with tables: rows and messages are in services both, or in the data directory both")
	case busSet && !tablesSet:
		problem("TABLES_URL", "is needed with Service Bus: rows and messages are in Azure's services both, or in the data directory both")
	}
	c.queueProblems(tablesSet, problem)
	for _, s := range []struct{ name, address, file string }{{"TABLES", c.TablesURL, c.TablesConnectionFile}, {"SERVICEBUS", c.ServiceBus, c.ServiceBusConnectionFile}} {
		if s.address != "" && s.file != "" {
			problem(s.name+"_CONNECTION_FILE", "names a service that is named by its address too: remove one of the two")
		}
	}
	if u, err := url.Parse(c.TablesURL); c.TablesURL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		problem("TABLES_URL", "must be https://ACCOUNT.table.core.windows.net, without a key or a signature") // which it may hold
	}
	if strings.ContainsAny(c.ServiceBus, ":/;=@? ") {
		problem("SERVICEBUS", "must be the host name of a namespace, NAME.servicebus.windows.net, without a key") // which it may hold
	}
	switch {
	case c.ServiceBusTopic != "" && !busSet:
		problem("SERVICEBUS_TOPIC", "has no meaning without Service Bus")
	case c.ServiceBusTopic == "" && busSet && c.SQSURL != "":
		problem("SERVICEBUS_TOPIC", "is needed: messages are on SQS, so Service Bus only gets a copy of what is announced; or remove PINRESET_SERVICEBUS")
	}
	if c.ClientID == "" && (c.TablesURL != "" || c.ServiceBus != "") {
		problem("CLIENT_ID", "is needed to sign in to Azure's services; with simulated tenants name them by connection strings in files")
	}
	switch {
	case !c.sharedStores() && c.RootKeyFile != "":
		problem("ROOT_KEY_FILE", "has no meaning without Azure's services: the key is in the data directory")
	case !c.sharedStores():
	case c.KeyVaultKey == "" && c.RootKeyFile == "":
		problem("KEY_VAULT_KEY", "is needed with Azure's services, or PINRESET_ROOT_KEY_FILE with a file that all processes have: each must open what another sealed")
	case c.KeyVaultKey != "" && c.RootKeyFile != "":
		problem("ROOT_KEY_FILE", "contradicts PINRESET_KEY_VAULT_KEY: remove one of the two")
	}
}

// queueProblems says what is wrong with the settings of SQS and SNS.
func (c config) queueProblems(tablesSet bool, problem func(name, format string, args ...any)) {
	if c.SNSTopic != "" {
		if c.SQSURL == "" {
			problem("SNS_TOPIC", "has no meaning without PINRESET_SQS_URL")
		}
		if err := sqs.CheckTopic(c.SNSTopic); err != nil {
			problem("SNS_TOPIC", "%v", err)
		}
	}
	if c.SQSURL == "" {
		return
	}
	switch u, err := url.Parse(c.SQSURL); {
	case !tablesSet:
		problem("TABLES_URL", "is needed with PINRESET_SQS_URL: SQS keeps no rows")
	case err != nil || u.Scheme != "https" && !loopback(u.Hostname()):
		problem("SQS_URL", "must be https://sqs.REGION.amazonaws.com/ACCOUNT/PREFIX, where the prefix may be empty")
	case c.AWS.Region == "":
		problem("SQS_URL", "needs AWS_REGION, the region of the queues")
	default:
		if _, err := sqs.Open(sqs.Options{URL: c.SQSURL, Account: c.AWS}); err != nil {
			problem("SQS_URL", "%v", err)
		}
	}
}

// loopback reports whether the host is this machine, where a model may listen.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// queuePrefix is what the names of the queues on SQS begin with.
func (c config) queuePrefix() string { return c.SQSURL[strings.LastIndexByte(c.SQSURL, '/')+1:] }

// queueService says in words where messages are.
func (c config) queueService() string {
	if c.SQSURL != "" {
		return "SQS"
	}
	return "Service Bus"
}

// needsHome reports whether something is signed in to by which the home tenant must be known.
func (c config) needsHome() bool {
	return c.KeyVaultKey != "" || c.TablesURL != "" || c.ServiceBus != ""
}

// openStores opens the stores that the configuration names.
func openStores(ctx context.Context, c config, source *credential.Source, now func() time.Time, newID func() string, logger *slog.Logger) (stores, error) {
	if c.sharedStores() {
		return openServices(ctx, c, source, now, newID, logger)
	}
	// The key ring is a store of its own: it is left out of backups, and destroying a key empties its log. Both are opened at once,
	// because each waits for the disk and the Functions host waits for this.
	var keys *sqlitework.Store
	var keysErr error
	var opened sync.WaitGroup
	opened.Go(func() { keys, keysErr = sqlitework.Open(filepath.Join(c.Data, keysDir), sqlitework.Options{Now: now}) })
	rows, err := sqlitework.Open(filepath.Join(c.Data, workDir), sqlitework.Options{Now: now})
	opened.Wait()
	if err == nil { // one reason is enough: what fails both, such as a directory in use, is not said twice
		err = keysErr
	}
	if err != nil {
		for _, s := range []*sqlitework.Store{rows, keys} {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
		return stores{}, err
	}
	return stores{rows: rows, keys: keys, local: rows, close: func() error { return errors.Join(rows.Close(), keys.Close()) }}, nil
}

// openServices opens Table storage, and Service Bus or SQS, and returns only when both let this process do all that it will do.
func openServices(ctx context.Context, c config, source *credential.Source, now func() time.Time, newID func() string, logger *slog.Logger) (_ stores, err error) {
	if c.Data != "" { // for the administrator's token, where this process is the one that makes it
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return stores{}, fmt.Errorf("make data directory: %w", err)
		}
	}
	services, err := findServices(c, source, now, logger)
	if err != nil {
		return stores{}, err
	}
	for _, t := range []*tables.Table{services.rows, services.keys} {
		if c.TablesConnectionFile != "" {
			err = t.Create(ctx) // an emulator's; those of an account are made with it
		} else {
			err = t.Check(ctx)
		}
		if err != nil {
			return stores{}, err
		}
	}
	bus := services.bus
	closeBus := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), shutdown)
		defer cancel()
		return bus.Close(ctx)
	}
	if !c.QueuesLater {
		if err := bus.Check(ctx, queueNames()); err != nil {
			return stores{}, errors.Join(fmt.Errorf("queues of %s: %w", c.queueService(), err), closeBus())
		}
	}
	settings := outbox.Options{NewID: newID, Now: now, Logger: logger}
	var onSQS *sqs.Queues
	rest := func(context.Context) error { return nil }
	switch bus := bus.(type) {
	case *sqs.Queues:
		onSQS = bus
	case *withTopic:
		onSQS, rest = bus.Queues, bus.Rest
	}
	if onSQS != nil {
		settings.MaxDelay = sqs.MaxDelay
	}
	// What the Functions host holds it completes itself; the messages of other hosts pass through.
	queue := lambda.Queue{Queue: azure.Queue{Queue: bus, Now: now}, Now: now} // each host knows what it holds itself
	all := outbox.New(services.rows, queue, settings)
	return stores{
		rows: all, shared: all, sqs: onSQS, rest: rest, close: closeBus,
		keys: secret.NewRing(outbox.New(services.keys, queue, settings)), // no message is ever sent with a key
	}, nil
}

// azureServices are the services of the configuration, which nothing was asked of yet.
type azureServices struct {
	rows, keys *tables.Table
	bus        messageQueue
}

// messageQueue is a queue driver: of Service Bus, or of SQS.
type messageQueue interface {
	outbox.Queue
	Check(ctx context.Context, queues []work.Queue) error
	Close(ctx context.Context) error
}

func findServices(c config, source *credential.Source, now func() time.Time, logger *slog.Logger) (s azureServices, err error) {
	var signedIn azcore.TokenCredential
	if c.TablesURL != "" || c.ServiceBus != "" {
		if signedIn, err = source.Azure(); err != nil {
			return s, fmt.Errorf("sign in to Azure's services: %w", err)
		}
	}
	if s.rows, err = c.table(rowsTable, signedIn); err != nil {
		return s, err
	}
	if s.keys, err = c.table(keysTable, signedIn); err != nil {
		return s, err
	}
	openBus := func() (*servicebus.Bus, error) { return c.serviceBus(signedIn, now, logger) }
	if c.SQSURL == "" {
		s.bus, err = openBus()
		return s, err
	}
	o := sqs.Options{URL: c.SQSURL, Account: c.AWS, Now: now}
	if c.SNSTopic != "" {
		o.Topics = map[work.Queue]string{work.Announcements: c.SNSTopic}
	}
	queues, err := sqs.Open(o)
	if err != nil {
		return s, err
	}
	s.bus = queues
	if c.ServiceBusTopic != "" {
		s.bus = &withTopic{Queues: queues, open: openBus}
	}
	return s, nil
}

// serviceBus opens the namespace: for all messages, or, where those are on SQS, for the topic alone.
func (c config) serviceBus(signedIn azcore.TokenCredential, now func() time.Time, logger *slog.Logger) (*servicebus.Bus, error) {
	o := servicebus.Options{Namespace: c.ServiceBus, Credential: signedIn, Now: now, Logger: logger, TopicsOnly: c.SQSURL != ""}
	if c.ServiceBusConnectionFile != "" {
		text, err := readSecret(c.ServiceBusConnectionFile)
		if err != nil {
			return nil, fmt.Errorf("connection string of Service Bus: %w", err)
		}
		o.ConnectionString, o.Namespace, o.Credential = text, "", nil
	}
	if c.ServiceBusTopic != "" {
		o.Topics = map[work.Queue]string{work.Announcements: c.ServiceBusTopic}
	}
	return servicebus.Open(o)
}

func (c config) table(name string, signedIn azcore.TokenCredential) (*tables.Table, error) {
	if c.TablesConnectionFile == "" {
		return tables.New(c.TablesURL, signedIn, tables.Options{Name: name})
	}
	text, err := readSecret(c.TablesConnectionFile)
	if err != nil {
		return nil, fmt.Errorf("connection string of tables: %w", err)
	}
	return tables.NewFromConnectionString(text, tables.Options{Name: name})
}

func queueNames() []work.Queue {
	var names []work.Queue
	for _, q := range queues {
		names = append(names, q.Name)
	}
	return names
}

// rootRow remembers, in the ring, under which root its keys are.
const rootRow = "root"

// errOtherRoot: the keys in the ring are under another root than this process has.
var errOtherRoot = errors.New("this process's root key is not the one that the key ring was begun under: give all processes the same PINRESET_KEY_VAULT_KEY or the same PINRESET_ROOT_KEY_FILE")

// sameRoot makes sure that all processes on a ring have the same root, by a key that is derived from it: with different ones each
// would seal what no other opens, and that would show only when a person asks for a code. The first process writes it down.
func sameRoot(ctx context.Context, ring keyRing, derived []byte) error {
	sum := sha256.Sum256(append([]byte("pinreset root\x00"), derived...))
	mine := []byte(`{"sha256":"` + hex.EncodeToString(sum[:]) + `"}`)
	err := ring.Commit(ctx, work.Batch{Partition: dispatch.SystemPartition, Writes: []work.Write{{Row: rootRow, Value: mine, If: work.IfAbsent()}}})
	if err == nil {
		return nil
	}
	if !errors.Is(err, work.ErrConflict) {
		return fmt.Errorf("write which root key is used: %w", err)
	}
	row, err := ring.Get(ctx, work.Key{Partition: dispatch.SystemPartition, Row: rootRow})
	if err != nil {
		return fmt.Errorf("read which root key is used: %w", err)
	}
	if !bytes.Equal(row.Value, mine) {
		return errOtherRoot
	}
	return nil
}
