package servicebus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
)

// Options say where the namespace is and how much of it this process asks for. Either ConnectionString is set, or Namespace and
// Credential are.
type Options struct {
	// ConnectionString names a namespace and a shared key: for the emulator and for test servers, whose connection strings
	// have UseDevelopmentEmulator=true and whose traffic is not encrypted.
	ConnectionString string
	// Namespace is the host name of the namespace, "example.servicebus.windows.net".
	Namespace  string
	Credential azcore.TokenCredential
	// CustomEndpoint, "host:port", is dialled in place of Namespace: a proxy, or a test server.
	CustomEndpoint string
	TLS            *tls.Config // nil for the system's roots

	// Prefix is put before the name of every queue and topic, so that several environments can share a namespace.
	Prefix string
	// Topics are queues whose messages go to a topic too, for whoever subscribes to it: work.Announcements, in practice. A
	// message that a Retry or Postpone puts off does not go to the topic again.
	Topics map[work.Queue]string
	// TopicsOnly leaves the queues out, because the messages themselves are elsewhere: Send sends to topics alone, and Check looks
	// at nothing else.
	TopicsOnly bool
	// Receivers is how many receivers a queue may have, each with a link of its own; 1 for a queue that is not named. One
	// receiver serves many deliveries at once. More help where the rate of one link is the bound.
	Receivers map[work.Queue]int

	Now    func() time.Time // time.Now if nil
	Logger *slog.Logger     // discards if nil
}

// retry is what the client does by itself. Its defaults (4 s, doubled) make a lost connection cost a person at a screen four
// seconds.
var retry = azservicebus.RetryOptions{MaxRetries: 8, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: 2 * time.Second}

// connect makes the client. It opens no connection: the client does so at its first use.
func (o Options) connect() (*azservicebus.Client, error) {
	c := &azservicebus.ClientOptions{
		ApplicationID: "pinreset", CustomEndpoint: o.CustomEndpoint, TLSConfig: o.TLS, RetryOptions: retry,
	}
	switch {
	case o.ConnectionString != "" && (o.Namespace != "" || o.Credential != nil):
		return nil, errors.New("service bus: a connection string and a namespace are set; set one")
	case o.ConnectionString != "":
		client, err := azservicebus.NewClientFromConnectionString(o.ConnectionString, c)
		if err != nil {
			// The client's error may quote the string, and the string has a key.
			return nil, errors.New("service bus: the connection string is not valid")
		}
		return client, nil
	case o.Namespace == "":
		return nil, errors.New("service bus: neither a namespace nor a connection string is set")
	case strings.ContainsAny(o.Namespace, ":/"):
		return nil, fmt.Errorf("service bus: namespace %q: want a host name such as example.servicebus.windows.net", o.Namespace)
	case o.Credential == nil:
		return nil, errors.New("service bus: a namespace needs a credential")
	}
	client, err := azservicebus.NewClient(o.Namespace, o.Credential, c)
	if err != nil {
		return nil, fmt.Errorf("service bus %s: %w", o.Namespace, err)
	}
	return client, nil
}
