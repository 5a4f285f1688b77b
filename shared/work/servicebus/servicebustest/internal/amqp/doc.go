// Package amqp is the part of AMQP 1.0 that a server for tests needs: frames, performatives, the type system and the
// sections of a message, as the OASIS standard "AMQP Version 1.0" lays them out (part 1 types, part 2 transport, part 3
// messaging).
//
// It turns bytes into values and values into bytes, and does nothing else: no sockets, no state. Everything that it decodes
// comes from a peer, so no input may make it panic, recurse without bound or ask for more memory than a small multiple of
// the input. What it can't name it keeps as [Raw], so that a message passes through unharmed.
package amqp
