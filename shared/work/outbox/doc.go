// Package outbox makes a work.Store and a work.Source of two services: one that keeps rows and one that carries messages.
package outbox
