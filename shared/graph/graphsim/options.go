package graphsim

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"time"
)

// Options configure a Cloud. The zero value is a cloud in memory on two free
// loopback ports.
type Options struct {
	// Listen is the HTTPS host:port for tokens and Graph, "" for 127.0.0.1:0.
	// Only loopback addresses are accepted: the control plane has no sign-in.
	Listen string
	// ListenHTTP is the plain HTTP host:port for people's pages (consent,
	// control), so that a browser shows no certificate warning. It serves
	// everything but tokens and Graph. "" means 127.0.0.1:0.
	ListenHTTP string
	// Dir keeps keys, secrets and state across restarts, kill -9 included: a
	// change that was answered has been handed to the operating system. ""
	// means memory only. One process at a time may use a directory.
	Dir string
	// Now is the clock that tenants and devices live by; nil means time.Now.
	Now func() time.Time
	// Timing says how slow the model is, Limits when it throttles.
	Timing Timing
	Limits Limits
	// RedirectURIs are registered for both of our apps, in addition to every
	// http and https URI on a loopback host.
	RedirectURIs []string
	// Passcode makes the temporary passcodes; nil means eight random digits. It
	// is called from many goroutines.
	Passcode func() string
	// Fleet adds tenants to the sample ones, for measurements and long runs.
	Fleet Fleet
	// Latency is the real time that every call waits before it is looked at, as
	// on a network. A waiting call costs no processor time, and a batch waits once.
	Latency time.Duration
	// Logger gets one line per decision, never a secret or passcode; nil
	// discards.
	Logger *slog.Logger
}

// Fleet is a number of further tenants in which, as in Contoso, everything is in
// place: fleet-0001.example and so on, each with the sample devices and so many
// more Android devices, pixel-0001 and so on, that give a passcode. Tenants that
// are not used take next to no memory, however many there are.
type Fleet struct {
	Tenants int
	Devices int // in each
}

// Timing is how long things take. Zero means the default, which suits a person
// at a keyboard; a negative value means no time at all. How long any of it takes
// in Microsoft's cloud is not documented.
type Timing struct {
	TokenLifetime  time.Duration // of an access token; 1 h
	ReplicationLag time.Duration // until every directory replica shows a change; 8 s
	EntryDelay     time.Duration // from an accepted action to its entry in deviceActionResults; 2 s
	PickUp         time.Duration // from there until an online device has picked it up (active); 3 s
	Work           time.Duration // from there until the device has finished; 2 s
	CheckIn        time.Duration // between an online device's own check-ins; 8 h
}

func (t Timing) withDefaults() Timing {
	for _, f := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&t.TokenLifetime, time.Hour},
		{&t.ReplicationLag, 8 * time.Second},
		{&t.EntryDelay, 2 * time.Second},
		{&t.PickUp, 3 * time.Second},
		{&t.Work, 2 * time.Second},
		{&t.CheckIn, 8 * time.Hour},
	} {
		switch {
		case *f.value == 0:
			*f.value = f.def
		case *f.value < 0:
			*f.value = 0
		}
	}
	return t
}

// randomPasscode returns eight decimal digits.
func randomPasscode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
	if err != nil {
		panic(fmt.Sprintf("graphsim: read random: %v", err)) // crypto/rand does not fail
	}
	return fmt.Sprintf("%08d", n)
}
