// Package api is pinreset's HTTP API: JSON over /v1, described by OpenAPI 3.1 at /openapi.json.
//
// A call is served in this order: who asks (401), does he see the tenant (404), may he do this (403), is the request right
// (400, 413, 422), and then what package desk makes of it. The order is kept by one middleware before the framework reads a
// body, so that a stranger learns nothing from how his request is wrong. Refusals are problems (RFC 9457); see package
// problem.
//
// It is not the place of any rule about tenants, devices or codes: each call is a few lines that hand its input to the desk.
package api
