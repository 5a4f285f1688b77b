// Package secret keeps passcodes sealed, and makes them unreadable at their time.
//
// Each secret is encrypted with a key of its own (AES-256-GCM). The sealed value ([Envelope]) may stand in any row; its key
// stands, wrapped by a key-encryption key, in a separate store, the key ring. The key-encryption key is a file of this machine
// ([LocalKey]), or one for each hour, wrapped by a key service and shared by several processes ([Chain]). The envelope is bound to its tenant, device,
// request and expiry: copied to another place it does not open. At expiry the key is destroyed, and with it every copy of
// the envelope, backups included.
//
// A secret is opened only against an audit.Receipt, which exists only once the audit entry is on stable storage.
//
// What it can't do: wipe clear text out of the process's memory (Go gives no promise of that), or delete the copy that
// Intune keeps in the device's action results.
package secret
