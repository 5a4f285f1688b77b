package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"

	"pinreset/shared/egress"
)

var inside = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.9.9.9", "168.63.129.16", "169.254.0.1",
	"169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
	"198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
	"2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "4000::1",
}

var outside = []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "198.17.0.1", "198.20.0.1", "2606:4700::1111", "2a00:1450::1"}

func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, a := range inside {
		if egress.Allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is allowed", a)
		}
	}
	for _, a := range outside {
		if !egress.Allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	if egress.Allowed(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

// names answers for names, each time with the next set of addresses.
type names struct{ answers [][]string }

func (n *names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	next := n.answers[0]
	n.answers = n.answers[1:]
	var all []netip.Addr
	for _, a := range next {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

var errDialled = errors.New("dialled")

// TestDial: what is dialled is an address that was checked, and a name with one address inside is not dialled at all.
func TestDial(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address string
		answers []string
		dialled []string
	}{
		{"hook.example:443", []string{"8.8.8.8"}, []string{"8.8.8.8:443"}},
		{"hook.example:8443", []string{"8.8.8.8", "2606:4700::1111"}, []string{"8.8.8.8:8443", "[2606:4700::1111]:8443"}},
		{"hook.example:443", []string{"::ffff:8.8.8.8"}, []string{"8.8.8.8:443"}}, // how a resolver may hand out IPv4
		{"hook.example:443", []string{"::ffff:10.0.0.1"}, nil},
		{"hook.example:443", []string{"8.8.8.8", "10.0.0.1"}, nil},
		{"hook.example:443", []string{"169.254.169.254"}, nil},
		{"hook.example:443", []string{"127.0.0.1"}, nil},
		{"localhost:443", []string{"::1"}, nil},
		{"2130706433:443", []string{"127.0.0.1"}, nil}, // as some resolvers read a number
		{"8.8.8.8:443", nil, []string{"8.8.8.8:443"}},
		{"127.0.0.1:443", nil, nil},
		{"[::ffff:8.8.8.8]:443", nil, nil},
		{"[::1]:443", nil, nil},
		{"[fe80::1%eth0]:443", nil, nil},
	} {
		var dialled []string
		resolver := &names{[][]string{c.answers, {"127.0.0.1"}}} // a second answer would be another one
		d := egress.NewDialer(egress.Options{Resolver: resolver, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errDialled
		}})
		_, err := d.DialContext(t.Context(), "tcp", c.address)
		if !slices.Equal(dialled, c.dialled) || errors.Is(err, egress.ErrRefused) != (len(c.dialled) == 0) {
			t.Errorf("%s with %v: dialled %v, %v; want %v", c.address, c.answers, dialled, err, c.dialled)
		}
		if c.answers != nil && len(resolver.answers) != 1 {
			t.Errorf("%s: resolved more than once", c.address)
		}
	}
}

// TestClient: loopback is called only where that is allowed, and a redirect is the answer.
func TestClient(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	t.Cleanup(server.Close)
	get := func(o egress.Options) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := egress.NewClient(egress.NewDialer(o)).Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return resp, err
	}
	if _, err := get(egress.Options{}); !errors.Is(err, egress.ErrRefused) || calls != 0 {
		t.Errorf("this machine was called %d times: %v", calls, err)
	}
	if resp, err := get(egress.Options{Loopback: true}); err != nil || resp.StatusCode != http.StatusFound || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
