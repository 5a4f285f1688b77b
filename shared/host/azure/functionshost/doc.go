// Package functionshost is a model of the Functions host, derived from source of v4.1037, never compared with a live host.
//
// It is for tests of custom handlers: it unpacks the zip that would be deployed, refuses what the host would not run, starts the program as
// the host does, and then keeps to the host's rules about it:
//
//	start      an environment of the app's settings, the port and PATH; GET / every 25 ms until it is answered
//	messages   one POST each, with what Service Bus tells of the message; 2xx with a JSON object completes it, anything else gives it
//	           back at once, and the queue's last delivery makes it a dead letter
//	locks      renewed for so long; after that the message is handed out again while its first run goes on
//	hang       an empty answer of 2xx never ends the invocation; it is told at once, or really held until the function's time is up
//	time       a function that is still running when its time is up has the process killed, and all that runs there fails
//	end        exit code 0: never started again; 200: started again; any other: counted, and the third stops the host
//	stop       SIGKILL, without a word before
//	HTTP       requests are passed through as they came, with the host's headers
//	logs       each line of standard output must be JSON; one on standard error is a problem unless it warns
//
// What it sends differs from invocation to invocation in what is known to differ: text encoded once or twice, keys that are missing
// or unheard of, and the trace context.
//
// Not modelled: scaling, storage locks, prefetch, authentication of HTTP routes, triggers as text (they are refused: a message's own
// members would overwrite the metadata), routes other than a catch-all, and HTTP functions without proxying. Passing it proves
// agreement with these rules, not with Azure.
package functionshost
