// Package egress calls addresses that a tenant chose, and reaches nothing but the public internet by them.
//
// Whoever may set an address could else have this program call what only it can reach: the metadata service of its cloud, services of
// its network, itself. So a name is resolved once, every address that it has is checked, and the address that was checked is the one
// that is dialled: a name that answers differently a moment later changes nothing. No proxy is used, no redirect is followed, and
// time and answer are bounded.
//
// Sources: RFC 6890 and IANA's registries of special-purpose addresses; the specification "Standard Webhooks", section
// "Server-side request forgery".
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ErrRefused: the address is none of the public internet. Nothing was sent.
var ErrRefused = errors.New("address is not on the public internet")

// Timeout bounds a call, from the name to the last byte of the answer.
const Timeout = 15 * time.Second

// refused are networks that are not the public internet's, beside those that netip knows by name.
var refused = networks(
	"0.0.0.0/8",        // this network
	"100.64.0.0/10",    // shared between a carrier's customers, and some clouds' metadata
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"240.0.0.0/4",      // reserved, and broadcast
	"168.63.129.16/32", // Azure's own: page "What is IP address 168.63.129.16?"
	"64:ff9b::/96",     // an IPv4 address behind a translator
	"64:ff9b:1::/48",   // the same, of a network's own
	"100::/64",         // discard
	"2001::/23",        // protocol assignments; Teredo holds an IPv4 address
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4 holds an IPv4 address
	"3fff::/20",        // documentation
	"5f00::/16",        // segment routing
	"fec0::/10",        // site-local, of old
)

// global is what IANA has given out of IPv6.
var global = netip.MustParsePrefix("2000::/3")

func networks(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// Allowed reports whether the address is one of the public internet.
func Allowed(a netip.Addr) bool {
	if a.Is4In6() || a.Zone() != "" || !a.IsValid() {
		return false
	}
	if a.IsUnspecified() || a.IsLoopback() || a.IsPrivate() || a.IsMulticast() || a.IsLinkLocalUnicast() || !a.IsGlobalUnicast() {
		return false
	}
	if a.Is6() && !global.Contains(a) {
		return false
	}
	for _, n := range refused {
		if n.Contains(a) {
			return false
		}
	}
	return true
}

// resolver is the part of net.Resolver that is needed.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options of a [Dialer].
type Options struct {
	// Loopback allows this machine besides: for simulated tenants, whose receivers are here.
	Loopback bool
	Resolver resolver // nil: the system's
	// Dial opens a connection to an address that was checked; nil: the system's. A test takes its place to see what is dialled.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dialer dials addresses of the public internet only.
type Dialer struct{ o Options }

// NewDialer returns a dialer.
func NewDialer(o Options) *Dialer {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: Timeout}).DialContext
	}
	return &Dialer{o}
}

// DialContext connects to "host:port". Where one address of the name is refused, all are: nobody needs such a name for anything good.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	all := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		all = append(all, a)
	} else if all, err = d.o.Resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	for i, a := range all {
		if a.Is4In6() && net.ParseIP(host) == nil {
			a = a.Unmap() // how the system's resolver hands out IPv4; one that was written so is refused
			all[i] = a
		}
		if !Allowed(a) && !(d.o.Loopback && a.IsLoopback()) {
			return nil, fmt.Errorf("%s is %s: %w", host, a, ErrRefused)
		}
	}
	err = fmt.Errorf("%s has no address", host)
	for _, a := range all {
		var conn net.Conn
		if conn, err = d.o.Dial(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("dial %s: %w", host, err)
}

// NewClient returns a client that dials by the dialer, without a proxy. An answer that sends it elsewhere is the answer.
func NewClient(d *Dialer) *http.Client {
	return &http.Client{
		Timeout:       Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: d.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: Timeout, ResponseHeaderTimeout: Timeout,
			MaxResponseHeaderBytes: 16 << 10, MaxIdleConnsPerHost: 1, MaxIdleConns: 32, IdleConnTimeout: 30 * time.Second,
		},
	}
}
