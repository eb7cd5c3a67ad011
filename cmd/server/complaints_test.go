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

// wantNoComplaints ignores what the browser says about error pages, which tests visit on purpose.
func (b chromium) wantNoComplaints() {
	b.t.Helper()
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	for _, text := range slices.Compact(b.said.text) {
		if !strings.HasPrefix(text, "Failed to load resource: the server responded with a status of 4") {
			b.t.Error("the browser complains: " + text)
		}
	}
}
