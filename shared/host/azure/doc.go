// Package azure answers the Azure Functions host as its custom handler: a process on the same machine that the host starts, asks over HTTP
// whether it is there, and posts each invocation to (Microsoft's page "Azure Functions custom handlers").
//
//	GET /                                    the host's question whether the process is there: answered at once
//	POST /{function}  Data and Metadata      a message of Service Bus, or the tick of a timer
//	anything else with X-Ms-Invocation-Id    somebody's HTTP request, passed through as it came
//
// What the protocol asks for, and what this package therefore does:
//
//   - The listener is open before anything is built; invocations wait until it is.
//   - An invocation is answered by 200 with a JSON object, or by a status of 500 and more. An empty answer of 2xx would never
//     be taken for an end, and the host would kill the process for it when the function's time is up.
//   - The host settles the message: it completes it after a success, and after anything else gives it back at once, without a pause. So a
//     run that is to be repeated later is a success here: the backend stores or sends it again for its time (package work).
//   - The host's process is shared by all functions, and a function that outlives the host's limit takes all others with it. So each
//     invocation has a deadline of its own, at which it is answered even if its handler is stuck.
//   - The host ends the process without a warning. Nothing is kept that a kill could break, and what was traced is
//     sent before the answer.
//   - The binding passes the message as bytes (dataType "binary"). As text, a body's own members would overwrite the metadata.
//
// A request from the internet must not pass for an invocation. The host writes X-Ms-Invocation-Id on every request that it passes
// through, over what the caller wrote, and on no invocation. Only what lacks it, and every header that proxies add, is one.
//
// Nobody has run this under the real host. Package functionshost is a model of it, for tests.
package azure
