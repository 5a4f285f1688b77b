// Package infra holds what pinreset is deployed with, and the checks of the whole house: that the parts import each other
// only the way they should, and that nothing stands at the top level that has no room there.
package infra
