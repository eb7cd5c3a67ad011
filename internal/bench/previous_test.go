package bench

import (
	"os"
	"testing"
)

// BenchmarkPrevious compares this version with another one, the program BENCH_PREVIOUS (make bench PREVIOUS=commit),
// and with itself: two servers of one build show how much the machine varies. All three use one database.
func BenchmarkPrevious(b *testing.B) {
	program := os.Getenv("BENCH_PREVIOUS")
	if program == "" {
		b.Skip("BENCH_PREVIOUS names no program")
	}
	m := newMachine(b)
	database := m.ours("shared")
	fill(b, database, cookies, "30 days")
	ours, again := m.startOurs(database), m.startOurs(database)
	previous := m.start([]string{program}, "DATABASE_URL="+database)
	out := figures{os.Stdout}
	for _, page := range []struct {
		what     string
		requests [][]byte
	}{
		{"/api/auth/me", signedIn("/api/auth/me", cookies)},
		{"/, signed in", signedIn("/", cookies)},
		{"/login, a visitor", [][]byte{getWith("/login", "")}},
	} {
		out.line("\nGET %s", page.what)
		for _, connections := range []int{1, 64, 256} {
			compare(b, out, connections, []contender{
				{"ours", ours.address, page.requests},
				{"ours, started twice", again.address, page.requests},
				{"the version before", previous.address, page.requests},
			})
		}
	}
	out.line("\nmemory at most: %.0f MiB, before %.0f MiB", ours.memory("VmHWM"), previous.memory("VmHWM"))
	out.line("cold start: %v, before %v", ours.cold, previous.cold)
}
