// Package tablestest runs tests of package tables, and of what stands on it, against Azurite, Microsoft's model of the
// storage services, or against a real account.
//
// Azurite is fetched by npm once, at the versions of package-lock.json, into the user's cache directory; nothing is written into the
// tree. It listens on the loopback interface, keeps everything in memory, and tells nobody that it runs. It ends with the process
// that started it, whatever way that ends. Where Node.js or npm is missing, or npm can't fetch, the tests are skipped and say so.
//
// PINRESET_TEST_TABLES names a real account instead: a connection string, or the account's endpoint for tables, for which the
// developer's own Azure credential is used. Tables named pinresettest… are created there and deleted again.
package tablestest
