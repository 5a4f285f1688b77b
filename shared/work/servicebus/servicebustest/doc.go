// Package servicebustest is a model of an Azure Service Bus namespace for tests, as net/http/httptest is of a web server: it
// listens on a loopback address, keeps everything in memory, and speaks the service's dialect of AMQP 1.0 so that the
// unmodified client azservicebus works with it over a real socket. It needs the standard library alone.
package servicebustest
