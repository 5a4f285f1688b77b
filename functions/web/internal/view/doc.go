// Package view turns what package desk says into HTML pages: templates, one stylesheet, small scripts that no page needs.
//
// Everything that comes from a tenant (names of devices and users above all) is hostile text: it reaches a page only through
// html/template's contextual escaping, and the policy header forbids inline script and style on top. Pages work without
// JavaScript, from 320 pixels on, in light and dark, and by keyboard alone.
package view
