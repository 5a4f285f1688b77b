package graph_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
)

// The simulated cloud and a real one take the same client; what differs is in the configuration.
func Example() {
	cloud, err := graphsim.Start(graphsim.Options{Timing: graphsim.Timing{EntryDelay: -1, PickUp: -1, Work: -1}})
	if err != nil {
		panic(err)
	}
	defer cloud.Close()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = cloud.RootCAs()

	cfg := graph.Config{Graph: cloud.URL(), Authority: cloud.URL(), Transport: transport, DisableInstanceDiscovery: true}
	general, privileged := cloud.Apps()
	cfg.App = cfg.SecretApp(general.ClientID, general.Secret)
	actor := cfg.SecretApp(privileged.ClientID, privileged.Secret)
	cfg.Privileged = &actor
	client, err := graph.New(cfg)
	if err != nil {
		panic(err)
	}

	ctx := graph.WithPriority(context.Background(), graph.People)
	for device, err := range client.ManagedDevices(ctx, graphsim.Contoso, graph.DeviceFilter{Name: "sales-pixel-12"}) {
		if err != nil {
			panic(err)
		}
		accepted, err := client.ResetPasscode(ctx, graphsim.Contoso, device.ID)
		if errors.Is(err, graph.ErrOutcomeUnknown) {
			accepted.ServerDate = time.Now() // it may have been done: read, don't repeat
		} else if err != nil {
			panic(err)
		}
		reading, err := client.PasscodeResult(ctx, graphsim.Contoso, device.ID, accepted.ServerDate)
		if err != nil {
			panic(err)
		}
		fmt.Println(reading.Action.State, reading.Action.Passcode)
	}
	// Output: done [redacted]
}
