// Package web is everything that pinreset answers over HTTP: the API (package api), the pages (package portal) and the consent
// callback (package callback) on one mux, with what all answers have in common.
//
// Every answer has a correlation id (the W3C trace id of the request), the headers that keep a browser from doing harm, and a
// log line with neither query values nor bodies. A panic becomes a 500 that says nothing of its value.
//
// One function serves all of it, because a browser's session, the API's tokens and the links between them belong together;
// the hosts see a single [http.Handler].
package web
