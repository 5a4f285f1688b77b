// Package costtest carries out one reset with the real handlers over services that count what is asked of them, for tests that hold an
// operators' page against a price list. What a platform asks of its services besides, it does not know.
package costtest
