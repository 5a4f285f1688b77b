package graphsim_test

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"pinreset/shared/graph/graphsim"
)

func Example() {
	sim, err := graphsim.Start(graphsim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs()}}}
	resp, err := client.Get(sim.URL() + "/" + graphsim.Contoso + "/v2.0/.well-known/openid-configuration")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	contoso, err := sim.Tenant("Contoso")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.Status, contoso.Domain, len(contoso.Devices) > 20)
	// Output: 200 OK contoso.example true
}
