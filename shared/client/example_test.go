package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"pinreset/shared/client"
)

// Start a reset, wait for its end, and look at the code.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/tenants/contoso/resets/r1/reveal" {
			fmt.Fprint(w, `{"passcode":"48291137","views":1,"deviceName":"sales-pixel-12"}`)
			return
		}
		fmt.Fprint(w, `{"id":"r1","state":"issued","open":false,"readable":true}`)
	}))
	defer server.Close()

	ctx := context.Background()
	c, err := client.New(client.Options{Server: server.URL, Token: "pr_token"})
	if err != nil {
		log.Fatal(err)
	}
	r, _, err := c.StartReset(ctx, "contoso", "device-1", "the user forgot it", "INC-4711")
	if err != nil {
		log.Fatal(err)
	}
	if r, err = c.WaitReset(ctx, "contoso", r.ID, nil); err != nil {
		log.Fatal(err)
	}
	code, err := c.Reveal(ctx, "contoso", r.ID, "the user is on the phone", "INC-4711")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.State, code.DeviceName, code.Passcode, code.Passcode.Clear())
	// Output: issued sales-pixel-12 [redacted] 48291137
}
