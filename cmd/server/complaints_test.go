package main

import (
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// complaints are the browser's messages about what it refused or failed to do.
type complaints struct {
	mu   sync.Mutex
	text []string
}

// listen collects the complaints until the browser ends.
func (b chromium) listen() {
	b.t.Helper()
	entries := chromedp.Events(b.ctx, log.EntryAdded)
	if _, err := chromedp.Call(b.ctx, log.Enable, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		for entry, err := range entries {
			if err != nil {
				return
			}
			b.said.mu.Lock()
			b.said.text = append(b.said.text, entry.Entry.Text)
			b.said.mu.Unlock()
		}
	}()
}

// harmless are the beginnings of complaints that mean nothing: about error pages, which tests visit on purpose, and
// about a field that the browser did not focus, because a test clicked before the page was painted.
var harmless = []string{
	"Failed to load resource: the server responded with a status of 4",
	"Autofocus processing was blocked because a document already has a focused element.",
}

// wantNoComplaints fails for each complaint that is not harmless.
func (b chromium) wantNoComplaints() {
	b.t.Helper()
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	for _, text := range slices.Compact(b.said.text) {
		if !slices.ContainsFunc(harmless, func(start string) bool { return strings.HasPrefix(text, start) }) {
			b.t.Error("the browser complains: " + text)
		}
	}
}
