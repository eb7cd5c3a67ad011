// Package web holds what browsers are sent: templates and static files, embedded into the program.
//
//	templates/layout/    base.html, the frame of every page ("layout"), which calls the page's "main"
//	templates/partials/  pieces that pages share
//	templates/pages/     one file a page, named after its address
//	static/              the stylesheet, the script, the typeface, icons and images, with their licences
//
// Package routes parses the templates and says what data each gets.
package web

import "embed"

// Files is this directory as it was when the program was built.
//
//go:embed templates static
var Files embed.FS
