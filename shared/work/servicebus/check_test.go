package servicebus

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus/servicebustest"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.Check(r.ctx, []work.Queue{queue, other}); err != nil {
		t.Errorf("Check: %v", err)
	}
	b := r.open(t, func(o *Options) { o.Topics = map[work.Queue]string{queue: "no-topic"} })
	err := b.Check(r.ctx, []work.Queue{queue, "no-queue", other})
	if !errors.Is(err, ErrNoEntity) || errors.Is(err, ErrRefused) {
		t.Fatalf("Check: %v, want ErrNoEntity", err)
	}
	for name, want := range map[string]bool{"receive from no-queue": true, "send to no-queue": true, "send to no-topic": true, "queue-bulk": false} {
		if strings.Contains(err.Error(), name) != want {
			t.Errorf("Check names %q: %v, want %v: %v", name, !want, want, err)
		}
	}
}

func TestCheckNamesWhatIsRefused(t *testing.T) {
	t.Parallel()
	server := startServer(t, servicebustest.Config{Authorize: func(token servicebustest.Token) error {
		if strings.Contains(token.Audience, string(other)) {
			return errors.New("no right to " + token.Audience)
		}
		return nil
	}})
	b, err := Open(Options{ConnectionString: server.ConnectionString()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	err = b.Check(t.Context(), []work.Queue{queue, other})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "receive from queue-bulk") || strings.Contains(err.Error(), "from queue:") {
		t.Errorf("Check: %v, want ErrRefused for %s alone", err, other)
	}
}

func TestCheckOfNobody(t *testing.T) {
	t.Parallel()
	server := startServer(t, servicebustest.Config{})
	b, err := Open(Options{ConnectionString: server.ConnectionString()})
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := b.Check(ctx, []work.Queue{queue}); err == nil || errors.Is(err, ErrNoEntity) || errors.Is(err, ErrRefused) {
		t.Errorf("Check: %v, want that nobody answers", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// token is a credential that has one token.
type token string

func (c token) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 || o.Scopes[0] != "https://servicebus.azure.net//.default" {
		return azcore.AccessToken{}, errors.New("another scope was asked for")
	}
	return azcore.AccessToken{Token: string(c), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestTokenCredential: by namespace and credential over TLS, as against the real service, to an endpoint of its own.
func TestTokenCredential(t *testing.T) {
	t.Parallel()
	const namespace = "example.servicebus.windows.net"
	server := startServer(t, servicebustest.Config{TLS: true, Authorize: func(token servicebustest.Token) error {
		if token.Type != "jwt" || token.Value != "good" || !strings.HasPrefix(token.Audience, "amqps://"+namespace+"/") {
			return errors.New("not the token")
		}
		return nil
	}})
	open := func(c token) *Bus {
		b, err := Open(Options{
			Namespace: namespace, Credential: c, CustomEndpoint: server.Addr(), TLS: &tls.Config{RootCAs: server.RootCAs()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close(context.WithoutCancel(t.Context())) })
		return b
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	good := open("good")
	if err := good.Check(ctx, []work.Queue{queue}); err != nil {
		t.Fatalf("Check: %v", err)
	}
	if err := good.Send(ctx, []outbox.Parcel{parcel("m")}); err != nil {
		t.Fatalf("Send: %v", err)
	}
	got, err := good.Receive(ctx, queue, 1)
	if err != nil || len(got) != 1 {
		t.Fatalf("Receive: %d parcels, %v", len(got), err)
	}
	if err := good.Complete(ctx, queue, got[0].Token); err != nil {
		t.Errorf("Complete: %v", err)
	}
	if err := open("bad").Check(ctx, []work.Queue{queue}); !errors.Is(err, ErrRefused) {
		t.Errorf("Check with a bad token: %v, want ErrRefused", err)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	const secret = "c2VjcmV0LWtleQ=="
	for name, o := range map[string]Options{
		"nothing":            {},
		"both":               {ConnectionString: "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=" + secret, Namespace: "x"},
		"no credential":      {Namespace: "example.servicebus.windows.net"},
		"an address":         {Namespace: "sb://example.servicebus.windows.net/", Credential: token("t")},
		"not a string":       {ConnectionString: "SharedAccessKey=" + secret},
		"a string cut short": {ConnectionString: "Endpoint=sb://x/;SharedAccessKeyName"},
	} {
		b, err := Open(o)
		if err == nil {
			t.Errorf("%s: opened %v", name, b)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

// TestEntities: what templates are checked against.
func TestEntities(t *testing.T) {
	t.Parallel()
	all := Entities([]work.Queue{queue, work.Announcements}, Options{Prefix: "dev-", Topics: map[work.Queue]string{work.Announcements: AnnouncementTopic}})
	var names []string
	for _, e := range all {
		names = append(names, string(e.Kind)+" "+e.Name)
		if e.DuplicateWindow <= 0 || e.TimeToLive <= 0 {
			t.Errorf("%s remembers ids for %s and keeps messages for %s", e.Name, e.DuplicateWindow, e.TimeToLive)
		}
		if e.Kind == KindQueue && (e.LockDuration < 30*time.Second || e.LockDuration > 5*time.Minute || e.MaxDeliveries < 9 || !e.DeadLetterOnExpiry) {
			t.Errorf("%s: %+v: the service takes locks of up to 5 min, and dispatch sets aside at its eighth delivery", e.Name, e)
		}
	}
	if want := "queue dev-queue, queue dev-announcement, topic dev-announcements"; strings.Join(names, ", ") != want {
		t.Errorf("entities are %s, want %s", strings.Join(names, ", "), want)
	}
}
